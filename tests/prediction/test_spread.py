"""`predict --engine ray`: the rows of one machine, whatever happens to the cluster's processes."""

import json
import os
import pickle
import signal
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allmlp.cli import main
from allmlp.data.stream import Stretch, stretches
from allmlp.errors import DataError, EngineError, RunError
from allmlp.models.base import ImageModel
from allmlp.prediction import many, parts, spread
from allmlp.prediction.many import predict_many
from contract import awake, build
from helpers import PictureFolder, picture

pytest.importorskip("pyarrow", reason="allmlp[parquet] brings pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def model() -> ImageModel:
    return awake(build("resmlp_s12")).eval()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", 8)
    monkeypatch.setattr(many, "ROWS", 8)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def own_actors() -> list[int]:
    """The process ids of Ray's actors that answer for this very process."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "stat").read_text()
            parents[int(entry.name)] = int(told.rpartition(")")[2].split()[1])
            names[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue

    def is_ours(number: int) -> bool:
        while number > 1 and number != os.getpid():
            number = parents.get(number, 0)
        return number == os.getpid()

    return [number for number, name in names.items() if name.startswith("ray::MapWorker") and is_ours(number)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Ray on this machine, with room for two actors."""
    ray = pytest.importorskip("ray", reason="allmlp[ray] brings ray")
    pytest.importorskip("ray.data")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_rows_are_those_of_one_machine_though_a_worker_is_killed(cluster: Any, model: ImageModel, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(393):
        place = folder / f"{i:03}.png"
        if i < 7:
            picture(i, (700, 500)).save(place)  # some hundredths of a second each
        else:
            place.hardlink_to(folder / f"{i % 7:03}.png")
    (folder / "017.png").unlink()
    (folder / "017.png").write_bytes(b"no picture")
    predict_many(model, [folder], tmp_path / "due.parquet", batch=5)
    out, killed = tmp_path / "out.parquet", []

    def kill_one() -> None:
        while not killed and not out.exists():
            time.sleep(0.005)
            done = len(list(tmp_path.glob("out.parquet.parts/part-*")))
            found = own_actors() if done >= 2 else []
            if len(found) == 2:
                os.kill(found[0], signal.SIGKILL)
                killed.append(len(list(tmp_path.glob("out.parquet.parts/part-*"))))

    killer = threading.Thread(target=kill_one)
    killer.start()
    told = predict_many(model, [folder], out, batch=5, engine="ray", workers=2)
    killer.join()
    assert killed, "both workers were never seen"
    assert killed[0] < 50, "it was killed when all was done"
    assert (told["rows"], told["errors"], told["kept"]) == (393, 1, 0)
    due, got = rows_of(tmp_path / "due.parquet"), rows_of(out)
    assert [row["path"] for row in got] == [row["path"] for row in due]
    for row, other in zip(got, due, strict=True):
        assert (row["error"], row["classes"]) == (other["error"], other["classes"])
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.slow
def test_what_one_machine_began_is_finished_on_ray(
    cluster: Any, model: ImageModel, picture_folder: PictureFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From archives and tables too, by paths that belong to this process's folder."""
    folder = picture_folder({"a": 20})
    monkeypatch.chdir(tmp_path)
    with tarfile.open("all.tar", "w") as archive:
        archive.add(folder, "pictures")
    sources = ["all.tar", "pictures"]
    predict_many(model, sources, "due.parquet", embeddings=True)
    written = []

    def stop(self: parts.Parts, span: range, rows: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(span)
        plain(self, span, rows)

    plain = parts.Parts.write
    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            predict_many(model, sources, "out.parquet", embeddings=True)
    with pytest.raises(RunError, match="another model"):
        predict_many(awake(build("mixer_b16")), sources, "out.parquet", embeddings=True, engine="ray")
    told = predict_many(model, sources, "out.parquet", embeddings=True, engine="ray")
    assert (told["rows"], told["kept"]) == (40, 16)
    due, got = rows_of(tmp_path / "due.parquet"), rows_of(tmp_path / "out.parquet")
    assert [row["path"] for row in got] == [row["path"] for row in due]
    assert [row["embedding"] for row in got] == [pytest.approx(row["embedding"], abs=1e-4) for row in due]


@pytest.mark.slow
def test_what_goes_wrong_in_an_actor_is_one_clear_error(
    cluster: Any, model: ImageModel, tmp_path: Path, picture_folder: PictureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words, without Ray's; here a table that is found damaged only when its turn comes."""
    folder = picture_folder({"a": 2})
    gone = [(range(0, 2), [Stretch(str(tmp_path / "gone.tar"), 0, 2)])]
    monkeypatch.setattr(spread, "stretches", lambda *_: iter(gone))
    with pytest.raises(DataError, match=r"^\S*gone\.tar cannot be read as a tar archive") as error:
        predict_many(model, [folder], tmp_path / "out.parquet", engine="ray")
    assert error.value.hint == "fetch or copy it again"


def part_of(tmp_path: Path, rows: list[dict[str, Any]]) -> tuple[parts.Parts, bytes]:
    held = parts.Parts(tmp_path / "out.parquet", len(rows), embeddings=False)
    parts.store(rows, held.schema, tmp_path / "part.parquet")
    return held, (tmp_path / "part.parquet").read_bytes()


def test_a_picture_that_only_an_actor_cannot_see_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(b"")
    for name, seen in (("here.png", False), ("gone.png", True)):
        held, content = part_of(tmp_path, [{"path": str(tmp_path / name), "error": "not a file"}])
        if seen:
            spread._refuse_unseen(held, content, "node-7")
            continue
        with pytest.raises(DataError, match=r"here\.png is here, and node-7 does not see it") as error:
            spread._refuse_unseen(held, content, "node-7")
        assert "address" in error.value.hint


def test_a_part_with_too_few_rows_is_not_taken(tmp_path: Path) -> None:
    held, content = part_of(tmp_path, [{"path": "a.png", "error": "not a file"}])
    with pytest.raises(DataError, match="the sources changed"):
        held.take(range(0, 2), content)


def test_an_actor_makes_of_its_part_what_one_machine_makes(
    model: ImageModel, picture_folder: PictureFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cluster: the object that Ray would keep, called as Ray calls it."""
    arrow = pytest.importorskip("pyarrow")
    folder = picture_folder({"a": 11})
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda held: held))  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    predict_many(model, [folder], tmp_path / "due.parquet", engine="eager")
    held = parts.Parts(tmp_path / "out.parquet", 11, embeddings=False)
    asking = dict(top=3, batch=4, engine="eager", embeddings=False, images=11)
    actor = spread.Actor(pickle.loads(pickle.dumps(model)), asking, held.schema, str(tmp_path))
    for span, found in stretches([str(folder)], [range(0, 8), range(8, 11)]):
        asked = [{"first": span.start, "stretches": json.dumps([astuple(one) for one in found])}]
        (answer,) = actor(arrow.Table.from_pylist(asked)).to_pylist()
        assert answer["first"] == span.start
        held.folder.mkdir(exist_ok=True)
        held.take(span, answer["part"])
    assert held.merge() == 0
    assert rows_of(tmp_path / "out.parquet") == rows_of(tmp_path / "due.parquet")


def test_ray_that_is_not_installed_is_named_with_its_extra(
    model: ImageModel, picture_folder: PictureFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"--engine ray needs the library ray\.data") as error:
        predict_many(model, [picture_folder({"a": 2})], tmp_path / "out.parquet", engine="ray")
    assert error.value.hint == "pip install 'allmlp[ray]'"
    assert not (tmp_path / "out.parquet.parts").exists()


class Lost(Exception):
    """In the place of Ray's."""


@pytest.mark.parametrize("error", [Lost("traceback\n\nthe node died\n"), ConnectionError("nobody answers at 10.0.0.7:6379")])
def test_a_cluster_that_is_lost_is_one_clear_error(error: Exception) -> None:
    context = SimpleNamespace(enable_progress_bars=True)
    data = SimpleNamespace(
        exceptions=SimpleNamespace(SystemException=Lost), DataContext=SimpleNamespace(get_current=lambda: context)
    )
    ray = SimpleNamespace(is_initialized=lambda: True, exceptions=SimpleNamespace(RayError=Lost), data=data)
    shown: list[bool] = []

    def lost() -> None:
        with spread._cluster(ray):
            shown.append(context.enable_progress_bars)
            raise error

    with pytest.raises(EngineError, match=r"Ray cannot go on: .*(the node died|nobody answers)") as raised:
        lost()
    assert shown == [False]
    assert "the same command goes on" in raised.value.hint
    assert context.enable_progress_bars


def test_the_command_takes_ray_for_files_of_rows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "run", "pictures", "--engine", "ray"]) == 2
    assert "add --out results.parquet" in capsys.readouterr().err

"""`allmlp predict --out`: every picture one row, in order, whatever is killed and when."""

import csv
import io
import json
import os
import random
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from allmlp.cli import main
from allmlp.data.stream import stream, survey
from allmlp.errors import DataError, RunError
from allmlp.models.base import ImageModel
from allmlp.prediction import many, parts
from allmlp.prediction.many import predict_many
from allmlp.prediction.pictures import predict
from allmlp.run import write_model
from contract import awake, build
from helpers import PictureFolder, picture

arrow = pytest.importorskip("pyarrow", reason="allmlp[parquet] brings pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def model() -> ImageModel:
    return awake(build("resmlp_s12")).eval()


@pytest.fixture
def folder(picture_folder: PictureFolder) -> Path:
    """90 pictures, three of which are none."""
    made = picture_folder({"a": 40, "b": 30, "c/d": 20})
    for name in ("a/3.png", "b/7.png", "c/d/19.png"):
        (made / name).write_bytes(b"no picture")
    return made


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", 8)
    monkeypatch.setattr(many, "ROWS", 8)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def run(model: ImageModel, sources: list[str | Path], out: Path, **words: Any) -> dict[str, Any]:
    return predict_many(model, sources, out, **{"batch": 5, "workers": 2, "engine": "eager", **words})


def test_the_ending_says_what_kind_of_file_is_written(model: ImageModel, folder: Path, tmp_path: Path) -> None:
    outs = {ending: tmp_path / f"out{ending}" for ending in (".parquet", ".csv", ".jsonl", ".json", ".CSV")}
    done = {ending: run(model, [folder], out, top=2) for ending, out in outs.items()}
    assert {(one["rows"], one["errors"]) for one in done.values()} == {(90, 3)}
    due = rows_of(outs[".parquet"])
    for ending in (".jsonl", ".json"):
        lines = [json.loads(line) for line in outs[ending].read_text(encoding="utf-8").splitlines()]
        assert [row["path"] for row in lines] == [row["path"] for row in due]
        for line, row in zip(lines, due, strict=True):
            assert line == {name: value for name, value in row.items() if value is not None}
    for ending in (".csv", ".CSV"):
        with outs[ending].open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        assert list(table[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2", "error"]
        for cells, row in zip(table, due, strict=True):
            assert (cells["path"], cells["error"]) == (row["path"], row["error"] or "")
            if row["error"] is None:
                assert [cells["class_1"], cells["class_2"]] == row["classes"]
                assert float(cells["probability_2"]) == pytest.approx(row["probabilities"][1], abs=1e-6)
    assert not [place for place in tmp_path.iterdir() if place.name.endswith(".parts")]


def test_the_csv_file_is_what_predict_prints_as_csv(
    model: ImageModel, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "mine.safetensors"
    write_model(weights, model.state_dict(), model.card())
    assert main(["predict", str(weights), str(folder), "--csv", "--engine", "eager", "--batch", "5"]) == 0
    shown = capsys.readouterr().out
    assert (
        main(["predict", str(weights), str(folder), "--out", str(tmp_path / "o.csv"), "--engine", "eager", "--batch", "5"]) == 0
    )
    assert list(csv.reader(shown.splitlines())) == list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))


def test_a_csv_file_that_was_begun_goes_on(
    model: ImageModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, written = parts.Parts.write, 0

    def write(self: parts.Parts, span: range, rows: list[dict[str, Any]]) -> None:
        nonlocal written
        plain(self, span, rows)
        written += 1
        if written == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(parts.Parts, "write", write)
    with pytest.raises(KeyboardInterrupt):
        run(model, [folder], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    monkeypatch.setattr(parts.Parts, "write", plain)
    assert run(model, [folder], tmp_path / "out.csv")["kept"] == 24
    run(model, [folder], tmp_path / "whole.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("name", "words"), [("out.xlsx", {}), ("out", {}), ("no/out.csv", {}), ("out.csv", {"embeddings": True})]
)
def test_a_file_of_another_kind_is_one_clear_error(
    name: str, words: dict[str, Any], model: ImageModel, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        run(model, [folder], tmp_path / name, **words)
    assert ".parquet" in caught.value.hint
    assert list(tmp_path.glob("out*")) == []


def test_every_picture_is_a_row_and_a_bad_one_a_row_with_an_error(model: ImageModel, folder: Path, tmp_path: Path) -> None:
    done = run(model, [folder], tmp_path / "out.parquet")
    due = list(predict(model, [folder], engine="eager"))
    got = rows_of(tmp_path / "out.parquet")
    assert (done["rows"], done["errors"], done["kept"]) == (90, 3, 0)
    assert [row["path"] for row in got] == [row["path"] for row in due]
    for row, other in zip(got, due, strict=True):
        assert row["error"] == other.get("error")
        assert row["classes"] == other.get("classes")
        assert row["probabilities"] == pytest.approx(other.get("probabilities"), abs=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.parquet", "pictures"]


def test_embeddings_are_the_features_before_the_classifier(model: ImageModel, folder: Path, tmp_path: Path) -> None:
    run(model, [folder / "b"], tmp_path / "out.parquet", embeddings=True)
    rows = {Path(row["path"]).name: row for row in rows_of(tmp_path / "out.parquet")}
    with torch.inference_mode():
        given = model.preprocessing(picture(40))[None]
        due = model.forward_head(model.forward_features(given), pre_logits=True)[0]
    assert torch.allclose(torch.tensor(rows["0.png"]["embedding"]), due, atol=1e-5)
    assert rows["7.png"]["embedding"] is None


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "PNG")
    return file.getvalue()


def sources(tmp_path: Path) -> Iterator[str]:
    """The same nine pictures in every form."""
    (tmp_path / "files").mkdir()
    for i in range(9):
        (tmp_path / "files" / f"{i}.png").write_bytes(encoded(i))
    yield str(tmp_path / "files")
    yield str(tmp_path / "files" / "*.png")
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path}/files/{i}.png\n" for i in range(9)))
    yield f"@{tmp_path}/list.txt"
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(tmp_path / f"all.{suffix}", mode) as archive:
            archive.add(tmp_path / "files", "files")
        yield str(tmp_path / f"all.{suffix}")
    for shard, numbers in enumerate([range(4), range(4, 9)]):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as archive:
            for i in numbers:
                archive.add(tmp_path / "files" / f"{i}.png", f"{i}.png")
    yield str(tmp_path / "shard-{0..1}.tar")
    table = arrow.table({"image": [{"bytes": encoded(i), "path": None} for i in range(9)]})
    parquet.write_table(table, tmp_path / "all.parquet", row_group_size=2)
    yield str(tmp_path / "all.parquet")


def test_every_kind_of_source_gives_the_same_rows(model: ImageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    answers = []
    for number, source in enumerate(sources(tmp_path)):
        assert survey([source]).count == 9
        run(model, [source], tmp_path / f"{number}.parquet")
        answers.append([(row["classes"], row["error"]) for row in rows_of(tmp_path / f"{number}.parquet")])
        for start in (0, 1, 4, 5, 8, 9):
            assert len(list(stream([source], start))) == 9 - start
    archive, table = sorted(answers[3]), answers[-1]
    assert len(answers) == 7
    assert all(sorted(other) == archive for other in answers)
    assert all(answers[i] == answers[0] for i in (1, 2, 5))
    assert table == answers[0]


Doing = Callable[[], object]


def killed(work: Doing, after: float | None = None) -> bool:
    """Do it in a copy of this process, which is killed after so many seconds, or kills itself; whether it was."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def suicide(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_no_row_is_lost_or_there_twice_after_kills_at_any_moment(model: ImageModel, folder: Path, tmp_path: Path) -> None:
    run(model, [folder], tmp_path / "due.parquet")
    moments, kills, attempt = random.Random(0), 0, 0
    while kills < 8:
        attempt += 1
        out = tmp_path / f"{attempt}.parquet"
        for _ in range(4):
            if not out.exists() or out.with_name(f"{out.name}.parts").exists():
                kills += killed(lambda out=out: run(model, [folder], out), moments.uniform(0.005, 0.3))  # type: ignore[misc]
        if not out.exists() or out.with_name(f"{out.name}.parts").exists():
            run(model, [folder], out)
        assert rows_of(out) == rows_of(tmp_path / "due.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["part", "half a part", "merge", "half a merge", "after the merge", "removal"])
def test_a_kill_while_something_is_written_costs_no_row(
    where: str, model: ImageModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, [folder], tmp_path / "due.parquet")
    out = tmp_path / "out.parquet"
    plain, count = parquet.write_table, 0

    def half(table: Any, path: Path, **words: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            Path(path).write_bytes(b"PAR1 and no more")
            suicide()
        plain(table, path, **words)

    write = parquet.ParquetWriter.write_table

    def in_the_merge(*given: Any, **words: Any) -> None:
        nonlocal count
        count += 1
        if count == 15:  # twelve parts went before
            suicide()
        write(*given, **words)

    with monkeypatch.context() as patched:
        if where == "part":
            patched.setattr(parts.Parts, "write", suicide)
        elif where == "half a part":
            patched.setattr(parquet, "write_table", half)
        elif where == "merge":
            patched.setattr(parquet, "ParquetWriter", suicide)
        elif where == "half a merge":
            patched.setattr(parquet.ParquetWriter, "write_table", in_the_merge)
        elif where == "after the merge":
            patched.setattr(Path, "rename", suicide)
        else:
            patched.setattr(parts.shutil, "rmtree", suicide)
        assert killed(lambda: run(model, [folder], out))
    if where == "removal":
        assert not (tmp_path / "out.parquet.parts").exists()
    else:
        done = run(model, [folder], out)
        assert done["kept"] == {"part": 0, "half a part": 24}.get(where, 90)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["due.parquet", "out.parquet", "pictures"]
    assert rows_of(out) == rows_of(tmp_path / "due.parquet")


def test_parts_of_something_else_are_refused_until_they_are_removed(
    model: ImageModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"

    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "merge", suicide)
        assert killed(lambda: run(model, [folder], out))
    other = awake(build("mixer_b16")).eval()
    with pytest.raises(RunError, match=r"(?s)holds rows of another model.*start afresh: rm -r .*out\.parquet\.parts"):
        run(other, [folder], out)
    with pytest.raises(RunError, match="holds rows of other options"):
        run(model, [folder], out, top=1)
    (folder / "a" / "0.png").write_bytes(encoded(77))
    with pytest.raises(RunError, match="holds rows of other pictures, or changed ones"):
        run(model, [folder], out)


def test_a_finished_output_is_not_written_over(model: ImageModel, folder: Path, tmp_path: Path) -> None:
    run(model, [folder / "b"], tmp_path / "out.parquet")
    with pytest.raises(RunError, match=r"out\.parquet is there already"):
        run(model, [folder / "b"], tmp_path / "out.parquet")


def test_two_processes_do_not_write_one_output(model: ImageModel, folder: Path, tmp_path: Path) -> None:
    held = parts.Parts(tmp_path / "out.parquet", 90, embeddings=False)
    with held.held({}), pytest.raises(RunError, match="being written by another process"):
        run(model, [folder], tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere", "nowhere does not exist, and nothing is called like it"),
        ("*.jpeg", "nothing is called like it"),
        ("@none.txt", "@none.txt cannot be read: No such file"),
        ("empty", "there is no picture in empty"),
        ("bad.parquet", "bad.parquet cannot be read as parquet"),
        ("bad.tar", "cannot be read as a tar archive"),
    ],
)
def test_wrong_sources_are_one_clear_error(
    source: str, told: str, model: ImageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match=told):
        run(model, [source], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet.parts").exists()


def test_a_listed_file_that_is_missing_is_a_row_with_an_error(model: ImageModel, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("gone.png\n")
    assert run(model, [f"@{tmp_path}/list.txt"], tmp_path / "out.parquet")["errors"] == 1
    assert rows_of(tmp_path / "out.parquet")[0]["error"] == "not a file"


def test_the_command_says_how_many_and_how_fast(
    model: ImageModel, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "mine.safetensors", model.state_dict(), model.card())
    words = ["predict", str(tmp_path / "mine.safetensors"), str(folder)]
    assert main([*words, "--out", str(tmp_path / "out.parquet"), "--embeddings"]) == 0
    assert "90 rows; 3 could not be read" in capsys.readouterr().err
    for more in (
        ["--embeddings"],
        ["--out", "a.parquet", "--json"],
        ["--out", "a.xlsx"],
        ["--out", "a.parquet", "--workers", "0"],
    ):
        assert main([*words, *more]) == 2

"""Numbers for programs: steps.jsonl, TensorBoard's event files, and trackers behind --log."""

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

import allmlp
from allmlp.cli import main
from allmlp.errors import RecipeError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training.display import Display
from allmlp.training.trackers import SERVICES
from ranks import At, in_processes

Make = Callable[..., Recipe]


def events(run: Run) -> Iterator[Any]:
    """TFRecord framing: length, its checksum, the message, its checksum."""
    for file in sorted(run.folder.glob("events.out.tfevents.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack("<Q", content[place : place + 8])
            event = Event()
            event.ParseFromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            yield event


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Make) -> Run:
    recipe = small_recipe(train={"log_every": 2})
    return allmlp.train(stripes, recipe=recipe, out=tmp_path_factory.mktemp("runs") / "logged", quiet=True)


def test_every_so_many_steps_there_is_one_line(run: Run) -> None:
    lines = read_lines(run.steps)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert [line["epoch"] for line in lines] == [1, 1, 2, 2, 3, 3]
    assert all(0 < line["loss"] < 10 and line["images_per_s"] > 0 and line["grad_norm"] > 0 for line in lines)
    assert lines[-1]["lr"] < lines[2]["lr"]  # past the warm-up


def test_event_files_hold_what_the_lines_say(run: Run) -> None:
    points = {(v.tag, e.step): v.simple_value for e in events(run) for v in e.summary.value}
    for line in read_lines(run.steps):
        assert points["train/loss", line["step"]] == pytest.approx(line["loss"])
        assert points["train/grad_norm", line["step"]] == pytest.approx(line["grad_norm"])
    for record in read_lines(run.metrics):
        assert points["epoch/val_top1", record["step"]] == pytest.approx(record["val_top1"])


def test_a_killed_and_resumed_run_has_each_line_once(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    recipe = small_recipe(train={"log_every": 1})
    in_processes(1, allmlp.train, stripes, recipe=recipe, out=tmp_path / "run", quiet=True, at=At(7, 0, 9))
    assert [line["step"] for line in read_lines(Run(tmp_path / "run").steps)] == list(range(1, 7))
    resumed = allmlp.resume(tmp_path / "run", quiet=True)
    assert [line["step"] for line in read_lines(resumed.steps)] == list(range(1, 13))


def test_without_clipping_the_norm_is_logged_too(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    recipe = small_recipe(train={"log_every": 1, "epochs": 1}, optim={"clip": 0.0})
    logged = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert read_lines(logged.steps)[0]["grad_norm"] > 0


class Pretend(ModuleType):
    """A tracker's package that remembers what it was told; the real ones want an account or a server."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        super().__init__(name)
        self.points: list[tuple[int, dict[str, float]]] = []
        self.begun: dict[str, Any] = {}
        self.ended = 0
        self.fails = fails

    def init(self, **words: Any) -> "Pretend":
        self.begun = words
        return self

    start_run = init

    def log(self, values: dict[str, float], step: int) -> None:
        if self.fails:
            raise ConnectionError("no route to host")
        self.points.append((step, values))

    log_metrics = log

    def finish(self) -> None:
        self.ended += 1

    end_run = finish

    def set_experiment(self, name: str) -> None:
        self.begun = {"experiment": name}

    def search_runs(self, **_: Any) -> list[SimpleNamespace]:
        return []

    def log_params(self, config: dict[str, Any]) -> None:
        self.begun["config"] = config


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_tracker_gets_the_recipe_and_every_point(
    name: str, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Pretend(name)
    monkeypatch.setitem(sys.modules, name, package)
    logged = allmlp.train(stripes, recipe=small_recipe(train={"log_every": 3}), out=tmp_path / "run", quiet=True, log=[name])
    assert package.begun["config"]["optim.lr"] == 0.01
    assert [step for step, values in package.points if "train/loss" in values] == [3, 6, 9, 12]
    assert [step for step, values in package.points if "epoch/val_top1" in values] == [4, 8, 12]
    assert package.ended == 1
    assert read_lines(logged.metrics)


def test_a_tracker_that_fails_is_left_out_and_training_goes_on(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Pretend("wandb", fails=True))
    logged = allmlp.train(stripes, recipe=small_recipe(train={"log_every": 1}), out=tmp_path / "run", quiet=True, log=["wandb"])
    assert logged.log.read_text().count("wandb is left out from now on: no route to host") == 1
    assert len(read_lines(logged.metrics)) == 3


def test_what_cannot_be_used_is_said_before_training(
    stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    words = ["train", str(stripes), "--out", str(tmp_path / "run"), "--log"]
    assert main([*words, "mlflow"]) == 2
    assert "pip install 'allmlp[mlflow]'" in capsys.readouterr().err
    assert main([*words, "wandbb"]) == 2
    assert "did you mean wandb?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match="is no tracker"):
        allmlp.train(stripes, log=["tensorboard"], out=tmp_path / "run")


def test_run_json_counts_the_epochs_while_the_run_goes_on(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seen = Display.epoch, []

    def epoch(self: Display, record: object, **shown: object) -> None:
        state = read_json(tmp_path / "run" / "run.json")
        seen.append((state["state"], state["epochs_done"], state["best"] is not None))
        plain(self, record, **shown)  # type: ignore[arg-type]

    monkeypatch.setattr(Display, "epoch", epoch)
    allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    assert seen == [("running", 1, True), ("running", 2, True), ("running", 3, True)]

"""A checkpoint is whole or not there, holds no code, and there is one before it."""

import json
import os
import resource
import shutil
import signal
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import allmlp
from allmlp.errors import RunError
from allmlp.models import create_model
from allmlp.recipe import Optim, Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training import checkpoint
from allmlp.training.checkpoint import Position, newest_first
from allmlp.training.distributed import Team
from allmlp.training.optim import optimiser
from ranks import At, in_processes, values

Make = Callable[..., Recipe]
RICH = {
    "hyper": {"drop_path": 0.2},
    "augment": {"mixup": 0.4, "cutmix": 1.0, "erase": 0.5},
    "train": {"ema": 0.9, "save_steps": 3, "keep": 3, "log_every": 1},
}


def parts_of(name: str, steps: int) -> dict[str, Any]:
    """A model trained for some steps, and its optimiser."""
    torch.manual_seed(steps)
    model = create_model("resmlp", dim=8, depth=1, img_size=16, num_classes=3)
    made = optimiser(model, Optim(name=name), batch=256)
    for _ in range(steps):
        model(torch.randn(4, 3, 16, 16)).square().mean().backward()
        made.step()
        made.zero_grad()
    return {"model": model, "optimiser": made}


@pytest.mark.parametrize("name", ["adamw", "lamb", "sgd", "muon"])
def test_every_optimiser_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    before, after = parts_of(name, 3), parts_of(name, 0)
    checkpoint.save(Run(tmp_path), Position(epoch=1, step=2), before, Team(), keep=1)
    position, _ = checkpoint.load(Run(tmp_path), lambda _: SimpleNamespace(parts=after), Team(), print)
    assert position == Position(epoch=1, step=2)
    torch.manual_seed(9)
    images = torch.randn(4, 3, 16, 16)
    for parts in (before, after):  # the next step needs all of the state
        parts["model"](images).square().mean().backward()
        parts["optimiser"].step()
    for one, two in zip(before["model"].parameters(), after["model"].parameters(), strict=True):
        assert torch.equal(one, two)


def test_other_parts_of_plain_values_come_back_too(tmp_path: Path) -> None:
    """As a loss scaler has."""

    class Scaler:
        scale = 1.0

        def state_dict(self) -> dict[str, Any]:
            return {"scale": self.scale, "growth": {"interval": 2000}}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.scale = state["scale"]

    before, after = parts_of("adamw", 1), parts_of("adamw", 0)
    before["scaler"], after["scaler"] = Scaler(), Scaler()
    before["scaler"].scale = 1024.0
    checkpoint.save(Run(tmp_path), Position(), before, Team(), keep=1)
    checkpoint.load(Run(tmp_path), lambda _: SimpleNamespace(parts=after), Team(), print)
    assert after["scaler"].scale == 1024.0


def test_nothing_in_a_checkpoint_could_execute_code(tmp_path: Path) -> None:
    checkpoint.save(Run(tmp_path), Position(), parts_of("adamw", 1), Team(), keep=1)
    for file in newest_first(Run(tmp_path))[0].iterdir():
        assert load_file(file) if file.suffix == ".safetensors" else json.loads(file.read_text()), file


def test_the_last_ones_are_kept_and_nothing_else_is_left(tmp_path: Path) -> None:
    run, parts = Run(tmp_path), parts_of("adamw", 1)
    (run.checkpoints / ".00000-00000001").mkdir(parents=True)  # a crash while writing
    for epoch, step in ((0, 3), (0, 10), (1, 0), (1, 3), (1, 3)):
        checkpoint.save(run, Position(epoch=epoch, step=step), parts, Team(), keep=2)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["00001-00000000", "00001-00000003"]


@pytest.fixture(scope="module")
def undisturbed(stripes: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Make) -> Run:
    return allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path_factory.mktemp("runs") / "whole", quiet=True)


def lines(run: Run, which: str) -> list[dict[str, object]]:
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_s")} for line in read_lines(run.folder / which)]


def assert_same(a: Run, b: Run) -> None:
    for which in ("best", "last"):
        one, two = load_file(a.weights(which)), load_file(b.weights(which))
        assert all(torch.equal(one[name], two[name]) for name in one), which
    for which in ("metrics.jsonl", "steps.jsonl"):
        assert lines(a, which) == lines(b, which)


@pytest.mark.parametrize("step", np.random.default_rng(7).choice(np.arange(4, 13), 3, replace=False).tolist())
def test_a_run_killed_at_a_random_step_ends_as_if_nothing_had_happened(
    step: int, undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    """4 steps an epoch, a checkpoint at every third step of an epoch and at its end."""
    kill_and_resume(step, stripes, small_recipe(**RICH), tmp_path / "run")
    assert_same(undisturbed, Run(tmp_path / "run"))


def test_so_does_one_with_workers_that_read_ahead(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    """Picture by picture, because of the policy."""
    recipe = small_recipe(**{**RICH, "augment": {**RICH["augment"], "auto": "rand-m5-n1"}}, data={"workers": 2})
    kill_and_resume(6, stripes, recipe, tmp_path / "run")
    assert_same(allmlp.train(stripes, recipe=recipe, out=tmp_path / "whole", quiet=True), Run(tmp_path / "run"))


def kill_and_resume(step: int, data: Path, recipe: Recipe, out: Path) -> None:
    at = At(step, 0, signal.SIGKILL)
    (killed,) = in_processes(1, allmlp.train, data, recipe=recipe, out=out, quiet=True, at=at)
    assert killed.status == -signal.SIGKILL
    assert read_json(Run(out).state)["state"] == "running"
    allmlp.resume(out, quiet=True)


def train_and_die(moment: str, count: int, data: Path, recipe: Recipe, out: Path) -> None:
    """Killed when the checkpoint's writing reaches `moment` for the `count`th time."""
    plain, calls = getattr(checkpoint, moment), 0

    def dying(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*arguments, **more)

    setattr(checkpoint, moment, dying)
    allmlp.train(data, recipe=recipe, out=out, quiet=True)


@pytest.mark.parametrize(("moment", "count"), [("save_file", 2), ("write_json", 4), ("_publish", 2), ("_rotate", 5)])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    moment: str, count: int, undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    ended = in_processes(1, train_and_die, moment, count, stripes, small_recipe(**RICH), tmp_path / "run")
    assert ended[0].status == -signal.SIGKILL
    run = allmlp.resume(tmp_path / "run", quiet=True)
    assert_same(undisturbed, run)
    assert not list(run.checkpoints.glob(".*"))


def stopped_run(stripes: Path, out: Path, recipe: Recipe, step: int = 8) -> Run:
    values(in_processes(1, allmlp.train, stripes, recipe=recipe, out=out, quiet=True, at=At(step)))
    return Run.open(out)


def cut_in_half(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def change_a_number(folder: Path) -> None:
    file = folder / "state.json"
    file.write_text(file.read_text().replace('"epoch": ', '"epoch": 1'))


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def empty_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def add_a_shard(folder: Path) -> None:
    shutil.copy(next(folder.glob("*.safetensors")), folder / "shard-00002-model-00001-of-00001.safetensors")


DAMAGES = [cut_in_half, flip_a_bit, change_a_number, lose_the_manifest, empty_the_manifest, add_a_shard]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    damage: Callable[[Path], None], stopped: Run, undisturbed: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(stopped.folder, run.folder)
    newest = newest_first(run)[0]
    damage(newest)
    allmlp.resume(run.folder, quiet=True)
    log = run.log.read_text()
    assert f"{newest} cannot be used" in log
    assert "going on from the one before" in log
    assert_same(undisturbed, run)


@pytest.fixture(scope="module")
def stopped(stripes: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Make) -> Run:
    return stopped_run(stripes, tmp_path_factory.mktemp("stopped") / "run", small_recipe(**RICH))


def test_when_all_are_damaged_it_is_one_clear_error(stopped: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(stopped.folder, run.folder)
    for folder in newest_first(run):
        cut_in_half(folder)
    with pytest.raises(RunError, match=r"safetensors is not as it was written"):
        allmlp.resume(run.folder, quiet=True)


def test_a_checkpoint_of_another_model_is_refused(stopped: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(stopped.folder, run.folder)
    run.recipe.write_text(run.recipe.read_text().replace("dim = 16", "dim = 24"))
    with pytest.raises(RunError, match="cannot be used"):
        allmlp.resume(run.folder, quiet=True)


def test_a_disk_without_room_is_said_before_anything_is_written(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(RunError, match=r"it needs \d+ MB and the disk has 0 MB left") as error:
        allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    assert "the checkpoint before is intact" in error.value.hint
    assert not list(Run(tmp_path / "run").checkpoints.glob("*"))


def train_with_small_files(largest: int, after: int, data: Path, recipe: Recipe, out: Path) -> None:
    """From the `after`th checkpoint on the system refuses to write files above `largest` bytes."""
    plain, calls = checkpoint.save_file, 0

    def limited(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        plain(*arguments)

    checkpoint.save_file = limited
    allmlp.train(data, recipe=recipe, out=out, quiet=True)


def test_a_disk_that_fills_while_writing_loses_nothing(
    undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    (ended,) = in_processes(1, train_with_small_files, 20_000, 3, stripes, small_recipe(**RICH), tmp_path / "run")
    assert isinstance(ended.error, RunError), ended
    assert "could not be written" in str(ended.error)
    run = allmlp.resume(tmp_path / "run", quiet=True)
    assert_same(undisturbed, run)


def train_until_read_only(data: Path, recipe: Recipe, out: Path) -> None:
    """At the second epoch's end, every file refuses to be opened for writing; root would otherwise be let in."""
    plain, calls = Run.append, 0

    def refused(self: Run, file: Path, record: Any) -> None:
        nonlocal calls
        calls += file == self.metrics
        if calls > 1:
            raise OSError(30, "Read-only file system")
        plain(self, file, record)

    Run.append = refused  # type: ignore[method-assign]
    allmlp.train(data, recipe=recipe, out=out, quiet=True)


def test_a_folder_that_turns_read_only_is_said_and_the_run_goes_on_later(
    undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    (ended,) = in_processes(1, train_until_read_only, stripes, small_recipe(**RICH), tmp_path / "run")
    assert isinstance(ended.error, RunError), ended
    assert "can no longer be written: Read-only file system" in str(ended.error)
    assert "--resume" in ended.error.hint
    assert_same(undisturbed, allmlp.resume(tmp_path / "run", quiet=True))


def test_checkpoints_come_every_so_many_seconds_and_steps(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    plain = checkpoint.save

    def noted(run: Run, position: Position, *rest: Any, **more: Any) -> None:
        written.append(position.name[4:7] + position.name[-1])
        plain(run, position, *rest, **more)

    monkeypatch.setattr(checkpoint, "save", noted)
    allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1}), out=tmp_path / "a", quiet=True)
    assert written == ["1-00"]
    written.clear()
    allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1, "save_steps": 2}), out=tmp_path / "b", quiet=True)
    assert written == ["0-02", "0-04", "1-00"]
    written.clear()
    allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1, "save_seconds": 0}), out=tmp_path / "c", quiet=True)
    assert written == ["0-01", "0-02", "0-03", "0-04", "1-00"]

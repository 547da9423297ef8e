"""An interrupted run, resumed, ends as if it had never stopped."""

from collections.abc import Callable
from pathlib import Path

import pytest

import allmlp
from allmlp.errors import RunError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json
from allmlp.training import loop
from helpers import interrupt_after, same_weights, without_times

RICH = {
    "augment": {"mixup": 0.4, "cutmix": 1.0, "erase": 0.5, "auto": "rand-m5-n1"},
    "train": {"ema": 0.9, "smoothing": 0.1},
    "hyper": {"drop_path": 0.2},
}


@pytest.mark.parametrize("steps", [1, 4, 7, 8, 12])
def test_resumed_run_is_bit_identical(
    steps: int, stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 steps an epoch: inside the first epoch, at its end, inside the second, at its end, at the very end."""
    recipe = small_recipe(**RICH)
    undisturbed = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    state = read_json(stopped.state)
    assert (state["state"], state["signal"]) == ("stopped", "SIGTERM")
    resumed = allmlp.resume(stopped.folder, quiet=True)
    assert read_json(resumed.state)["state"] == "finished"
    assert same_weights(undisturbed, resumed)
    assert same_weights(undisturbed, resumed, "best")
    assert without_times(undisturbed) == without_times(resumed)


def test_crash_between_checkpoint_and_metrics_leaves_no_double_lines(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe()
    undisturbed = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)

    def crash(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", crash)
        with pytest.raises(MemoryError):
            allmlp.train(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    run = Run.open(tmp_path / "b")
    assert read_json(run.state)["state"] == "stopped"
    with pytest.raises(RunError, match="no checkpoint"):
        allmlp.resume(run.folder, quiet=True)
    interrupt_after(monkeypatch, 6)
    again = allmlp.train(stripes, recipe=recipe, out=tmp_path / "c", quiet=True)
    again.append(again.metrics, {"epoch": 2, "val_top1": 0.0})  # as if a line had got further than the checkpoint
    monkeypatch.undo()
    allmlp.resume(again.folder, quiet=True)
    assert without_times(again) == without_times(undisturbed)


@pytest.mark.slow
def test_worker_processes_change_nothing(stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]) -> None:
    runs = [
        allmlp.train(stripes, recipe=small_recipe(**RICH, data={"workers": n}), out=tmp_path / str(n), quiet=True)
        for n in (0, 1, 4)
    ]
    assert same_weights(runs[0], runs[1])
    assert same_weights(runs[0], runs[2])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    one, two = (allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path / n, quiet=True) for n in "ab")
    other = allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path / "c", quiet=True, seed=1)
    assert same_weights(one, two)
    assert not same_weights(one, other)


def test_finished_run_is_not_resumed(stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]) -> None:
    run = allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1}), out=tmp_path / "a", quiet=True)
    with pytest.raises(RunError, match="is finished"):
        allmlp.resume(run.folder, quiet=True)


def test_resuming_on_other_images_is_refused(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(stripes, copy)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        run = allmlp.train(copy, recipe=small_recipe(), out=tmp_path / "a", quiet=True)
    (copy / "across" / "00.png").unlink()
    with pytest.raises(RunError, match="are not those this run began with"):
        allmlp.resume(run.folder, quiet=True)

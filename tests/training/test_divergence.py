"""A loss that leaves all bounds: the run stops cleanly, or goes back and on at half the rate."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import allmlp
from allmlp.errors import TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training import loop, objectives
from allmlp.training.checkpoint import Position, newest_first
from allmlp.training.distributed import Team
from allmlp.training.plan import Plan
from allmlp.training.step import Outcome
from allmlp.training.supervised import Supervised
from allmlp.training.tally import FAR, WINDOW, Tally
from helpers import interrupt_after, same_weights

Make = Callable[..., Recipe]
STEPS = 4  # in an epoch


def poison(monkeypatch: pytest.MonkeyPatch, *steps: int, times: float = float("nan")) -> None:
    """The loss of these steps, counted from 1 over all attempts, is multiplied."""
    count = 0
    plain = objectives.cross_entropy

    def poisoned(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += logits.requires_grad
        return plain(logits, target) * (times if count in steps and logits.requires_grad else 1.0)

    monkeypatch.setitem(objectives.OBJECTIVES, "ce", poisoned)


def test_loss_that_is_not_finite_stops_says_where_and_keeps_the_images(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 6)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 6 \(epoch 2\)") as caught:
        allmlp.train(stripes, recipe=small_recipe(augment={"flip": 0.5, "cutmix": 1.0}), out=tmp_path / "a", quiet=True)
    assert "lower --optim.lr" in caught.value.hint
    assert str(tmp_path / "a" / "diverged.safetensors") in caught.value.hint
    assert read_json(tmp_path / "a" / "run.json")["state"] == "stopped"
    assert all(bool(t.isfinite().all()) for t in load_file(tmp_path / "a" / "best.safetensors").values())


def test_the_kept_images_are_those_the_step_was_given(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    plain = loop.update

    def spy(plan: object, batch: object, number: int, **more: object) -> Outcome:
        given.append(batch)
        return plain(plan, batch, number, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "update", spy)
    poison(monkeypatch, 7)
    with pytest.raises(TrainingError):
        allmlp.train(stripes, recipe=small_recipe(augment={"mixup": 0.5, "erase": 0.5}), out=tmp_path / "a", quiet=True)
    with safe_open(tmp_path / "a" / "diverged.safetensors", framework="pt") as file:
        for name in ("images", "labels", "indices"):
            assert torch.equal(file.get_tensor(name), getattr(given[6], name))
        assert file.metadata() == {"epoch": "1", "step": "2", "loss": "nan"}


def test_a_run_goes_back_to_its_checkpoint_and_on_at_half_the_rate(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = read_lines(allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True).metrics)
    poison(monkeypatch, 6)
    run = allmlp.train(stripes, recipe=small_recipe(train={"retry": 1}), out=tmp_path / "b")
    state, lines = read_json(run.state), read_lines(run.metrics)
    assert state["state"] == "finished"
    ((retry),) = state["retries"]
    assert (retry["epoch"], retry["step"], retry["rate"]) == (2, 2, 0.5)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["lr"] / p["lr"] for line, p in zip(lines, plain, strict=True)] == pytest.approx([1.0, 0.5, 0.5])
    said = "the loss is nan at step 6 (epoch 2): back to epoch 2, step 1, at 0.5 of the learning rate"
    assert said in capsys.readouterr().err
    assert said in run.log.read_text()


def spoil_weights_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    plain = loop.update

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if number + 1 == step:
            with torch.no_grad():
                plan.model.get_parameter("head.bias")[0] = float("inf")
        return found

    monkeypatch.setattr(loop, "update", spoiling)


@pytest.mark.parametrize("step", [2, 4])
def test_no_file_is_written_of_weights_that_are_none(
    step: int, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside an epoch and at its end, where no loss tells of them in time."""
    spoil_weights_after(monkeypatch, step)
    with pytest.raises(TrainingError, match=rf"weights are not finite at step {step} .*: not all .* in model.head.bias"):
        allmlp.train(stripes, recipe=small_recipe(train={"save_steps": 2, "keep": 1}), out=tmp_path / "a", quiet=True)
    kept = [folder.name for folder in newest_first(Run(tmp_path / "a"))]
    assert kept == ([] if step == 2 else ["00000-00000002"])
    assert not (tmp_path / "a" / "best.safetensors").exists()


def test_a_gradient_that_is_none_moves_nothing_and_is_named(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, torch.Tensor] = {}
    models: list[torch.nn.Module] = []

    def spoil(self: Supervised, plan: Plan, number: int) -> None:
        if number == 3:
            given.update({name: value.clone() for name, value in plan.model.state_dict().items()})
            plan.model.get_parameter("head.bias").grad[0] = float("nan")  # type: ignore[index]
            models.append(plan.model)

    monkeypatch.setattr(Supervised, "about_to_move", spoil)
    with pytest.raises(TrainingError, match=r"norm is nan at step 4 \(epoch 1\): not all gradients are finite in head.bias"):
        allmlp.train(stripes, recipe=small_recipe(optim={"clip": 0.0}), out=tmp_path / "a", quiet=True)
    assert all(torch.equal(value, given[name]) for name, value in models[0].state_dict().items())


def test_where_a_run_goes_back_to_does_not_hang_on_when_checkpoints_were_written(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never inside an epoch, in every step, or after a signal between."""
    runs = []
    for name, seconds, stop in (("never", 300.0, None), ("always", 0.0, None), ("stopped", 300.0, 5)):
        recipe = small_recipe(train={"retry": 1, "keep": 1, "save_seconds": seconds})
        with monkeypatch.context() as patch:
            if stop is not None:
                interrupt_after(patch, stop)
                allmlp.train(stripes, recipe=recipe, out=tmp_path / name, quiet=True)
        with monkeypatch.context() as patch:
            poison(patch, *((7,) if stop is None else (7 - stop,)))
            if stop is None:
                runs.append(allmlp.train(stripes, recipe=recipe, out=tmp_path / name, quiet=True))
            else:
                runs.append(allmlp.resume(tmp_path / name, quiet=True))
    assert all(len(read_json(run.state)["retries"]) == 1 for run in runs)
    assert same_weights(runs[0], runs[1])
    assert same_weights(runs[0], runs[2])


def test_before_the_first_checkpoint_a_run_goes_back_to_its_beginning(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 2, 4)
    run = allmlp.train(stripes, recipe=small_recipe(train={"retry": 2}), out=tmp_path / "a", quiet=True)
    assert [r["rate"] for r in read_json(run.state)["retries"]] == [0.5, 0.25]
    assert [line["epoch"] for line in read_lines(run.metrics)] == [1, 2, 3]


def test_after_the_last_retry_the_run_stops(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 6, 7)
    with pytest.raises(TrainingError, match="at step 5"):  # the second attempt's first
        allmlp.train(stripes, recipe=small_recipe(train={"retry": 1}), out=tmp_path / "a", quiet=True)
    state = read_json(tmp_path / "a" / "run.json")
    assert (state["state"], len(state["retries"])) == ("stopped", 1)


def test_a_run_that_went_back_resumes_bit_identically_at_its_lower_rate(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(train={"retry": 1, "ema": 0.9})
    with monkeypatch.context() as patch:
        poison(patch, 6)
        undisturbed = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    with monkeypatch.context() as patch:
        poison(patch, 6)
        interrupt_after(patch, 7)  # the second step after the retry
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    resumed = allmlp.resume(stopped.folder, quiet=True)
    assert same_weights(undisturbed, resumed)
    assert read_json(resumed.state)["retries"] == read_json(stopped.state)["retries"]


def outcome(ratio: float) -> Outcome:
    return Outcome(torch.tensor(2.0 * ratio), torch.tensor(2.0), None, None)


def test_a_finite_loss_far_above_chance_for_long_is_out_of_bounds() -> None:
    tally = Tally(Position(), Team(), every=1)
    for step in range(WINDOW - 1):
        tally.add(step, outcome(2 * FAR), 8)
        assert tally.settle() is None
    tally.add(WINDOW - 1, outcome(2 * FAR), 8)
    assert tally.settle() == (WINDOW - 1, pytest.approx(4 * FAR), 0.0, False)


def test_a_spike_is_not_out_of_bounds() -> None:
    tally = Tally(Position(), Team(), every=10)
    for step in range(3 * WINDOW):
        tally.add(step, outcome(5 * FAR if step % 20 == 0 else 1.0), 8)
        if tally.due:
            assert tally.settle() is None
    assert tally.position.weighed == 3 * WINDOW * 8


def test_looking_seldom_counts_the_same_and_finds_the_first_bad_step() -> None:
    """On an accelerator, where each look waits."""
    outcomes = [Outcome(torch.tensor(1.0 + i), torch.tensor(2.0), torch.tensor(i) if i % 2 else None, None) for i in range(7)]
    counted = []
    for every in (1, 3, 50):
        tally = Tally(Position(), Team(), every=every)
        for step, found in enumerate(outcomes):
            tally.add(step, found, 4)
            if tally.due:
                tally.settle()
        tally.settle()
        counted.append(tally.position)
    assert counted[0] == counted[1] == counted[2]
    assert (counted[0].weighed, counted[0].loss_sum, counted[0].hits, counted[0].judged) == (28, 4 * 28.0, 1 + 3 + 5, 12)
    tally = Tally(Position(), Team(), every=50)
    for step, ratio in enumerate([1.0, 1.0, float("inf"), float("nan")]):
        tally.add(step + 5, outcome(ratio), 4)
    assert tally.settle() == (7, float("inf"), 0.0, False)
    assert tally.position.weighed == 8


def test_a_rate_far_too_high_diverges_by_itself(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    with pytest.raises(TrainingError, match=r"the (loss|gradient's norm) is"):
        allmlp.train(
            stripes,
            recipe=small_recipe(optim={"name": "sgd", "lr": 1e20, "clip": 0.0, "warmup": 0.0}),
            out=tmp_path / "a",
            quiet=True,
        )

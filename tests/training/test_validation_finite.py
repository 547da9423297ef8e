"""Validation that is not finite ends a run, is named, and spoils nothing that was good."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

import allmlp
from allmlp.errors import TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training import loop
from allmlp.training.checkpoint import newest_first
from allmlp.training.plan import Plan
from allmlp.training.step import Outcome
from allmlp.training.tally import Tally
from helpers import interrupt_after, same_weights
from ranks import in_processes, values

Make = Callable[..., Recipe]
STEPS = 4  # in an epoch
HUGE = 3e38  # finite, and any sum of two is not


def spoil_after(
    monkeypatch: pytest.MonkeyPatch,
    step: int | None,
    *,
    value: float = HUGE,
    raw: bool = True,
    ema: bool = False,
    times: int = 1,
) -> None:
    """The head's weights are `value` after step `step`, from 1, or each, at most so many times. raw: or the running mean's."""
    plain, left = loop.update, times

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        nonlocal left
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if step in (None, number + 1) and left:
            left -= 1
            model = plan.model if raw or plan.ema is None else plan.ema.module
            with torch.no_grad():
                model.get_parameter("head.weight").fill_(value)
        return found

    monkeypatch.setattr(loop, "update", spoiling)


def strict(text: str) -> Any:
    """JSON as every parser but Python's reads it."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"bare {name}")

    return json.loads(text, parse_constant=refuse)


def all_strict(run: Run) -> list[Path]:
    """The JSON files of a run, each of which a strict parser takes."""
    files = sorted(path for path in run.folder.rglob("*.json*") if path.is_file())
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]:
            strict(line)
    return files


def all_finite(path: Path) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in load_file(path).values())


@pytest.mark.parametrize("epoch", [1, 3])
def test_it_stops_the_run_at_its_epoch_names_an_image_and_keeps_what_was_good(
    epoch: int, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first epoch, and at the run's last."""
    spoil_after(monkeypatch, epoch * STEPS)
    where = rf"validation is not finite after step {epoch * STEPS} \(epoch {epoch}\)"
    with pytest.raises(TrainingError, match=rf"{where}: not all logits are finite for \d+ of \d+ images, .*\.png") as caught:
        allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True)
    run = Run(tmp_path / "a")
    assert "lower --optim.lr" in caught.value.hint
    assert run.diverged.is_file()
    assert ("best epoch" in caught.value.hint, "--resume" in caught.value.hint) == (epoch > 1, epoch > 1)
    state = read_json(run.state)
    assert state["state"] == "stopped"
    assert [line["epoch"] for line in read_lines(run.metrics)] == list(range(1, epoch))
    assert (state["best"] or {}).get("epoch", 0) < epoch
    assert run.weights().is_file() == (epoch > 1)
    assert not run.weights("last").exists()
    assert epoch == 1 or all_finite(run.weights())
    assert all_strict(run)


def test_a_run_of_one_step_sees_what_that_step_did(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_after(monkeypatch, 1)
    recipe = small_recipe(train={"epochs": 1, "batch": 64}, optim={"warmup": 0.0})
    with pytest.raises(TrainingError, match=r"validation is not finite after step 1 \(epoch 1\)"):
        allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    assert not list((tmp_path / "a").glob("*st.safetensors"))


@pytest.mark.parametrize(("value", "what"), [(HUGE, "validation is not finite"), (math.nan, "weights are not finite")])
def test_the_last_step_is_looked_at_where_the_device_is_asked_seldom(
    value: float, what: str, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where losses wait for 50 steps and, with loss scaling, the gradient's norm says nothing."""
    plain = Tally.__init__

    def seldom(self: Tally, *given: Any, **more: Any) -> None:
        plain(self, *given, **{**more, "every": 50, "scaled": True})

    monkeypatch.setattr(Tally, "__init__", seldom)
    spoil_after(monkeypatch, 3 * STEPS, value=value)
    with pytest.raises(TrainingError, match=what):
        allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True)
    run = Run(tmp_path / "a")
    assert all_finite(run.weights())
    assert not run.weights("last").exists()
    assert newest_first(run)[0].name == "00002-00000000"


def test_a_retry_goes_back_to_a_checkpoint_before_the_spoiled_weights(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint after each step, of which one is kept: that of the step which spoiled them pushes no other out."""
    spoil_after(monkeypatch, 2 * STEPS)
    recipe = small_recipe(train={"retry": 1, "save_steps": 1, "keep": 1})
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    state = strict(run.state.read_text(encoding="utf-8"))
    assert state["state"] == "finished"
    ((retry),) = state["retries"]
    assert (retry["epoch"], retry["step"], retry["rate"], retry["loss"]) == (2, STEPS, 0.5, None)
    assert [line["epoch"] for line in read_lines(run.metrics)] == [1, 2, 3]
    assert all_finite(run.weights("last"))
    assert len(newest_first(run)) == 1
    all_strict(run)


def test_a_checkpoint_saved_by_a_signal_before_such_a_validation_is_not_gone_back_to(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(train={"retry": 1, "keep": 1})
    with monkeypatch.context() as patch:
        spoil_after(patch, 2 * STEPS)
        interrupt_after(patch, 2 * STEPS)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    assert [path.name for path in newest_first(stopped)] == ["00001-00000004", "00001-00000000"]
    resumed = allmlp.resume(stopped.folder, quiet=True)
    assert read_json(resumed.state)["state"] == "finished"
    assert all_finite(resumed.weights("last"))


def test_a_running_mean_that_is_not_finite_is_never_best_and_training_goes_on(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The raw weights are those of a run without a running mean, and the better of their epochs is best."""
    plain = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "plain", quiet=True)
    spoil_after(monkeypatch, None, raw=False, times=99)
    run = allmlp.train(stripes, recipe=small_recipe(train={"ema": 0.999}), out=tmp_path / "a")
    assert "the running mean (EMA) of the weights cannot be best: not all logits" in capsys.readouterr().err
    assert read_json(run.state)["best"] == read_json(plain.state)["best"]
    assert same_weights(plain, run)
    lines = [strict(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    assert [(line["ema_loss"], line["ema_top1"]) for line in lines] == [(None, None)] * 3
    allmlp.report(run)
    all_strict(run)


def test_raw_weights_that_are_not_finite_end_the_run_whatever_their_mean(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_after(monkeypatch, 3 * STEPS)
    with pytest.raises(TrainingError, match="validation is not finite after step 12"):
        allmlp.train(stripes, recipe=small_recipe(train={"ema": 0.999}), out=tmp_path / "a", quiet=True)
    state = read_json(tmp_path / "a" / "run.json")
    assert (state["state"], state["epochs_done"]) == ("stopped", 2)


def test_running_statistics_that_are_not_finite_are_found_before_a_file_is_written(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training mode no loss depends on them."""
    plain = loop.update

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if number + 1 == 2:
            next(value for name, value in plan.model.named_buffers() if name.endswith("running_var"))[0] = math.inf
        return found

    monkeypatch.setattr(loop, "update", spoiling)
    recipe = replace(small_recipe(), model="smlpnet", hyper={"dim": 8, "depths": (1, 1), "patch_size": 4})
    with pytest.raises(TrainingError, match=r"weights are not finite at step 4 .*running_var"):
        allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    assert not list((tmp_path / "a").glob("*st.safetensors"))


def trained_until_spoiled(data: Path, recipe: Recipe, out: Path) -> tuple[str, str]:
    """(what the error says, the newest checkpoint). In each process weights are too large after step 8: its share of them."""
    plain = loop.update

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if number + 1 == 2 * STEPS:
            weight = plan.model.get_parameter("head.weight").detach()
            (weight.to_local() if isinstance(weight, DTensor) else weight).fill_(HUGE)
        return found

    loop.update = spoiling
    try:
        allmlp.train(data, recipe=recipe, out=out, quiet=True)
    except TrainingError as error:
        return error.what, newest_first(Run(out))[0].name
    return "", ""


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_all_processes_of_a_team_stop_with_one_reason(parallel: str, stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    recipe = small_recipe(train={"parallel": parallel, "ema": 0.9})
    first, second = values(in_processes(2, trained_until_spoiled, stripes, recipe, tmp_path / "run"))
    assert first == second
    assert first[0].startswith("validation is not finite after step 8 (epoch 2): not all logits are finite for 12 of 12 images")
    assert first[1] == "00001-00000000"
    run = Run(tmp_path / "run")
    assert read_json(run.state)["state"] == "stopped"
    assert all_finite(run.weights())
    assert not run.weights("last").exists()


def test_features_that_are_not_finite_end_learning_without_labels(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's weights are finite, its features of the validation images are not."""
    plain = loop.update

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if number + 1 == STEPS:
            assert plan.ema is not None
            with torch.no_grad():
                plan.ema.module.get_parameter("norm.alpha").fill_(HUGE)
        return found

    monkeypatch.setattr(loop, "update", spoiling)
    dino = {"local_crops": 2, "outputs": 32, "hidden": 16, "bottleneck": 8, "knn_every": 1, "patience": 0}
    recipe = small_recipe(augment={"crop": "auto", "padding": 4}, dino=dino)
    with pytest.raises(
        TrainingError, match=r"validation is not finite after step 4 \(epoch 1\): not all features are finite for"
    ):
        allmlp.pretrain(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    assert not list((tmp_path / "a").glob("*st.safetensors"))
    assert not Run(tmp_path / "a").metrics.exists()


def test_sentences_whose_loss_is_not_finite_end_the_training_of_a_translator(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentencepiece", reason="extra translate")
    from allmlp.recipe import Optim, Train, Translation
    from allmlp.translation.main import train

    plain = loop.update

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if number + 1 == 2 * plan.steps:
            with torch.no_grad():
                for weight in plan.model.parameters():
                    weight.fill_(HUGE)
        return found

    monkeypatch.setattr(loop, "update", spoiling)
    recipe = Recipe(
        model="resmlp_mt_xs",
        hyper={"dim": 16, "hidden": 24, "depth": 1, "heads": 2},
        translation=Translation(source="aa", target="bb", vocabulary=100, longest=40, tokens=1000),
        optim=Optim(lr=3e-3, warmup=0.5),
        train=Train(epochs=3, precision="fp32"),
    )
    with pytest.raises(TrainingError, match=r"validation is not finite after step \d+ \(epoch 2\): the loss is") as caught:
        train(text, recipe=recipe, out=tmp_path / "a", quiet=True)
    assert "allmlp translate train --resume" in caught.value.hint
    run = Run(tmp_path / "a")
    assert [line["epoch"] for line in read_lines(run.metrics)] == [1]
    assert all_finite(run.weights())

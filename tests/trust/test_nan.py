"""A number that is none, wherever it comes from, stops the run at its step, is named, and never replaces a good file."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from scorecard import Card, Fault

import allmlp
from allmlp.data.loader import Batch
from allmlp.errors import TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json
from allmlp.training import loop
from allmlp.training.checkpoint import newest_first
from allmlp.training.plan import Plan
from allmlp.training.step import Outcome
from helpers import same_weights

FAULT = Fault(120, "NaN", "stopped at that step, named, last good checkpoint kept and gone on from to the same weights")
Make = Callable[..., Recipe]
Plant = Callable[[Plan, Batch], None]
STEPS = 12
NONE = float("nan")


def in_a_weight(plan: Plan, batch: Batch) -> None:
    with torch.no_grad():
        plan.model.get_parameter("patches.proj.weight").view(-1)[3] = NONE


def in_a_bias(plan: Plan, batch: Batch) -> None:
    with torch.no_grad():
        plan.model.get_parameter("head.bias")[0] = float("inf")


def in_a_pixel(plan: Plan, batch: Batch) -> None:
    batch.images[2, 0, 5, 5] = NONE


def in_a_gradient(plan: Plan, batch: Batch) -> None:
    weight = plan.model.get_parameter("head.weight")
    hook = weight.register_hook(lambda gradient: (hook.remove(), gradient.index_fill(0, torch.tensor([0]), NONE))[1])


def in_the_moments(plan: Plan, batch: Batch) -> None:
    """Found in the weights that the step makes of it."""
    state = plan.optimiser.state[plan.model.get_parameter("head.weight")]
    state["exp_avg"].view(-1)[0] = NONE


PLANTS: dict[Plant, str] = {
    in_a_weight: r"the loss is nan at step {}.*not all weights are finite in model\.patches\.proj\.weight$",
    in_a_bias: r"the loss is (nan|inf) at step {}.*not all weights are finite in model\.head\.bias$",
    in_a_pixel: r"the loss is nan at step {}",
    in_a_gradient: r"the gradient's norm is nan at step {} .*not all gradients are finite in head\.weight$",
    in_the_moments: r"at step {} .*not all weights are finite in model\.head\.weight",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "fp32 and EMA": {"precision": "fp32", "ema": 0.9},
    "bf16 and EMA": {"precision": "bf16", "ema": 0.9},
}


def planted(monkeypatch: pytest.MonkeyPatch, plant: Plant, step: int) -> None:
    """The fault at step `step`, from 1."""
    plain = loop.update

    def update(plan: Plan, batch: Batch, number: int, **more: Any) -> Outcome:
        if number + 1 == step:
            plant(plan, batch)
        return plain(plan, batch, number, **more)

    monkeypatch.setattr(loop, "update", update)


def all_finite(run: Run) -> bool:
    files = [*run.folder.glob("*.safetensors"), *run.checkpoints.rglob("*.safetensors")]
    tensors = [tensor for path in files if "diverged" not in path.name for tensor in load_file(path).values()]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest, stripes: Path, small_recipe: Make, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(its name, its recipe, the undisturbed run): a checkpoint after each step, and only one is kept."""
    recipe = small_recipe(train={**SETTINGS[request.param], "save_steps": 1, "keep": 1})
    return request.param, recipe, allmlp.train(stripes, recipe=recipe, out=tmp_path_factory.mktemp("whole") / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS)
def test_stops_at_its_step_is_named_and_spoils_no_file(
    plant: Plant, setting: tuple[str, Recipe, Run], stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Card
) -> None:
    name, recipe, undisturbed = setting
    first = 2 if plant is in_the_moments else 1  # there are none before the first step
    chosen = range(first, STEPS + 1) if card.times(STEPS, quick=1) > 1 else [6]
    for step in chosen:
        out = tmp_path / str(step)
        with monkeypatch.context() as patch:
            planted(patch, plant, step)
            with pytest.raises(TrainingError) as caught:
                allmlp.train(stripes, recipe=recipe, out=out, quiet=True)
        run = Run(out)
        what = str(caught.value).splitlines()[0]
        assert re.search(PLANTS[plant].format(step), what), what
        assert read_json(run.state)["state"] == "stopped"
        assert all_finite(run)
        if step > 1:
            assert newest_first(run)[0].name == f"{(step - 1) // 4:05d}-{(step - 1) % 4:08d}"
            resumed = allmlp.resume(out, quiet=True)
            assert same_weights(undisturbed, resumed, "last")
            assert same_weights(undisturbed, resumed, "best")
        shutil.rmtree(out)
    where = plant.__name__.replace("_", " ")
    card.seen(
        f"{where}, at each of the steps {chosen[0]} to {chosen[-1]}, {name}, a checkpoint after each step",
        len(chosen),
        "stopped and named at that step; no file has a number that is none; resumed bit for bit",
    )

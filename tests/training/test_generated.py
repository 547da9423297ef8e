"""Training steps through torch.compile: the same gradients, the same end after an interruption, in one process and in two."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters

import allmlp
from allmlp.data.sources import open_source
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json
from allmlp.training.setup import make_plan
from allmlp.training.step import update
from helpers import interrupt_after, same_weights
from ranks import in_processes, values

Make = Callable[..., Recipe]
RICH = {"hyper": {"drop_path": 0.2}, "augment": {"mixup": 0.5}}


def gradients(recipe: Recipe, stripes: Path) -> dict[str, torch.Tensor]:
    """Of the first step."""
    plan = make_plan(recipe, open_source(str(stripes), val_share=0.25, seed=0))
    plan.model.train()
    update(plan, next(iter(plan.train_batches)), 0, mixing=True)
    return {name: p.grad.clone() for name, p in plan.model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "parts"), [(None, 1), (None, 2), (None, 3), ("smlpnet_xs", 1)])  # 8 images: 3, 3, 2
def test_generated_steps_have_the_gradients_of_plain_ones(
    model: str | None, parts: int, stripes: Path, small_recipe: Make
) -> None:
    recipe = small_recipe(train={"accumulate": parts})
    if model is not None:
        recipe = replace(recipe, model=model, hyper={})
    plain, graphs = gradients(recipe, stripes), counters["stats"]
    before = graphs["unique_graphs"]
    made = gradients(replace(recipe, train=replace(recipe.train, compile=True)), stripes)
    assert graphs["unique_graphs"] == before + 1
    assert plain.keys() == made.keys()
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    for name, gradient in plain.items():  # sums in another order, in float32
        torch.testing.assert_close(made[name], gradient, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.slow
def test_a_run_of_generated_steps_resumes_bit_identically(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stochastic depth, whose random numbers the generated code draws itself."""
    recipe = small_recipe(train={"compile": True}, **RICH)
    whole = allmlp.train(stripes, recipe=recipe, out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "stopped", quiet=True)
    assert read_json(stopped.state)["state"] == "stopped"
    assert same_weights(whole, allmlp.resume(stopped.folder, quiet=True))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_of_generated_steps_end_as_plain_ones(
    parallel: str, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    for made in (False, True):
        recipe = small_recipe(train={"compile": made, "parallel": parallel}, optim={"name": "sgd", "lr": 0.05})
        values(in_processes(2, allmlp.train, stripes, recipe=recipe, out=tmp_path / str(made), quiet=True))
    plain, generated = (load_file(Run(tmp_path / str(made)).weights("last")) for made in (False, True))
    for name, tensor in plain.items():
        torch.testing.assert_close(generated[name], tensor, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_it_is_refused_before_the_first_step(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RecipeError, match=r"train.compile needs a C\+\+ compiler") as error:
        allmlp.train(stripes, recipe=small_recipe(train={"compile": True}), out=tmp_path / "run", quiet=True)
    assert "install g++" in error.value.hint


@pytest.mark.slow
def test_a_compiler_that_fails_is_an_error_that_says_how_to_do_without(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("false",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(TrainingError, match=r"torch\.compile makes no code here") as error:
        allmlp.train(stripes, recipe=small_recipe(train={"compile": True}), out=tmp_path / "run", quiet=True)
    assert error.value.hint == "leave train.compile away"


def test_code_that_is_generated_does_not_compute_activations_twice(small_recipe: Make) -> None:
    with pytest.raises(RecipeError, match=r"train.compile and train.recompute do not go together"):
        small_recipe(train={"compile": True, "recompute": True})

"""One update: in parts, with activations computed twice, in half precision; and which weights are kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.amp import GradScaler
from torch.autograd.graph import saved_tensors_hooks

import allmlp
from allmlp.data.images import Source
from allmlp.data.sources import open_source
from allmlp.errors import RecipeError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.recipe import Recipe
from allmlp.registry import families
from allmlp.run import Run, read_json, read_lines
from allmlp.training import setup
from allmlp.training.checkpoint import newest_first
from allmlp.training.plan import Plan
from allmlp.training.setup import make_plan
from allmlp.training.step import Outcome, update
from helpers import interrupt_after, same_weights

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def source(stripes: Path) -> Source:
    return open_source(str(stripes), val_share=0.25, seed=0)


def one_step(plan: Plan) -> tuple[Outcome, dict[str, torch.Tensor]]:
    """What the first step finds, and the gradients it leaves."""
    plan.model.train()
    outcome = update(plan, next(iter(plan.train_batches)), 0, mixing=True)
    return outcome, {name: p.grad.clone() for name, p in plan.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("parts", [2, 3, 8, 50])
@pytest.mark.parametrize("augment", [{}, {"mixup": 0.5, "cutmix": 1.0}])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(
    parts: int, augment: dict[str, float], source: Source, small_recipe: Make
) -> None:
    """Also in parts of unequal size, and in more parts than there are images."""
    both = [one_step(make_plan(small_recipe(augment=augment, train={"accumulate": n}), source)) for n in (1, parts)]
    (whole, gradients), (split, others) = both
    # sums of 8 images in another order, in float32
    torch.testing.assert_close(split.loss, whole.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(split.chance, whole.chance, rtol=1e-5, atol=0)
    assert (split.hits is None) == (whole.hits is None) == bool(augment)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_run_in_parts_ends_where_the_whole_ends(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    ends = []
    for parts in (1, 4):
        recipe = small_recipe(train={"accumulate": parts}, optim={"name": "sgd", "lr": 0.05})  # Adam turns rounding into steps
        run = allmlp.train(stripes, recipe=recipe, out=tmp_path / str(parts), quiet=True)
        ends.append(load_file(run.weights("last")))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=1e-4, atol=1e-5)


def smallest(family: str) -> ImageModel:
    sizes = {name: sum(p.numel() for p in _meta(name).parameters()) for name in allmlp.list_models(f"{family}*")}
    return create_model(min(sizes, key=lambda name: sizes[name]), num_classes=3, drop_path=0.3)


def _meta(name: str) -> ImageModel:
    with torch.device("meta"):
        return create_model(name)


def gradients_of(model: ImageModel, images: torch.Tensor) -> tuple[list[torch.Tensor], int]:
    """Gradients of a training pass with fixed random choices, and the bytes kept for them."""
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(0)
    model.zero_grad()
    with saved_tensors_hooks(count, lambda tensor: tensor):
        loss = model.train()(images).square().mean()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None], kept


@pytest.mark.parametrize("family", [family.name for family in families()])
def test_computing_activations_twice_gives_the_same_gradients_and_norms_and_keeps_less(family: str) -> None:
    """Bit for bit, with stochastic depth; running means count a batch once."""
    torch.manual_seed(0)
    model = smallest(family)
    images = torch.randn(2, model.in_chans, *model.img_size)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain, kept = gradients_of(model, images)
    after = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    model.set_grad_checkpointing()
    twice, less = gradients_of(model, images)
    assert len(plain) == len(twice)
    assert all(torch.equal(a, b) for a, b in zip(plain, twice, strict=True))
    assert all(torch.equal(after[name], tensor) for name, tensor in model.state_dict().items())
    assert less < kept * 2 / 3  # ConvMLP has much of its memory in the stem
    model.set_grad_checkpointing(False)
    assert gradients_of(model, images)[1] == kept


def test_a_run_that_computes_activations_twice_is_bit_identical(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    rich = {"hyper": {"drop_path": 0.2}, "augment": {"cutmix": 1.0}}
    runs = [
        allmlp.train(
            stripes, recipe=small_recipe(train={"recompute": r, "ema": 0.9}, **rich), out=tmp_path / str(r), quiet=True
        )
        for r in (False, True)
    ]
    assert same_weights(*runs)
    assert same_weights(*runs, "best")


def half(plan: Plan, scale: float) -> Plan:
    """As on a GPU, where alone a recipe may ask for it."""
    return replace(plan, precision="fp16", scaler=GradScaler("cpu", init_scale=scale))


def test_scaled_losses_in_half_precision_give_the_gradients_of_float32(source: Source, small_recipe: Make) -> None:
    recipe = small_recipe(optim={"clip": 0.0})
    (found, scaled), (expected, gradients) = (
        one_step(plan) for plan in (half(make_plan(recipe, source), 2.0**10), make_plan(recipe, source))
    )
    # fp16 keeps 11 bits; a bias that cannot matter has a gradient of rounding alone, so all are held against the largest
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-2, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(scaled[name], gradient, rtol=5e-2, atol=2e-3 * largest)


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_halved(source: Source, small_recipe: Make) -> None:
    plan = half(make_plan(small_recipe(), source), 2.0**100)
    before = {name: p.clone() for name, p in plan.model.named_parameters()}
    outcome, _ = one_step(plan)
    assert bool(outcome.loss.isfinite())
    assert all(torch.equal(before[name], p) for name, p in plan.model.named_parameters())
    assert plan.scaler.get_scale() == 2.0**99


def test_half_precision_resumes_bit_identically_with_its_scale(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "chosen_precision", lambda *_: "fp16")
    undisturbed = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        stopped = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "b", quiet=True)
    assert read_json(newest_first(stopped)[0] / "state.json")["scaler._growth_tracker"] > 0
    assert same_weights(undisturbed, allmlp.resume(stopped.folder, quiet=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about processors without a GPU")
def test_half_precision_without_a_gpu_is_refused(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    with pytest.raises(RecipeError, match="fp16 is for GPUs"):
        allmlp.train(stripes, recipe=small_recipe(train={"precision": "fp16"}), out=tmp_path / "a", quiet=True)


def test_averaged_weights_are_kept_when_they_are_better(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = setup.ModelEmaV3.update

    def wreck(self: nn.Module, model: nn.Module, step: int | None = None) -> None:
        plain(self, model, step=step)
        if step == 11:  # the last of three epochs
            with torch.no_grad():
                model.head.weight.zero_()  # type: ignore[union-attr,operator]
                model.head.bias.zero_()  # type: ignore[union-attr,operator]

    monkeypatch.setattr(setup.ModelEmaV3, "update", wreck)
    recipe = small_recipe(train={"ema": 0.5, "epochs": 3}, optim={"lr": 0.02}, hyper={"layer_scale": 1.0})
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    last = read_lines(run.metrics)[-1]
    assert last["ema_top1"] > last["val_top1"] == 0.5
    best = read_json(run.state)["best"]
    if best["epoch"] == 3:
        assert best["weights"] == "ema"
    assert allmlp.evaluate(run)["top1"] == best["top1"]


def test_mixed_batches_have_no_accuracy(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    recipe = small_recipe(augment={"mixup": 0.5, "mix_off": 1})
    lines = read_lines(allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True).metrics)
    assert [line["train_top1"] is None for line in lines] == [True, True, False]


def test_a_new_head_begins_with_the_bias_that_is_asked_for(source: Source, small_recipe: Make) -> None:
    plan = make_plan(small_recipe(train={"objective": "bce", "head_bias": -3.0}), source)
    assert plan.model.head.bias.tolist() == [-3.0, -3.0]  # type: ignore[union-attr]


def test_binary_cross_entropy_learns_the_stripes(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    more = {"train": {"objective": "bce", "threshold": 0.2, "epochs": 12}, "augment": {"cutmix": 1.0, "mix_prob": 0.5}}
    recipe = small_recipe(hyper={"layer_scale": 1.0}, optim={"lr": 0.05}, **more)
    run: Run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    assert read_json(run.state)["best"]["top1"] > 0.9

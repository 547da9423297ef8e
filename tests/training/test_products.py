"""float32 products by oneDNN: the same gradients, runs that end in the same bits, and only where they are right and faster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import allmlp
from allmlp.engine.plans.products import broken
from allmlp.errors import RecipeError
from allmlp.recipe import Recipe, Train
from allmlp.run import Run, read_json
from allmlp.training import products
from allmlp.training.products import OneDNN, chosen_products, multiplied
from helpers import ZEN4, interrupt_after, pretend, same_weights
from ranks import in_processes, values

Make = Callable[..., Recipe]
CPU = torch.device("cpu")
here = pytest.mark.skipif(bool(broken(torch.float32)), reason="this torch has no oneDNN products")


def gradients(model: torch.nn.Module, how: str) -> dict[str, Tensor]:
    """Of some numbers of the model's answers."""
    model.zero_grad()
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with multiplied(how):
        model(images).square().sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@here
@pytest.mark.parametrize("name", ["resmlp_xs", "mixer_xs", "smlpnet_xs", "resmlp_s12"])
def test_every_gradient_is_torchs_within_rounding(name: str) -> None:
    torch.manual_seed(0)
    model = allmlp.create_model(name, img_size=32, in_chans=3, num_classes=10).eval()
    due, made = (gradients(model, how) for how in ("torch", "onednn"))
    assert due.keys() == made.keys()
    for key, gradient in due.items():  # sums of up to 5,000 products in another order, through a dozen layers
        assert (made[key] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6
        assert made[key].stride() == gradient.stride()


@here
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (1, 1, 1, 4)])
def test_any_leading_axes_are_kept(shape: tuple[int, ...], biased: bool) -> None:
    x, weight = torch.randn(shape).transpose(0, -1), torch.randn(7, shape[0])
    bias = torch.randn(7) if biased else None
    with OneDNN():
        torch.testing.assert_close(F.linear(x, weight, bias), x @ weight.t() + (0 if bias is None else bias))


@here
def test_only_float32_on_the_cpu_and_outside_autocast_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Tensor:
        raise AssertionError("taken")

    x, weight = torch.randn(2, 3), torch.randn(4, 3)
    monkeypatch.setattr(products._Linear, "apply", never)
    with OneDNN():
        assert F.linear(x.double(), weight.double()).dtype == torch.float64
        assert F.linear(x[:0], weight).shape == (0, 4)
        with torch.autocast("cpu", torch.bfloat16):
            assert F.linear(x, weight).dtype == torch.bfloat16
        with pytest.raises(AssertionError, match="taken"):
            F.linear(x, weight)


def test_where_it_is_wrong_auto_leaves_it_and_asking_for_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "trouble", lambda: "its products are off by 3.0e-01 here")
    assert chosen_products(Train(), CPU, "fp32") == "torch"
    with pytest.raises(RecipeError, match=r"train.products is onednn, but its products are off by 3.0e-01 here") as error:
        chosen_products(Train(products="onednn"), CPU, "fp32")
    assert "torch" in error.value.hint


@pytest.mark.parametrize(("train", "precision"), [({"compile": True}, "fp32"), ({}, "bf16")])
def test_asking_for_it_where_it_has_no_part_is_an_error(train: dict[str, Any], precision: str) -> None:
    with pytest.raises(RecipeError, match=r"train\.products is onednn, but") as error:
        chosen_products(Train(products="onednn", **train), CPU, precision)
    assert ('precision "fp32"' in error.value.hint) == (precision != "fp32")


@here
def test_a_gradient_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert products.trouble() == ""
    products.trouble.cache_clear()
    monkeypatch.setattr(products, "_weights_gradient", lambda rows, due: due.t() @ rows * 1.001)
    try:
        assert "off by" in products.trouble()
    finally:
        products.trouble.cache_clear()


@here
def test_a_run_records_what_multiplied_and_resumes_with_it_to_the_same_bits(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(train={"products": "onednn"})
    whole = allmlp.train(stripes, recipe=recipe, out=tmp_path / "whole", quiet=True)
    assert read_json(whole.environment)["products"] == "onednn"
    plain = allmlp.train(stripes, recipe=small_recipe(train={"products": "torch"}), out=tmp_path / "plain", quiet=True)
    assert read_json(plain.environment)["products"] == "torch"
    assert not same_weights(whole, plain)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "stopped", quiet=True)
    assert read_json(stopped.state)["state"] == "stopped"
    assert same_weights(whole, allmlp.resume(stopped.folder, quiet=True))


@here
def test_a_run_goes_on_with_what_was_chosen_when_it_began(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine would choose otherwise."""
    whole = allmlp.train(stripes, recipe=small_recipe(train={"products": "onednn"}), out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        pretend(patch, **ZEN4)
        interrupt_after(patch, 6)
        stopped = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "stopped", quiet=True)
    pretend(monkeypatch, vendor="Intel")
    assert same_weights(whole, allmlp.resume(stopped.folder, quiet=True))


@here
def test_a_run_goes_on_by_torch_where_there_is_no_onednn_unless_the_recipe_asks_for_it(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in ("auto", "onednn"):
        with monkeypatch.context() as patch:
            pretend(patch, **ZEN4)
            interrupt_after(patch, 6)
            recipe = small_recipe(train={"products": asked})
            assert (
                read_json(allmlp.train(stripes, recipe=recipe, out=tmp_path / asked, quiet=True).environment)["products"]
                == "onednn"
            )
    monkeypatch.setattr(products, "trouble", lambda: "this torch was built without oneDNN")
    assert read_json(allmlp.resume(tmp_path / "auto", quiet=True).state)["state"] == "finished"
    with pytest.raises(RecipeError, match=r"train.products is onednn, but this torch was built without oneDNN"):
        allmlp.resume(tmp_path / "onednn", quiet=True)


@here
@pytest.mark.parametrize("shapes", [((5, 6), (3, 4)), ((5, 4), (4,)), ((5, 4), (3, 4), (1,))], ids=str)
def test_shapes_that_do_not_fit_are_left_to_torch(shapes: tuple[tuple[int, ...], ...]) -> None:
    tensors: Any = [torch.randn(shape) for shape in shapes]
    answers = []
    for how in ("torch", "onednn"):
        with multiplied(how):
            try:
                answers.append(str(F.linear(*tensors).shape))
            except RuntimeError as error:
                answers.append(str(error))
    assert answers[0] == answers[1]


@here
@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_end_as_with_torchs_products(parallel: str, stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    for how in ("torch", "onednn"):
        recipe = small_recipe(train={"products": how, "parallel": parallel}, optim={"name": "sgd", "lr": 0.05})
        values(in_processes(2, allmlp.train, stripes, recipe=recipe, out=tmp_path / how, quiet=True))
    plain, made = (load_file(Run(tmp_path / how).weights("last")) for how in ("torch", "onednn"))
    for name, tensor in plain.items():
        torch.testing.assert_close(made[name], tensor, rtol=1e-4, atol=1e-5)

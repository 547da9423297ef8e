"""Plans: what a model computes, computed another way."""

# axes: b images, c channels, h w pixels

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp.engine.plans import products, smlpnet
from allmlp.engine.plans.find import make_plan
from allmlp.engine.plans.layout import Plan, Setup, cut
from allmlp.engine.plans.modules import ModulePlan
from allmlp.models.base import ImageModel
from allmlp.surgery.resize import resize
from contract import SMALL, build, images, trained

FP32 = 1e-5
"""Relative to all logits: float32 rounding in another order of summation (measured 1e-7 to 8e-7)."""
BF16 = 5e-2
"""bf16 keeps 8 bits; noise as weights leaves 1e-3 to 2e-2."""
OWN = ("resmlp_s12", "resmlp_s12_class", "mixer_b16", "smlpnet_b", "gmlp_b")

pytestmark = pytest.mark.skipif(
    bool(products.broken(torch.float32) or products.broken(torch.bfloat16)), reason="torch's oneDNN operators are missing here"
)


@torch.inference_mode()
def off(plan: Plan, model: ImageModel, given: Tensor) -> float:  # b c h w
    due = model(given)
    return float((plan(given) - due).norm() / due.norm())


@pytest.mark.parametrize("name", SMALL)
def test_a_plan_computes_what_the_model_computes(name: str) -> None:
    model = trained(build(name))
    given = images(model, 7)
    assert off(make_plan(model, Setup(torch.float32, 7)), model, given) < FP32
    assert off(make_plan(model, Setup(torch.bfloat16, 7)), model, given) < BF16


@pytest.mark.parametrize("name", OWN)
def test_images_need_not_be_square_nor_as_many_as_was_said(name: str) -> None:
    height, width = SMALL[name]["img_size"], 2 * SMALL[name]["img_size"]
    model = trained(build(name, img_size=(height, width)))
    plan = make_plan(model, Setup(torch.float32, 4))
    assert not isinstance(plan, ModulePlan)
    for count in (1, 3, 4, 9):
        assert off(plan, model, images(model, count)) < FP32


@pytest.mark.parametrize("near", [1, 40_000, 2**20])
def test_stages_may_take_fewer_images_at_a_time(near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, uneven parts, and all at once; of a grid of 16 × 8 and then 8 × 4."""
    monkeypatch.setattr(smlpnet, "NEAR_BYTES", near)
    model = trained(allmlp.create_model("smlpnet_xs", img_size=(32, 16)))
    plan = make_plan(model, Setup(torch.float32, 4))
    chunks = [stage.chunk for stage in plan.stages]
    assert chunks == {1: [1, 1], 40_000: [2, 4], 2**20: [4, 4]}[near]
    for count in (1, 3, 4, 9):
        assert off(plan, model, images(model, count)) < FP32


@pytest.mark.parametrize("name", OWN)
def test_a_plan_answers_the_same_again_and_leaves_the_model_and_the_images_alone(name: str) -> None:
    model = trained(build(name))
    before, given = {k: v.clone() for k, v in model.state_dict().items()}, images(model, 5)
    plan, untouched = make_plan(model, Setup(torch.float32, 2)), given.clone()
    with torch.inference_mode():
        first, again = plan(given), plan(given)
    assert torch.equal(first, again)
    assert torch.equal(given, untouched)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", OWN)
def test_without_classes_there_are_features(name: str) -> None:
    model = trained(build(name, num_classes=0))
    given = images(model, 2)
    assert off(make_plan(model, Setup(torch.float32, 2)), model, given) < FP32


@pytest.mark.parametrize("name", ["resmlp_s12", "mixer_b16", "gmlp_b"])
def test_patches_of_resized_models_overlap_in_plans_too(name: str) -> None:
    model = resize(trained(build(name)), (16, 12))
    assert model.hyperparameters["patch_margin"] == (2, 1)
    assert off(make_plan(model, Setup(torch.float32, 7)), model, images(model, 7)) < FP32


def test_ablations_get_the_plan_that_suits_all() -> None:
    for name, option in (("resmlp_s12", {"token_mixing": "mlp"}), ("resmlp_s12", {"norm": "layernorm"})):
        model = trained(build(name, **option))
        plan = make_plan(model, Setup(torch.float32, 2))
        assert isinstance(plan, ModulePlan)
        assert off(plan, model, images(model, 2)) < FP32
    split = trained(build("smlpnet_b", fusion="split_attention"))
    assert isinstance(make_plan(split, Setup(torch.float32, 2)), ModulePlan)


def test_rows_are_patches_of_all_images_at_one_place() -> None:
    given = torch.arange(2 * 4 * 5, dtype=torch.float32).reshape(2, 1, 4, 5)
    rows = cut(given, 2, torch.float32)  # 2 × 2 patches; the fifth column is in none
    assert rows.shape == (8, 4)
    assert rows[0].tolist() == [0, 1, 5, 6]  # image 0, upper left
    assert rows[1].tolist() == [20, 21, 25, 26]  # image 1, upper left
    assert rows[2].tolist() == [2, 3, 7, 8]  # image 0, upper right


def test_operators_that_compute_something_else_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    products.broken.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(products, "mix_rows", lambda matrix, x: 2 * (matrix @ x))
        assert "off by" in products.broken(torch.float32)
    products.broken.cache_clear()
    with monkeypatch.context() as patch:

        def missing(*_: object) -> Tensor:
            raise AttributeError("no such operator")

        patch.setattr(products, "mix_rows", missing)
        assert "no such operator" in products.broken(torch.float32)
    products.broken.cache_clear()
    assert products.broken(torch.float32) == ""

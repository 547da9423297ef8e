"""The inference form computes what the model computes, with less."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import allmlp
from allmlp.models.base import ImageModel
from allmlp.nn.affine import Affine, LayerScale
from allmlp.registry import family_of
from allmlp.surgery.fold import fold
from contract import build, small_models

CLASS_MLP = next(name for name, values in small_models().items() if values.get("head") == "class_mlp")


def lively(name: str) -> ImageModel:
    """Every parameter and running statistic away from its initial value, so that nothing cancels by being 0 or 1."""
    model = build(name)
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.1, 0.4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


class Operations(TorchDispatchMode):
    """Counts what reaches the device, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def operations(model: ImageModel) -> int:
    with torch.no_grad(), Operations() as seen:
        model(torch.zeros(1, model.in_chans, *model.img_size))
    return seen.count


@pytest.mark.parametrize("name", small_models())
def test_folded_equals_unfolded(name: str) -> None:
    """1e-12 in float64; in float32 1e-5 of the largest logit: each product is rounded anew, in another order."""
    model = lively(name)
    image = torch.randn(3, model.in_chans, *model.img_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
            plain = copy.deepcopy(model).to(dtype)
            expected = plain(image.to(dtype))
            found = fold(plain)(image.to(dtype))
            assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", small_models())
def test_folding_leaves_the_model_as_it_was_and_the_copy_smaller(name: str) -> None:
    model = lively(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold(model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not folded.training
    assert not any(p.requires_grad for p in folded.parameters())
    kinds = [type(m) for m in folded.modules()]
    assert LayerScale not in kinds
    norm = folded.norm
    assert isinstance(norm, nn.Identity) or getattr(norm, "weight", None) is None


@pytest.mark.parametrize("name", [n for n in small_models() if n.startswith(("resmlp", "smlpnet", "repmlpnet", "convmlp"))])
def test_fewer_operations_are_left(name: str) -> None:
    """Where scales and BatchNorms were operations of their own; LayerNorm stays one, with less to read."""
    model = lively(name)
    assert operations(fold(model)) < operations(model)


def test_no_affine_and_no_scale_is_left_in_resmlp() -> None:
    kinds = {type(m) for m in fold(lively(CLASS_MLP)).modules()}
    assert not kinds & {Affine, LayerScale}


ONE_EACH = list({family_of(name).name: name for name in small_models()}.values())


@pytest.mark.parametrize("name", ONE_EACH)
def test_folded_model_can_be_exported_and_moved(name: str) -> None:
    folded = fold(lively(name))
    image = torch.randn(2, folded.in_chans, *folded.img_size)
    program = torch.export.export(folded, (image,))
    assert torch.allclose(program.module()(image), folded(image), rtol=1e-4, atol=1e-5)
    again = copy.deepcopy(folded)
    assert torch.equal(again(image), folded(image))


def test_features_without_a_head_keep_the_final_norm() -> None:
    model = lively(CLASS_MLP)
    model.reset_classifier(0)
    image = torch.randn(2, model.in_chans, *model.img_size)
    with torch.no_grad():
        assert torch.allclose(allmlp.fold(model)(image), model(image), rtol=1e-4, atol=1e-4)

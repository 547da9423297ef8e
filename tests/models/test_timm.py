"""timm's own Mixer and ResMLP, made small: the same numbers, and the same meaning of every method."""

from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from torch import nn

from allmlp.models import create_model
from allmlp.weights.load import load_weights

Pair = tuple[nn.Module, Any]
FAMILIES: dict[str, dict[str, Any]] = {
    "mixer": {},
    "resmlp": dict(mlp_ratio=4, block_layer=partial(ResBlock, init_values=0.1), norm_layer=Affine),
}
OPTIONS = [
    dict(),
    dict(norm=True),
    dict(output_fmt="NLC"),
    dict(stop_early=True),
    dict(norm=True, output_fmt="NLC", stop_early=True),
]


@pytest.fixture(params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> Pair:
    """(timm's model, ours with its weights), every weight random."""
    torch.manual_seed(0)
    theirs = MlpMixer(img_size=64, embed_dim=16, num_blocks=3, num_classes=7, **FAMILIES[request.param]).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    ours = create_model(request.param, dim=16, depth=3, img_size=64, num_classes=7).eval()
    assert load_weights(ours, theirs.state_dict()) == "timm"
    return theirs, ours


def image() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_logits_features_and_pooled_features_are_timms(pair: Pair) -> None:
    theirs, ours = pair
    x = image()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    features = theirs.forward_features(x)
    torch.testing.assert_close(ours.forward_features(x), features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.forward_head(features, True), theirs.forward_head(features, True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("indices", [None, 1, 2, [0], [0, 2], [-1], (-3, 1)], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(map(str, o)) or "plain")
def test_intermediates_are_timms(pair: Pair, indices: Any, options: dict[str, Any]) -> None:
    theirs, ours = pair
    expected_last, expected = theirs.forward_intermediates(image(), indices, **options)
    last, shown = ours.forward_intermediates(image(), indices, **options)
    torch.testing.assert_close(last, expected_last, rtol=1e-5, atol=1e-5)
    assert [s.shape for s in shown] == [e.shape for e in expected]
    for ours_i, theirs_i in zip(shown, expected, strict=True):
        torch.testing.assert_close(ours_i, theirs_i, rtol=1e-5, atol=1e-5)
    alone = ours.forward_intermediates(image(), indices, intermediates_only=True, **options)
    assert all(torch.equal(a, b) for a, b in zip(alone, shown, strict=True))


@pytest.mark.parametrize("indices", [[2, 0], [1, 1]], ids=str)
def test_intermediates_come_once_and_in_the_steps_order_however_they_are_asked_for(pair: Pair, indices: list[int]) -> None:
    theirs, ours = (model.forward_intermediates(image(), indices, intermediates_only=True) for model in pair)
    assert len(ours) == len(theirs)
    for ours_i, theirs_i in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_i, theirs_i, rtol=1e-5, atol=1e-5)


def test_a_reset_classifier_is_where_timm_looks_for_it(pair: Pair) -> None:
    for model in pair:
        model.reset_classifier(4)
        assert model.get_classifier() is model.head
        assert (model.num_classes, model.head.out_features) == (4, 4)


@pytest.mark.parametrize("name", ["resmlp_xs", "smlpnet_xs", "asmlp_t", "convmlp_s", "raftmlp_s", "repmlpnet_t224"])
def test_timm_is_told_which_layer_reads_the_image(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    first = model.get_submodule(model.default_cfg["first_conv"])
    assert isinstance(first, nn.Conv2d | nn.Linear)
    leaves = [n for n, m in model.named_modules() if not list(m.children()) and list(m.parameters())]
    assert leaves[0] == model.default_cfg["first_conv"]

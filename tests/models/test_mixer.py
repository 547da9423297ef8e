"""MLP-Mixer (arXiv:2105.01601): what the paper and the release say of it."""

import math
from typing import Any

import pytest
import torch

from allmlp.models import create_model

SMALL: dict[str, Any] = dict(dim=16, patch_size=8, img_size=32, num_classes=7)


def rates(model: Any) -> list[float]:
    return [getattr(block.drop_path, "drop_prob", 0.0) for block in model.blocks]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_stochastic_depth_grows_linearly_with_depth(depth: int) -> None:
    expected = [0.4 * i / (depth - 1) for i in range(depth)] if depth > 1 else [0.0]
    assert rates(create_model("mixer", depth=depth, drop_path=0.4, **SMALL)) == pytest.approx(expected)


def test_the_head_starts_at_zero_so_that_all_classes_are_equally_probable() -> None:
    model = create_model("mixer", depth=2, **SMALL).eval()
    assert torch.equal(model(torch.randn(2, 3, 32, 32)), torch.zeros(2, 7))
    model.reset_classifier(3)
    assert torch.equal(model(torch.randn(2, 3, 32, 32)), torch.zeros(2, 3))


def test_linear_maps_start_with_lecuns_variance_and_no_bias() -> None:
    torch.manual_seed(0)
    model = create_model("mixer", dim=128, depth=1, patch_size=8, img_size=64, num_classes=7)
    block = model.blocks[0]
    for layer in (block.token_mlp.fc1, block.token_mlp.fc2, block.channel_mlp.fc1, block.channel_mlp.fc2, model.patches.proj):
        inputs = layer.weight[0].numel()
        assert float(layer.weight.detach().std()) == pytest.approx(1 / math.sqrt(inputs), rel=0.05)
        assert not layer.bias.detach().any()


def test_hidden_widths_are_half_and_four_times_the_dimension_unless_given() -> None:
    block = create_model("mixer", depth=1, **SMALL).blocks[0]
    assert (block.token_mlp.fc1.out_features, block.channel_mlp.fc1.out_features) == (8, 64)
    block = create_model("mixer", depth=1, token_hidden=5, channel_hidden=9, **SMALL).blocks[0]
    assert (block.token_mlp.fc1.out_features, block.channel_mlp.fc1.out_features) == (5, 9)


def test_layer_norms_use_the_releases_epsilon() -> None:
    norms = [m.eps for m in create_model("mixer", depth=2, **SMALL).modules() if isinstance(m, torch.nn.LayerNorm)]
    assert norms == [1e-6] * 5


def test_the_tanh_gelu_is_an_option_that_changes_little() -> None:
    exact, tanh = (create_model("mixer", depth=2, act=act, **SMALL).eval() for act in ("gelu", "gelu_tanh"))
    tanh.load_state_dict(exact.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        difference = (exact.forward_features(x) - tanh.forward_features(x)).abs().max()
    assert 0 < difference < 0.02


def test_the_token_mlp_mixes_tokens_of_one_channel_only() -> None:
    mlp = create_model("mixer", depth=1, **SMALL).blocks[0].token_mlp
    still = torch.zeros(1, 16, 16)
    struck = still.clone()
    struck[0, 5, 3] = 1  # token 5, channel 3
    with torch.no_grad():
        moved = (mlp(struck) - mlp(still))[0].abs() > 0
    assert moved[:, 3].all()
    assert not moved[:, [c for c in range(16) if c != 3]].any()


def test_the_channel_mlp_mixes_channels_of_one_token_only() -> None:
    mlp = create_model("mixer", depth=1, **SMALL).blocks[0].channel_mlp
    still = torch.zeros(1, 16, 16)
    struck = still.clone()
    struck[0, 5, 3] = 1
    with torch.no_grad():
        moved = (mlp(struck) - mlp(still))[0].abs() > 0
    assert moved[5].all()
    assert not moved[[n for n in range(16) if n != 5]].any()


def test_pixels_are_scaled_to_minus_one_to_one() -> None:
    spec = create_model("mixer", depth=1, **SMALL).preprocessing
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

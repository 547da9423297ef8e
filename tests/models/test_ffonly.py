"""FF-only (arXiv:2105.02723): what the report and its release say of it."""

from typing import Any

import pytest
import torch
from torch import nn

from allmlp.errors import ModelError
from allmlp.models import create_model

SMALL: dict[str, Any] = dict(dim=16, patch_size=8, img_size=32, num_classes=7)


def small(depth: int = 2, **changed: Any) -> Any:
    return create_model("ffonly", depth=depth, **{**SMALL, **changed})


def test_a_block_mixes_channels_first_and_tokens_second_each_after_its_own_norm() -> None:
    torch.manual_seed(0)
    block = small().blocks[0]
    x = torch.randn(2, 17, 16)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)

        def mlp(layers: Any, y: torch.Tensor) -> torch.Tensor:
            hidden = nn.functional.gelu(y @ layers.fc1.weight.T + layers.fc1.bias)
            return hidden @ layers.fc2.weight.T + layers.fc2.bias

        def norm(layer: Any, y: torch.Tensor) -> torch.Tensor:
            centred = y - y.mean(-1, keepdim=True)
            return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias

        channels = x + mlp(block.channel_mlp, norm(block.channel_norm, x))
        tokens = channels + mlp(block.token_mlp, norm(block.token_norm, channels.mT)).mT
        torch.testing.assert_close(block(x), tokens, rtol=1e-5, atol=1e-5)


def test_token_mixing_reaches_the_class_token_and_every_patch() -> None:
    block = small().blocks[0]
    with torch.no_grad():
        for parameter in block.token_mlp.parameters():
            parameter.normal_()
        x = torch.randn(1, 17, 16)
        struck = x.clone()
        struck[0, 5] += torch.randn(16)
        moved = (block(struck) - block(x))[0].abs().amax(-1)
    assert (moved > 1e-4).all()


def test_hidden_widths_are_four_times_the_channels_and_four_times_the_tokens() -> None:
    block = small().blocks[0]
    assert (block.channel_mlp.fc1.out_features, block.token_mlp.fc1.out_features) == (64, 4 * 17)


def test_the_class_token_is_pooled_and_the_maps_leave_it_out() -> None:
    model = small(img_size=(32, 16)).eval()
    x = torch.randn(2, 3, 32, 16)
    features = model.forward_features(x)
    assert features.shape == (2, 1 + 8, 16)
    assert torch.equal(model.forward_head(features, pre_logits=True), features[:, 0])
    (last,) = model.forward_intermediates(x, 1, norm=True, intermediates_only=True)
    torch.testing.assert_close(last.flatten(2).mT, features[:, 1:])


def test_positions_are_added_to_the_class_token_and_in_raster_order_to_the_patches() -> None:
    model = small(img_size=(32, 16)).eval()
    with torch.no_grad():
        model.class_token.fill_(1)
        model.class_position.fill_(2)
        model.grid_position.copy_(torch.arange(8.0).reshape(1, 1, 4, 2).expand(1, 16, 4, 2))
        begun = model.begin(torch.zeros(1, 3, 32, 16))
    assert begun[0, 0].tolist() == [3.0] * 16
    torch.testing.assert_close(begun[0, 1:, 0] - model.patches.proj.bias[0], torch.arange(8.0))


def test_the_class_token_and_the_positions_do_not_decay() -> None:
    assert small().no_weight_decay() == {"class_token", "class_position", "grid_position"}


def test_stochastic_depth_grows_linearly_with_depth() -> None:
    rates = [getattr(b.drop_path, "drop_prob", 0.0) for b in small(depth=5, drop_path=0.4).blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_linear_maps_and_positions_start_with_a_truncated_normal_and_no_bias() -> None:
    torch.manual_seed(0)
    model = create_model("ffonly", dim=128, depth=1, patch_size=8, img_size=64, num_classes=50)
    for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.detach().any()
    assert float(model.grid_position.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_dropout_is_of_training_alone_and_scales_what_it_keeps() -> None:
    model, plain = small(dropout=0.5), small()
    plain.load_state_dict(model.state_dict())
    x = torch.randn(4, 3, *model.img_size)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
    assert model.train()(x).ne(model(x)).any()
    with pytest.raises(ModelError, match="dropout"):
        small(dropout=1.0)

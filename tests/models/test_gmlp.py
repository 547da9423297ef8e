"""gMLP (arXiv:2105.08050): what the paper and timm's code say of it."""

from functools import partial
from typing import Any

import pytest
import torch
from timm.layers import GatedMlp
from timm.models.mlp_mixer import MlpMixer, SpatialGatingBlock

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.nn.gate import SpatialGate
from allmlp.weights.load import load_weights

SMALL: dict[str, Any] = dict(dim=16, patch_size=8, img_size=32, num_classes=7)


def small(depth: int = 2, **changed: Any) -> Any:
    return create_model("gmlp", depth=depth, **{**SMALL, **changed})


def test_gates_start_open_so_that_a_fresh_block_leaves_tokens_apart() -> None:
    torch.manual_seed(0)
    for block in small().blocks:
        mix = block.gate.token_mix
        assert 0 < float(mix.weight.detach().abs().max()) < 1e-5
        assert torch.equal(mix.bias, torch.ones(16))
        x = torch.randn(1, 16, 96)
        torch.testing.assert_close(block.gate(x), x[..., :48], rtol=1e-4, atol=1e-4)


def test_the_gate_mixes_tokens_of_one_channel_of_its_second_half_only() -> None:
    torch.manual_seed(0)
    gate = SpatialGate(tokens=6, dim=8)
    with torch.no_grad():
        gate.token_mix.weight.normal_()
    still = torch.randn(1, 6, 8)
    kept, second = still.clone(), still.clone()
    kept[0, 2, 1] += 1
    second[0, 2, 4:] = second[0, 2, 4:].flip(-1)  # another order of the same values: the norm's statistics stay
    with torch.no_grad():
        by_kept, by_second = ((gate(x) - gate(still))[0].abs() > 1e-6 for x in (kept, second))
    assert by_kept.sum() == 1
    assert by_kept[2, 1]
    assert by_second.all()


def test_the_gate_is_a_product_of_the_first_half_with_the_mixed_second() -> None:
    torch.manual_seed(0)
    gate = SpatialGate(tokens=6, dim=8)
    with torch.no_grad():
        gate.token_mix.weight.normal_()
        x = torch.randn(2, 6, 8)
        second = torch.nn.functional.layer_norm(x[..., 4:], (4,))
        mixed = torch.einsum("mn,bnc->bmc", gate.token_mix.weight, second) + 1
        torch.testing.assert_close(gate(x), x[..., :4] * mixed)


def test_stochastic_depth_is_the_same_in_every_block() -> None:
    assert [b.drop_path.drop_prob for b in small(depth=5, drop_path=0.2).blocks] == [0.2] * 5


def test_the_hidden_layer_is_six_times_as_wide_and_the_gate_halves_it() -> None:
    block = small().blocks[0]
    assert (block.fc1.out_features, block.fc2.in_features) == (96, 48)


def test_a_hidden_layer_without_halves_is_refused() -> None:
    with pytest.raises(ModelError, match="no halves") as error:
        small(expansion=1.5, dim=10)
    assert "expansion=1.6" in error.value.hint
    assert small(expansion=1.6, dim=10).blocks[0].fc1.out_features == 16


@pytest.mark.parametrize("size", [64, (32, 64)], ids=str)
def test_logits_and_features_are_timms(size: Any) -> None:
    torch.manual_seed(0)
    theirs = MlpMixer(
        img_size=size,
        embed_dim=16,
        num_blocks=3,
        num_classes=7,
        mlp_ratio=6,
        block_layer=SpatialGatingBlock,
        mlp_layer=GatedMlp,
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    ours = create_model("gmlp", dim=16, depth=3, img_size=size, num_classes=7).eval()
    assert load_weights(ours, theirs.state_dict()) == "timm"
    x = torch.randn(2, 3, *ours.img_size)
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    close(ours(x), theirs(x))
    for ours_i, theirs_i in zip(ours.forward_intermediates(x)[1], theirs.forward_intermediates(x)[1], strict=True):
        close(ours_i, theirs_i)

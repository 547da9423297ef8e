"""EAMLP (arXiv:2105.02358): what the paper and the release say of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.eamlp import soft_split
from allmlp.nn.external import ExternalAttention, Memory

ORACLES = Path(__file__).parent.parent / "oracles"
SMALL: dict[str, Any] = dict(dim=16, heads=2, img_size=32, num_classes=7)
NAMES = {"trans_dims": "widen", "linear_0": "memory.keys", "linear_1": "memory.values", "proj": "proj"}


def small(depth: int = 2, **changed: Any) -> Any:
    return create_model("eamlp", depth=depth, **{**SMALL, **changed})


def test_external_attention_computes_what_the_release_computes() -> None:
    tensors = load_file(ORACLES / "external_attention_block.safetensors")
    attention = ExternalAttention(16, heads=2)
    state = {}
    for name, tensor in tensors.items():
        if name.startswith("state_dict.attn."):
            layer, kind = name.removeprefix("state_dict.attn.").split(".")
            state[f"{NAMES[layer]}.{kind}"] = tensor
    attention.load_state_dict(state)
    with torch.no_grad():
        ours = attention(tensors["input"])
    assert float((ours - tensors["output"]).abs().max() / tensors["output"].abs().max()) < 1e-5


def test_attention_is_normalised_over_the_tokens_then_over_the_memory() -> None:
    torch.manual_seed(0)
    memory = Memory(4, 5)
    x = torch.randn(2, 3, 6, 4)
    over_tokens = memory.keys(x).exp() / memory.keys(x).exp().sum(2, keepdim=True)
    over_units = over_tokens / over_tokens.sum(3, keepdim=True)
    torch.testing.assert_close(memory(x), over_units @ memory.values.weight.T + memory.values.bias)


def test_heads_and_their_channels_stay_apart_between_widening_and_projection() -> None:
    torch.manual_seed(0)
    attention = ExternalAttention(8, heads=2)
    nn.init.zeros_(attention.memory.values.bias)
    with torch.no_grad():
        attention.widen.weight[:4] = 0  # the first of eight heads sees the same everywhere
        attention.proj.weight.zero_()
        attention.proj.weight[:, :4] = 1  # and is the only one that is read
        out = attention(torch.randn(1, 5, 8))
    torch.testing.assert_close(out, out[:, :1].expand(1, 5, 8))


def test_tokens_can_be_any_number_and_in_any_order() -> None:
    torch.manual_seed(0)
    attention = ExternalAttention(8, heads=2)
    x = torch.randn(1, 7, 8)
    torch.testing.assert_close(attention(x.flip(1)), attention(x).flip(1))
    assert attention(x[:, :3]).shape == (1, 3, 8)


@pytest.mark.parametrize(("stride", "kernel", "padding"), [(4, 7, 2), (2, 3, 1), (1, 1, 0)])
@pytest.mark.parametrize("grid", [(8, 8), (8, 16), (16, 4)])
def test_soft_splits_overlap_and_shrink_the_grid_by_their_stride(
    stride: int, kernel: int, padding: int, grid: tuple[int, int]
) -> None:
    x = torch.randn(2, 3, *grid)
    expected = nn.functional.unfold(x, kernel, padding=padding, stride=stride).transpose(1, 2)
    assert torch.equal(soft_split(x, stride), expected)
    assert expected.shape[1] == grid[0] * grid[1] // stride**2


@pytest.mark.parametrize("patch_size", [4, 8, 12, 16, 20, 32])
def test_every_patch_size_makes_the_grid_of_plain_patches(patch_size: int) -> None:
    model = small(patch_size=patch_size, img_size=(2 * patch_size, 3 * patch_size)).eval()
    features = model.forward_features(torch.randn(1, 3, 2 * patch_size, 3 * patch_size))
    assert features.shape == (1, 1 + 6, 16)
    assert model.feature_info[0]["reduction"] == patch_size


def test_a_patch_of_a_wide_image_stands_where_it_is_on_the_grid() -> None:
    model = small(img_size=(64, 128)).eval()
    x = torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    struck = x.clone()
    struck[:, :, 33, 97] *= -9  # row 2 of 4, column 6 of 8, in no window of another patch
    with torch.no_grad():
        moved = (model.patches(struck) - model.patches(x))[0].norm(dim=1).reshape(4, 8)
    assert divmod(int(moved.argmax()), 8) == (2, 6)


def test_positions_are_sines_and_cosines_that_do_not_learn() -> None:
    model = small()
    assert model.position.shape == (1, 1 + 4, 16)
    assert "position" not in dict(model.named_parameters())
    torch.testing.assert_close(model.position[0, 3, 0], torch.tensor(3.0).sin())
    torch.testing.assert_close(model.position[0, 3, 5], torch.tensor(3 / 10000 ** (4 / 16)).cos())


def test_an_odd_width_has_positions_too() -> None:
    assert small(dim=15, heads=3).eval()(torch.randn(1, 3, 32, 32)).shape == (1, 7)


def test_between_the_soft_splits_values_start_as_keys_transposed() -> None:
    for reduction in small().patches.reductions:
        assert torch.equal(reduction.memory.values.weight, reduction.memory.keys.weight.T)
        assert reduction.memory.keys.bias is None


def test_stochastic_depth_grows_linearly_with_depth() -> None:
    rates = [getattr(b.drop_path, "drop_prob", 0.0) for b in small(depth=5, drop_path=0.4).blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_linear_maps_start_with_a_truncated_normal_and_no_bias() -> None:
    torch.manual_seed(0)
    model = create_model("eamlp", dim=128, depth=1, heads=2, img_size=64, num_classes=50)
    for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.06)
        assert layer.bias is None or not layer.bias.detach().any()


def test_the_class_token_is_pooled_and_does_not_decay() -> None:
    model = small().eval()
    features = model.forward_features(torch.randn(2, 3, 32, 32))
    assert torch.equal(model.forward_head(features, pre_logits=True), features[:, 0])
    assert model.no_weight_decay() == {"class_token"}


@pytest.mark.parametrize(
    ("values", "what", "hint"),
    [
        (dict(heads=3), "heads=3 does not divide dim=16", "use heads=2"),
        (dict(patch_size=6), "patch_size=6 is not a multiple of 4", "use 4 or 8"),
        (dict(patch_size=2), "patch_size=2 is not a multiple of 4", "use 4"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        small(**values)
    assert what in error.value.what
    assert hint in error.value.hint

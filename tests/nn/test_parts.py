"""Tensor parts: patches in raster order, maps along the axis they name, and rates of stochastic depth."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from allmlp.errors import ShapeError
from allmlp.nn.mixing import AlongColumns, AlongRows, AlongTokens, linear_rates, stochastic_depth
from allmlp.nn.mlp import ACTIVATIONS, Mlp, TokenMlp
from allmlp.nn.patches import Patches, check_image, to_grid, to_tokens


def test_tokens_are_in_raster_order_and_back() -> None:
    grid = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    tokens = to_tokens(grid)
    assert tokens.shape == (2, 20, 3)
    assert torch.equal(tokens[:, 2 * 5 + 3], grid[:, :, 2, 3])
    assert torch.equal(to_grid(tokens, (4, 5)), grid)


def test_a_patch_is_a_linear_map_of_its_own_pixels() -> None:
    patches = Patches(img_size=(8, 12), patch_size=4, in_chans=3, dim=5)
    image = torch.randn(2, 3, 8, 12)
    assert patches.grid == (2, 3)
    cut = image[:, :, 4:8, 8:12].flatten(1)  # row 1, column 2
    expected = cut @ patches.proj.weight.flatten(1).T + patches.proj.bias
    torch.testing.assert_close(patches(image)[:, 1 * 3 + 2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 8, 12), (2, 3, 12, 8), (2, 1, 8, 12), (2, 3, 8, 13), (2, 3, 8, 12, 1)], ids=str)
def test_an_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as error:
        check_image(torch.zeros(shape), (8, 12), 3)
    assert str(shape) in error.value.what
    assert "batch × 3 × 8 × 12" in error.value.what
    check_image(torch.zeros(0, 3, 8, 12), (8, 12), 3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "shape", "formula", "side"),
    [
        (AlongTokens, (2, 6, 3), "on,bnc->boc", (1, -1, 1)),
        (AlongRows, (2, 3, 6, 5), "oy,bcyx->bcox", (1, 1, -1, 1)),
        (AlongColumns, (2, 3, 5, 6), "ox,bcyx->bcyo", (1, 1, 1, -1)),
    ],
)
def test_a_map_along_an_axis_is_its_matrix_on_that_axis(
    kind: type[nn.Linear], shape: tuple[int, ...], formula: str, side: tuple[int, ...], bias: bool
) -> None:
    mix, x = kind(6, 4, bias=bias), torch.randn(shape)
    expected = torch.einsum(formula, mix.weight, x)
    if bias:
        expected = expected + mix.bias.reshape(side)
    torch.testing.assert_close(mix(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [2, 1, 0])
@pytest.mark.parametrize(
    ("kind", "size"), [(AlongRows, (6, 5)), (AlongColumns, (5, 6)), (AlongRows, (6, 1)), (AlongColumns, (1, 6))]
)
def test_a_map_along_an_axis_leaves_channels_innermost(
    kind: type[nn.Linear], size: tuple[int, int], batch: int, bias: bool
) -> None:
    """The same answer and gradients as where rows lie together, without a change of order."""
    mix, x = kind(6, 4, bias=bias), torch.randn(batch, 3, *size)
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        given = x.clone(memory_format=order).requires_grad_()
        made = mix(given)
        assert made.is_contiguous(memory_format=order) or not batch  # of nothing there is no order
        found.append([made, *torch.autograd.grad(made.square().sum(), [given, *mix.parameters()])])
    for plain, innermost in zip(*found, strict=True):
        torch.testing.assert_close(innermost, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("act", "gelu"), [("gelu", F.gelu), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))])
def test_an_mlp_is_linear_gelu_linear(act: str, gelu: object) -> None:
    assert act in ACTIVATIONS
    mlp, x = Mlp(6, 9, act=act), torch.randn(2, 4, 6) * 3
    hidden = gelu(x @ mlp.fc1.weight.T + mlp.fc1.bias)  # type: ignore[operator]
    torch.testing.assert_close(mlp(x), hidden @ mlp.fc2.weight.T + mlp.fc2.bias)


def test_a_token_mlp_is_the_mlp_of_the_other_axis() -> None:
    token, plain = TokenMlp(6, 9), Mlp(6, 9)
    plain.load_state_dict(token.state_dict())
    x = torch.randn(2, 6, 4)
    torch.testing.assert_close(token(x), plain(x.transpose(1, 2)).transpose(1, 2))


def test_linear_rates_go_from_nothing_to_the_whole() -> None:
    assert linear_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert linear_rates(0.3, 1) == [0]
    assert linear_rates(0.0, 3) == [0, 0, 0]


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean() -> None:
    assert isinstance(stochastic_depth(0.0), nn.Identity)
    torch.manual_seed(0)
    dropped = stochastic_depth(0.25).train()(torch.ones(4000, 2, 3))
    kept = dropped[:, 0, 0] > 0
    assert torch.equal(dropped, torch.where(kept, 1 / 0.75, 0.0)[:, None, None].expand(4000, 2, 3))
    assert float(kept.double().mean()) == pytest.approx(0.75, abs=0.02)

"""ConvMLP (arXiv:2109.04454): what the paper and the release say of it."""

from typing import Any

import pytest
import torch
from torch import nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.convmlp import ConvBlock, ConvMLPBlock

SMALL: dict[str, Any] = dict(
    channels=4, dims=(8, 12), depths=(1, 2), expansions=(2, 3), conv_blocks=1, img_size=32, num_classes=7
)


def small(**changed: Any) -> Any:
    torch.manual_seed(0)
    return create_model("convmlp", **{**SMALL, **changed})


def test_the_depthwise_convolution_has_no_residual_and_sits_between_two_mlps() -> None:
    torch.manual_seed(0)
    block, x = ConvMLPBlock(dim=8, hidden=16, drop_path=0.0), torch.randn(2, 3, 5, 8)
    with torch.no_grad():
        y = x + block.mlp1(block.norm1(x))
        y = block.depthwise(block.depthwise_norm(y).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        torch.testing.assert_close(block(x), y + block.mlp2(block.norm2(y)))
        block.depthwise.weight.zero_()
        assert torch.equal(block(x)[0, 0, 0], block(x * 2)[1, 2, 4])  # nothing of x goes around it


def test_a_block_reaches_the_eight_neighbours_whatever_the_grid() -> None:
    torch.manual_seed(0)
    block = ConvMLPBlock(dim=8, hidden=16, drop_path=0.0)
    x = torch.randn(1, 6, 9, 8)
    struck = x.clone()
    struck[0, 2, 4] += torch.randn(8)
    with torch.no_grad():
        moved = (block(struck) - block(x))[0].abs().amax(-1) > 1e-7
    near = torch.zeros(6, 9, dtype=torch.bool)
    near[1:4, 3:6] = True
    assert torch.equal(moved, near)


def test_a_convolutional_block_has_a_residual_over_three_convolutions() -> None:
    torch.manual_seed(0)
    block, x = ConvBlock(4, 8).eval(), torch.randn(2, 4, 5, 6)
    assert [m.kernel_size for m in block if isinstance(m, nn.Conv2d)] == [(1, 1), (3, 3), (1, 1)]
    with torch.no_grad():
        assert (block(x) >= x).all()  # what is added went through a ReLU
        assert not torch.equal(block(x), x)


def test_the_steps_are_the_stem_and_the_stages() -> None:
    info = small().feature_info
    assert [(i["num_chs"], i["reduction"]) for i in info] == [(4, 4), (8, 8), (12, 16)]


@pytest.mark.parametrize("size", [(32, 48), (33, 50), (7, 100), (1, 1)])
def test_any_image_size_will_do_and_odd_grids_are_halved_upwards(size: tuple[int, int]) -> None:
    model = small(img_size=size).eval()
    maps = model.forward_intermediates(torch.randn(1, 3, *size), intermediates_only=True)
    assert [m.shape[2:] for m in maps] == [tuple(-(-side // step) for side in size) for step in (4, 8, 16)]


def test_stochastic_depth_grows_linearly_over_each_stage_by_itself() -> None:
    model = small(depths=(3, 2), drop_path=0.5)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.25, 0.5, 0.0, 0.5])


def test_expansions_are_the_stages_own() -> None:
    assert [stage.blocks[0].mlp1.fc1.out_features for stage in small().stages] == [16, 36]


def test_initial_weights_are_the_releases() -> None:
    model = small(channels=64, dims=(128, 256), num_classes=1000)
    spreads = {
        "head": (model.head, 0.02),
        "mlp": (model.stages[0].blocks[0].mlp2.fc1, 0.02),
        "downsampling": (model.stages[1].embed, (2 / (256 * 9)) ** 0.5),
        "stem": (model.stem.tokenizer[6], (2 / (64 * 9)) ** 0.5),
    }
    for name, (part, spread) in spreads.items():
        assert part.weight.std().item() == pytest.approx(spread, rel=0.05), name
    assert not model.head.bias.any()


def test_without_convolutional_blocks_the_stem_is_the_tokenizer() -> None:
    model = small(conv_blocks=0).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.stem(x), model.stem.tokenizer(x))


@pytest.mark.parametrize(
    ("values", "what", "hint"),
    [
        (dict(channels=5), "channels=5 is odd", "channels=6"),
        (dict(dims=(8,)), "dims=(8,) does not fit 2 stages", "2 values"),
        (dict(expansions=(2, 2, 2)), "expansions=(2, 2, 2) does not fit 2 stages", "2 values"),
        (dict(expansions=(2, 0)), "expansions[1]=0.0 leaves no hidden channel of 12", "expansions[1] at least 0.0833"),
        (dict(expansions=(2, "2")), "expansions[1]='2' is not a number", "in that range"),
        (dict(expansions=2), "expansions=2 is not a list", "2 numbers"),
        (dict(conv_blocks=-1), "conv_blocks=-1", "≥ 0"),
        (dict(dims=(8, 0)), "dims[1]=0", "≥ 1"),
        (dict(img_size=0), "img_size=0", "≥ 1"),
    ],
)
def test_impossible_values_are_refused_with_a_hint(values: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        small(**values)
    assert what in error.value.what
    assert hint in error.value.hint

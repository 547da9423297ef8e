"""Vision Permutator (arXiv:2106.12368): what the paper and the release say of it; above all, what mixes with what."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.vip import PermutatorBlock, PermuteMix
from allmlp.nn.fusion import SplitAttention
from allmlp.nn.segments import SegmentsAlongColumns, SegmentsAlongRows
from allmlp.weights.load import load_weights

SMALL: dict[str, Any] = dict(
    dims=(8, 16, 16), depths=(1, 2, 1), segments=(4, 2, 2), patch_size=2, transitions=(True, False), num_classes=7
)
GRIDS = pytest.mark.parametrize("grid", [(4, 4), (3, 5), (5, 3)], ids=["square", "wide", "tall"])


def small(**changed: Any) -> Any:
    return create_model("vip", **{"img_size": 16, **SMALL, **changed})


def response(module: nn.Module, grid: tuple[int, int], at: tuple[int, int, int]) -> Tensor:  # → y x c
    """What an impulse at (row, column, channel) changes; 8 channels."""
    still = torch.zeros(1, *grid, 8)
    struck = still.clone()
    struck[0, at[0], at[1], at[2]] = 1
    with torch.no_grad():
        return (module(struck) - module(still))[0].abs() > 1e-7


@GRIDS
def test_segments_along_rows_mix_one_column_and_one_segment_only(grid: tuple[int, int]) -> None:
    moved = response(SegmentsAlongRows(dim=8, segments=4, rows=grid[0]), grid, (2, 1, 5))
    expected = torch.zeros(*grid, 8, dtype=torch.bool)
    expected[:, 1, 4:6] = True  # the third of four segments of two channels
    assert torch.equal(moved, expected)


@GRIDS
def test_segments_along_columns_mix_one_row_and_one_segment_only(grid: tuple[int, int]) -> None:
    moved = response(SegmentsAlongColumns(dim=8, segments=4, columns=grid[1]), grid, (2, 1, 5))
    expected = torch.zeros(*grid, 8, dtype=torch.bool)
    expected[2, :, 4:6] = True
    assert torch.equal(moved, expected)


def test_with_as_many_segments_as_rows_the_matrices_are_as_wide_as_the_channels() -> None:
    mix = PermuteMix(dim=8, segments=4, grid=(4, 4))
    assert mix.along_rows.weight.shape == mix.along_columns.weight.shape == mix.along_channels.weight.shape == (8, 8)


def test_rows_are_outer_and_the_segments_channels_inner_in_the_matrix() -> None:
    mix = SegmentsAlongRows(dim=8, segments=4, rows=3)
    x = torch.randn(2, 3, 5, 8)
    matrix = mix.weight.detach().unflatten(0, (3, 2)).unflatten(2, (3, 2))  # y′ s′ y s
    expected = torch.einsum("utys,byxgs->buxgt", matrix, x.unflatten(3, (4, 2))).flatten(3)
    torch.testing.assert_close(mix(x).detach(), expected)


def test_split_attention_starts_as_a_mean_when_its_mlp_is_silent() -> None:
    fuse = SplitAttention(8)
    with torch.no_grad():
        fuse.fc2.weight.zero_()
        fuse.fc2.bias.zero_()
    branches = torch.randn(3, 2, 8, 4, 5)
    torch.testing.assert_close(fuse(*branches), branches.mean(0))


def test_split_attention_weighs_each_channel_of_each_image_and_the_weights_sum_to_one() -> None:
    torch.manual_seed(0)
    fuse = SplitAttention(8)
    branches = torch.randn(3, 2, 8, 4, 5)
    with torch.no_grad():
        means = branches.sum(0).mean((2, 3))
        weights = fuse.fc2(nn.functional.gelu(fuse.fc1(means))).reshape(2, 8, 3).softmax(2)
        torch.testing.assert_close(weights.sum(2), torch.ones(2, 8))
        torch.testing.assert_close(fuse(*branches), torch.einsum("kbcyx,bck->bcyx", branches, weights))
        same = torch.randn(2, 8, 4, 5)
        torch.testing.assert_close(fuse(same, same, same), same)


def test_a_block_has_a_residual_over_each_of_its_halves() -> None:
    torch.manual_seed(0)
    block = PermutatorBlock(dim=8, segments=4, grid=(3, 5), hidden=24, drop_path=0.0)
    x = torch.randn(2, 3, 5, 8)
    mixed = x + block.token_mix(block.token_norm(x))
    torch.testing.assert_close(block(x), mixed + block.channel_mlp(block.channel_norm(mixed)))


def test_the_grid_halves_at_transitions_and_the_width_changes_where_it_is_told() -> None:
    assert [(i["num_chs"], i["reduction"]) for i in small().feature_info] == [(8, 2), (16, 4), (16, 4)]
    apart = small(dims=(8, 8, 16), segments=(4, 4, 2))
    assert [(i["num_chs"], i["reduction"]) for i in apart.feature_info] == [(8, 2), (8, 4), (16, 4)]
    assert [type(stage.embed) for stage in small().stages] == [nn.Conv2d, nn.Conv2d, nn.Identity]
    assert apart.stages[2].embed.kernel_size == (1, 1)


def test_the_releases_list_counts_what_stands_between_stages() -> None:
    model = small(dims=(8, 8, 16), depths=(1, 1, 1), segments=(4, 4, 2), transitions=(False, True))
    theirs = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("stages.0.embed", "patch_embed.proj").replace("stages.2.embed", "network.2.proj")
        for stage, place in ((0, 0), (1, 1), (2, 3)):
            name = name.replace(f"stages.{stage}.blocks", f"network.{place}")
        for ours, release in (
            ("token_norm", "norm1"),
            ("channel_norm", "norm2"),
            ("channel_mlp", "mlp"),
            ("token_mix.along_rows", "attn.mlp_h"),
            ("token_mix.along_columns", "attn.mlp_w"),
            ("token_mix.along_channels", "attn.mlp_c"),
            ("token_mix.fuse", "attn.reweight"),
            ("token_mix.proj", "attn.proj"),
        ):
            name = name.replace(ours, release)
        theirs[name] = tensor + 1
    expected = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    assert load_weights(model, theirs) == "vip"
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_stochastic_depth_grows_linearly_over_all_blocks() -> None:
    model = small(depths=(2, 3, 1), drop_path=0.5)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_three_mixes_have_no_bias_and_linear_maps_start_with_a_truncated_normal() -> None:
    torch.manual_seed(0)
    mix = create_model("vip", dims=(128,), depths=(1,), segments=(8,), patch_size=8, img_size=64).stages[0].blocks[0].token_mix
    assert mix.along_rows.bias is mix.along_columns.bias is mix.along_channels.bias is None
    for layer in (m for m in mix.modules() if isinstance(m, nn.Linear)):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("values", "what", "hint"),
    [
        (dict(segments=(4, 3, 2)), "segments[1]=3 does not divide dims[1]=16", "use segments[1]=2"),
        (dict(dims=(8, 16)), "dims=(8, 16) does not fit 3 stages", "3 values"),
        (dict(expansions=3), "expansions=3 is not a list of numbers", "3 numbers"),
        (dict(expansions=(3, 0, 3)), "expansions[1]=0.0 leaves no hidden channel of 16", "at least 0.0625"),
        (dict(transitions=(True, 0)), "is not a list of 2 truth values", "2 of True or False"),
        (dict(transitions=(True, False, False)), "is not a list of 2 truth values", "2 of True or False"),
        (dict(img_size=2), "leaves nothing for stage 2", "fewer transitions"),
    ],
)
def test_stages_that_do_not_fit_together_are_refused(values: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        small(**values)
    assert what in error.value.what
    assert hint in error.value.hint

"""sMLPNet (arXiv:2109.05422): what the paper and the release say of it; above all, which axis mixes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.smlpnet import DepthwiseMix, SparseMix

SMALL: dict[str, Any] = dict(dim=4, depths=(1, 2, 1), patch_size=2, num_classes=7)


def small(**changed: Any) -> Any:
    return create_model("smlpnet", **{"img_size": 32, **SMALL, **changed})


def response(module: nn.Module, channels: int, grid: tuple[int, int], at: tuple[int, int]) -> Tensor:  # → y x
    """Where an impulse in channel 1 at (row, column) changes what comes out of any channel."""
    still = torch.zeros(1, channels, *grid)
    struck = still.clone()
    struck[0, 1, at[0], at[1]] = 1
    with torch.no_grad():
        return (module(struck) - module(still))[0].abs().amax(0) > 1e-7


grids = pytest.mark.parametrize("grid", [(6, 6), (4, 7), (7, 4)], ids=["square", "wide", "tall"])


@grids
def test_along_columns_mixes_the_width_within_one_row_only(grid: tuple[int, int]) -> None:
    moved = response(SparseMix(4, grid).along_columns, 4, grid, (2, 1))
    assert moved[2].all()
    assert moved.sum() == grid[1]


@grids
def test_along_rows_mixes_the_height_within_one_column_only(grid: tuple[int, int]) -> None:
    moved = response(SparseMix(4, grid).along_rows, 4, grid, (2, 1))
    assert moved[:, 1].all()
    assert moved.sum() == grid[0]


@grids
def test_sparse_mixing_reaches_one_row_and_one_column(grid: tuple[int, int]) -> None:
    moved = response(SparseMix(4, grid).eval(), 4, grid, (2, 1))
    cross = torch.zeros(grid, dtype=torch.bool)
    cross[2, :] = cross[:, 1] = True
    assert torch.equal(moved, cross)


def test_depthwise_mixing_reaches_the_eight_neighbours_of_one_channel() -> None:
    mix = DepthwiseMix(4).eval()
    moved = response(mix, 4, (6, 6), (2, 1))
    near = torch.zeros(6, 6, dtype=torch.bool)
    near[1:4, 0:3] = True
    assert torch.equal(moved, near)
    assert mix.conv.groups == 4


def test_a_stage_of_a_wide_image_has_a_matrix_for_each_axis() -> None:
    model = small(img_size=(16, 32))
    shapes = [
        (stage.blocks[0].sparse.along_columns.weight.shape[0], stage.blocks[0].sparse.along_rows.weight.shape[0])
        for stage in model.stages
    ]
    assert shapes == [(16, 8), (8, 4), (4, 2)]


def test_fusion_reads_identity_then_width_then_height() -> None:
    mix = SparseMix(2, (3, 5)).eval()
    seen: list[Tensor] = []
    mix.fuse.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 2, 3, 5)
    with torch.no_grad():
        mix(x)
        active = nn.functional.gelu(mix.norm(x))
        width = torch.einsum("vx,bcyx->bcyv", mix.along_columns.weight, active) + mix.along_columns.bias
        height = torch.einsum("uy,bcyx->bcux", mix.along_rows.weight, active) + mix.along_rows.bias[:, None]
    torch.testing.assert_close(seen[0], torch.cat([active, width, height], 1))


def test_a_block_has_one_residual_over_both_token_mixes_and_one_over_the_channels() -> None:
    torch.manual_seed(0)
    block = small(img_size=(6, 10), depths=(1,)).eval().stages[0].blocks[0]
    x = torch.randn(2, 4, 3, 5)
    with torch.no_grad():
        mixed = x + block.sparse(block.depthwise(x))
        last = mixed.permute(0, 2, 3, 1)
        expected = mixed + block.channel_mlp(block.channel_norm(last)).permute(0, 3, 1, 2)
        torch.testing.assert_close(block(x), expected)


def test_stochastic_depth_grows_linearly_over_all_blocks() -> None:
    model = small(depths=(2, 3, 1), drop_path=0.5)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_channels_double_and_the_grid_halves_from_stage_to_stage() -> None:
    info = small().feature_info
    assert [(i["num_chs"], i["reduction"]) for i in info] == [(4, 2), (8, 4), (16, 8)]


def test_biases_are_in_the_axis_mixes_the_feed_forward_and_the_head_alone() -> None:
    biases = {n.rsplit(".", 2)[-2] for n, p in small().named_parameters() if n.endswith(".bias") and p.ndim == 1}
    norms = {"norm", "channel_norm"}
    assert biases - norms == {"along_columns", "along_rows", "fc1", "fc2", "head"}


def test_the_expansion_is_three() -> None:
    assert small().stages[0].blocks[0].channel_mlp.fc1.out_features == 12


def test_an_odd_grid_loses_its_last_row_and_column() -> None:
    model = small(img_size=(2 * 9, 2 * 5)).eval()
    assert [m.shape[2:] for m in model.forward_intermediates(torch.randn(1, 3, 18, 10), intermediates_only=True)] == [
        (9, 5),
        (4, 2),
        (2, 1),
    ]


def test_an_image_too_small_for_the_last_stage_is_refused() -> None:
    with pytest.raises(ModelError, match="leaves nothing for stage 3") as error:
        small(img_size=4)
    assert "8 pixels" in error.value.hint


def test_only_the_last_stage_wears_the_final_norm() -> None:
    model = small().eval()
    with torch.no_grad():
        model.norm.running_mean.fill_(3.0)
        plain = model.forward_intermediates(torch.randn(1, 3, 32, 32), intermediates_only=True)
    x = torch.randn(1, 3, 32, 32)
    plain, normed = (model.forward_intermediates(x, norm=norm, intermediates_only=True) for norm in (False, True))
    assert torch.equal(plain[0], normed[0])
    assert torch.equal(plain[1], normed[1])
    torch.testing.assert_close(normed[2], model.norm(plain[2]))
    assert not torch.allclose(normed[2], plain[2])


def test_fusion_by_split_attention_weighs_the_three_branches() -> None:
    torch.manual_seed(0)
    mix = small(fusion="split_attention", img_size=(16, 32)).stages[0].blocks[0].sparse.eval()
    x = torch.randn(2, 4, 8, 16)
    with torch.no_grad():
        active = nn.functional.gelu(mix.norm(x))
        branches = torch.stack([active, mix.along_columns(active), mix.along_rows(active)])
        means = branches.sum(0).mean((2, 3))
        weights = mix.fuse.fc2(nn.functional.gelu(mix.fuse.fc1(means))).reshape(2, 4, 3).softmax(2)
        torch.testing.assert_close(mix(x), torch.einsum("kbcyx,bck->bcyx", branches, weights))


def test_fusion_is_linear_as_released_unless_asked_for() -> None:
    assert isinstance(small().stages[0].blocks[0].sparse.fuse, nn.Conv2d)
    with pytest.raises(ModelError, match="fusion='concat' is not known"):
        small(fusion="concat")


def test_a_model_with_split_attention_learns_and_exports_like_the_rest() -> None:
    torch.manual_seed(0)
    model = small(fusion="split_attention", img_size=(16, 32))
    x = torch.randn(4, 3, 16, 32)
    nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    exported = torch.export.export(model.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), model(x))

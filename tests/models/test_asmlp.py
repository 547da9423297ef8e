"""AS-MLP (arXiv:2107.08391): what the paper and the release say of it."""

from typing import Any

import pytest
import torch
from torch import nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.asmlp import ASMLPBlock, AxialShift, PatchMerging
from allmlp.nn.shift import shift_columns, shift_rows

SMALL: dict[str, Any] = dict(dim=10, depths=(1, 2), patch_size=2, img_size=16, num_classes=7)


def small(**changed: Any) -> Any:
    torch.manual_seed(0)
    return create_model("asmlp", **{**SMALL, **changed})


@pytest.mark.parametrize("grid", [(9, 9), (7, 11)], ids=["square", "wide"])
def test_axial_shift_reaches_a_cross_of_the_shift_size(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    mix = AxialShift(10, 5)
    mix.enter_norm = mix.leave_norm = nn.Identity()  # which would tell every position of every other
    still = torch.zeros(1, 10, *grid)
    struck = still.clone()
    struck[:, :, 3, 4] = 1
    with torch.no_grad():
        moved = (mix(struck) - mix(still))[0].abs().amax(0) > 1e-7
    cross = torch.zeros(grid, dtype=torch.bool)
    cross[1:6, 4] = cross[3, 2:7] = True
    assert torch.equal(moved, cross)


def test_axial_shift_adds_columns_and_rows_that_were_shifted_apart() -> None:
    torch.manual_seed(0)
    mix, x = AxialShift(10, 3), torch.randn(2, 10, 4, 6)
    with torch.no_grad():
        entered = nn.functional.gelu(mix.enter_norm(mix.enter(x)))
        columns = nn.functional.gelu(mix.after_columns(shift_columns(entered, 3)))
        rows = nn.functional.gelu(mix.after_rows(shift_rows(entered, 3)))
        torch.testing.assert_close(mix(x), mix.leave(mix.leave_norm(columns + rows)))


def test_norms_are_over_channels_and_positions_together() -> None:
    x = torch.randn(2, 10, 4, 6) * 3 + 5
    normed = small().stages[0].blocks[0].token_norm(x)
    torch.testing.assert_close(normed.mean((1, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(normed.var((1, 2, 3), correction=0), torch.ones(2), rtol=1e-4, atol=0)
    assert normed.mean((2, 3)).abs().max() > 1e-2


def test_merging_joins_squares_column_by_column() -> None:
    merge = PatchMerging(1, 2)
    seen: list[torch.Tensor] = []
    merge.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    merge(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert seen[0][0, :, 0, 0].tolist() == [0, 4, 1, 5]
    assert seen[0][0, :, 1, 0].tolist() == [8, 12, 9, 13]
    assert merge.reduction.bias is None


def test_a_block_has_one_residual_over_the_shift_and_one_over_the_channels() -> None:
    torch.manual_seed(0)
    block, x = ASMLPBlock(dim=10, shift=5, hidden=20, drop_path=0.0), torch.randn(2, 10, 3, 5)
    with torch.no_grad():
        mixed = x + block.token_mix(block.token_norm(x))
        torch.testing.assert_close(block(x), mixed + block.channel_mlp(block.channel_norm(mixed)))


def test_the_expansion_is_four_and_the_shift_five() -> None:
    block = small().stages[0].blocks[0]
    assert block.channel_mlp.fc1.out_features == 40
    assert block.token_mix.shift == 5


def test_channels_double_and_the_grid_halves_from_stage_to_stage() -> None:
    info = small(depths=(1, 1, 1)).feature_info
    assert [(i["num_chs"], i["reduction"]) for i in info] == [(10, 2), (20, 4), (40, 8)]


def test_stochastic_depth_grows_linearly_over_all_blocks() -> None:
    model = small(depths=(2, 3, 1), drop_path=0.5)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_head_starts_small_and_without_bias() -> None:
    head = small(dim=64, num_classes=1000).head
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not head.bias.any()


@pytest.mark.parametrize(
    ("values", "what", "hint"),
    [
        (dict(shift=4), "shift=4 is even", "shift=3 or 5"),
        (dict(shift=0), "shift=0", "≥ 1"),
        (dict(img_size=18), "not a multiple of the last stage's patch of 4 pixels", "16 or 20"),
        (dict(img_size=(16, 6)), "not a multiple of the last stage's patch of 4 pixels", "4 or 8"),
        (dict(depths=()), "not a list", "depths"),
        (dict(expansion=0.01), "leaves no hidden channel", "expansion"),
    ],
)
def test_impossible_values_are_refused_with_a_hint(values: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        small(**values)
    assert what in error.value.what
    assert hint in error.value.hint

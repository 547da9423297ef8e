"""RaftMLP (arXiv:2108.04384): what the paper and the release say of it; above all, what mixes with what."""

import copy
from functools import reduce
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.raftmlp import HorizontalMix, MultiScaleEmbedding, RaftBlock, VerticalMix
from allmlp.weights.load import load_weights

SMALL: dict[str, Any] = dict(
    dims=(8, 12, 16), depths=(1, 2, 1), patch_sizes=(4, 2, 2), rafts=(2, 4, 2), kernels=((4, 8), (2, 4), (2,)), img_size=32
)


def small(**changed: Any) -> Any:
    torch.manual_seed(0)
    return create_model("raftmlp", **{**SMALL, "num_classes": 7, **changed})


def reached(mix: nn.Module, channels: int, grid: tuple[int, int], at: tuple[int, int, int]) -> Tensor:  # → c y x
    """Where an impulse at (channel, row, column) changes what comes out."""
    still = torch.zeros(1, channels, *grid)
    struck = still.clone()
    struck[(0, *at)] = 1
    with torch.no_grad():
        return (mix(struck) - mix(still))[0].abs() > 1e-7


def without_norm(mix: VerticalMix) -> VerticalMix:
    mix.norm = nn.Identity()  # type: ignore[assignment]  # it would tell every channel of every other
    return mix


grids = pytest.mark.parametrize("grid", [(5, 5), (4, 6), (6, 4)], ids=["square", "wide", "tall"])


@grids
def test_vertical_mixing_stays_in_its_column_and_in_the_like_channels_of_all_rafts(grid: tuple[int, int]) -> None:
    mix = without_norm(VerticalMix(dim=12, rafts=3, side=grid[0], hidden=9, drop_path=0.0))
    moved = reached(mix, 12, grid, (5, 2, 1))  # channel 5 is channel 1 of raft 1: 1, 5 and 9 are alike
    expected = torch.zeros(12, *grid, dtype=torch.bool)
    expected[[1, 5, 9], :, 1] = True
    assert torch.equal(moved, expected)


@grids
def test_horizontal_mixing_stays_in_its_row_and_in_the_like_channels_of_all_rafts(grid: tuple[int, int]) -> None:
    mix = without_norm(HorizontalMix(dim=12, rafts=3, side=grid[1], hidden=9, drop_path=0.0))
    moved = reached(mix, 12, grid, (5, 2, 1))
    expected = torch.zeros(12, *grid, dtype=torch.bool)
    expected[[1, 5, 9], 2, :] = True
    assert torch.equal(moved, expected)


def test_one_raft_mixes_each_channel_by_itself() -> None:
    mix = without_norm(VerticalMix(dim=4, rafts=1, side=5, hidden=9, drop_path=0.0))
    assert reached(mix, 4, (5, 3), (2, 0, 1)).sum((1, 2)).tolist() == [0, 0, 5, 0]


def test_the_norm_is_over_the_channels_of_a_position_and_its_scale_in_the_order_channel_raft() -> None:
    mix = VerticalMix(dim=6, rafts=2, side=3, hidden=9, drop_path=0.0)
    x = torch.randn(2, 6, 3, 4)
    seen: list[Tensor] = []
    mix.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mix(x)
    assert torch.equal(seen[0], x[:, [0, 3, 1, 4, 2, 5]].permute(0, 2, 3, 1))


def test_a_block_mixes_rows_then_columns_then_channels() -> None:
    torch.manual_seed(0)
    block = RaftBlock(dim=8, rafts=2, grid=(3, 5), token_hidden=(12, 20), expansion=4, drop_path=0.0)
    x = torch.randn(2, 8, 3, 5)
    with torch.no_grad():
        y = block.horizontal(block.vertical(x))
        torch.testing.assert_close(block(x), y + block.channel_mlp(block.channel_norm(y)))
    widths = (block.vertical.mlp.fc1, block.horizontal.mlp.fc1, block.channel_mlp.fc1)
    assert [(w.in_features, w.out_features) for w in widths] == [(6, 12), (10, 20), (8, 32)]


def test_the_embedding_is_one_matrix_on_all_squares_unfolded() -> None:
    torch.manual_seed(0)
    embed, x = MultiScaleEmbedding(chans=3, dim=5, kernels=(2, 4, 6)), torch.randn(2, 3, 8, 12)
    squares = [nn.functional.unfold(x, k, padding=(k - 2) // 2, stride=2) for k in (2, 4, 6)]
    with torch.no_grad():
        expected = embed.proj(torch.cat(squares, 1).transpose(1, 2)).transpose(1, 2).unflatten(2, (4, 6))
        torch.testing.assert_close(embed(x), expected)


def test_stages_shrink_the_grid_by_their_patch_size() -> None:
    info = small().feature_info
    assert [(i["num_chs"], i["reduction"]) for i in info] == [(8, 4), (12, 8), (16, 16)]


def test_stochastic_depth_is_the_same_in_every_block_and_branch() -> None:
    rates = [m.drop_prob for m in small(drop_path=0.1).modules() if type(m).__name__ == "DropPath"]
    assert rates == [0.1] * (3 * 4)


@pytest.mark.parametrize("name", ["raftmlp_s", "raftmlp_m", "raftmlp_l"])
def test_released_variants_have_no_shortcuts(name: str) -> None:
    with torch.device("meta"):
        assert not [n for n, _ in create_model(name).named_parameters() if "shortcut" in n]


def test_shortcuts_scale_and_shift_the_pooled_features_from_the_last_stage_back_to_the_first() -> None:
    model = small(shortcut=True).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = model.forward_intermediates(x, intermediates_only=True)
        said = [s.shortcut.proj(s.shortcut.norm(m).mean((2, 3))) for s, m in zip(model.stages[:2], maps[:2], strict=True)]
        heads = [*said, model.norm(maps[2]).mean((2, 3))]
        pooled = reduce(lambda later, stage: stage[:, :16] * later + stage[:, 16:], heads[::-1])
        torch.testing.assert_close(model.forward_head(model.forward_features(x), pre_logits=True), pooled)
        torch.testing.assert_close(model(x), model.head(pooled))


def test_a_model_with_shortcuts_can_be_copied_and_exported() -> None:
    model = small(shortcut=True, drop_path=0.1).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


def test_gradients_reach_the_shortcuts() -> None:
    model = small(shortcut=True)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_release_with_shortcuts_has_a_head_for_every_stage() -> None:
    model = small(shortcut=True).eval()
    theirs = {}
    for name, tensor in model.state_dict().items():
        for stage in range(3):
            name = name.replace(f"stages.{stage}.shortcut.norm", f"heads.{stage}.1")
            name = name.replace(f"stages.{stage}.shortcut.proj", f"heads.{stage}.4")
            name = name.replace(f"stages.{stage}.embed.proj", f"levels.{stage}.fn.0.fc")
            for block in range(2):
                start = f"stages.{stage}.blocks.{block}."
                name = name.replace(start, f"levels.{stage}.fn.{block + 2}.")
        for ours, part in {
            "vertical.norm": "1.norm.1",
            "vertical.mlp.fc1": "1.fn.0",
            "vertical.mlp.fc2": "1.fn.3",
            "horizontal.norm": "3.norm.1",
            "horizontal.mlp.fc1": "3.fn.0",
            "horizontal.mlp.fc2": "3.fn.3",
            "channel_norm": "5.norm",
            "channel_mlp.fc1": "5.fn.0",
            "channel_mlp.fc2": "5.fn.3",
        }.items():
            name = name.replace(ours, part)
        name = name.replace("head.", "classifier.") if name.startswith("head.") else name
        theirs[f"heads.2.1.{name[5:]}" if name.startswith("norm.") else name] = tensor
    torch.manual_seed(1)
    twin = model.twin().eval()
    assert load_weights(twin, theirs) == "raft-mlp, shortcut"
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(twin(x), model(x))


@pytest.mark.parametrize(
    ("values", "what", "hint"),
    [
        (dict(dims=(8, 12)), "dims=(8, 12) does not fit 3 stages", "3 values"),
        (dict(rafts=(3, 4, 2)), "dims[0]=8 channels do not fit rafts[0]=3 rafts", "multiple of 3"),
        (dict(kernels=((4, 8), (2, 4))), "does not fit 3 stages", "kernels as"),
        (dict(kernels=4), "kernels=4 does not fit", "kernels as"),
        (dict(kernels=((8,), (2,), (2,))), "kernels[0]=(8,) do not lie evenly around patches of 4", "use 4"),
        (dict(kernels=((4, 6), (2,), (2,))), "kernels[0]=(4, 6) do not lie evenly", "use 4 and, say, 12 or 8"),
        (dict(kernels=((4,), (2, 2.5), (2,))), "kernels[1][1]=2.5", "≥ 1"),
        (dict(shortcut=1), "shortcut=1 is neither True nor False", "True or False"),
        (dict(token_expansion=0), "token_expansion=0 leaves no hidden channel", "token_expansion at least"),
        (dict(token_hidden=((8, 8),)), "does not fit 3 stages", "two widths a stage"),
        (dict(token_hidden=((8, 8), (4,), (2, 2))), "does not fit 3 stages", "two widths a stage"),
        (dict(token_hidden=7), "does not fit 3 stages", "two widths a stage"),
        (dict(img_size=40), "not a multiple of the last stage's patch of 16 pixels", "32 or 48"),
    ],
)
def test_impossible_values_are_refused_with_a_hint(values: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        small(**values)
    assert what in error.value.what
    assert hint in error.value.hint

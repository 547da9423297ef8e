"""RepMLPNet (arXiv:2112.11081) in training form: what the paper and the release say of it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.repmlpnet import ChannelPerceptron, GlobalPerceptron, LocalisedPerceptron

SMALL: dict[str, Any] = dict(dim=8, depths=(1, 2), sharesets=(2, 4), patch_size=2, img_size=16, num_classes=7)


def small(**changed: Any) -> Any:
    torch.manual_seed(0)
    return create_model("repmlpnet", **{**SMALL, **changed})


def reached(mix: nn.Module, sets: int, grid: tuple[int, int], at: tuple[int, int, int]) -> Tensor:  # → s y x
    """Where an impulse at (set, row, column) changes what comes out."""
    still = torch.zeros(1, sets, *grid)
    struck = still.clone()
    struck[(0, *at)] = 1
    with torch.no_grad():
        return (mix(struck) - mix(still))[0].abs() > 1e-7


grids = pytest.mark.parametrize("grid", [(5, 5), (4, 6), (6, 4)], ids=["square", "wide", "tall"])


@grids
def test_the_channel_perceptron_reaches_the_whole_grid_of_its_own_set_only(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    moved = reached(ChannelPerceptron(sets=3, grid=grid), 3, grid, (1, 2, 1))
    assert moved[1].all()
    assert not moved[[0, 2]].any()


@grids
def test_the_local_perceptron_reaches_the_eight_neighbours_in_its_own_set_only(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    mix = LocalisedPerceptron(sets=3, grid=grid, kernels=(1, 3)).eval()
    nn.init.zeros_(mix.channel.weight)
    moved = reached(mix, 3, grid, (1, 2, 1))
    near = torch.zeros(3, *grid, dtype=torch.bool)
    near[1, 1:4, 0:3] = True
    assert torch.equal(moved, near)


def test_a_matrix_gathers_and_its_positions_are_in_raster_order() -> None:
    mix = ChannelPerceptron(sets=1, grid=(2, 3))
    with torch.no_grad():
        mix.weight.zero_()
        mix.bias.zero_()
        mix.weight[0, 1, 5] = 1  # row 0, column 1 takes row 1, column 2
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert mix(x)[0, 0].tolist() == [[0, 5, 0], [0, 0, 0]]


def test_channels_share_a_matrix_with_every_sets_th_other() -> None:
    model = small().eval()
    block = model.stages[0].blocks[0]
    seen: list[Tensor] = []
    block.mix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 8, 8, 8)
    block(x)
    normed = block.token_norm(x)
    assert torch.equal(seen[0][1], normed[0, 2:4])  # group 1 of image 0: channels 2 and 3, in sets 0 and 1
    assert torch.equal(seen[0][4], normed[1, 0:2])


def test_the_global_perceptron_gives_each_channel_a_factor_from_all_means() -> None:
    torch.manual_seed(0)
    gate, x = GlobalPerceptron(8), torch.randn(2, 8, 3, 5)
    with torch.no_grad():
        factors = gate(x)
        shuffled = gate(x.flatten(2)[..., torch.randperm(15)].unflatten(2, (3, 5)))
    assert factors.shape == (2, 8, 1, 1)
    assert ((factors > 0) & (factors < 1)).all()
    torch.testing.assert_close(shuffled, factors)
    assert gate.fc1.out_features == 2


def test_a_block_has_one_residual_over_token_mixing_and_one_over_the_feed_forward() -> None:
    block, x = small().eval().stages[0].blocks[0], torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        normed = block.token_norm(x)
        mixed = block.mix(normed.reshape(8, 2, 8, 8)).reshape(2, 8, 8, 8)
        y = x + mixed * block.gate(normed)
        torch.testing.assert_close(block(x), y + block.leave(nn.functional.gelu(block.enter(block.channel_norm(y)))))


def test_channels_double_and_the_grid_halves_from_stage_to_stage() -> None:
    info = small().feature_info
    assert [(i["num_chs"], i["reduction"]) for i in info] == [(8, 2), (16, 4)]


def test_stochastic_depth_grows_linearly_over_all_blocks() -> None:
    model = small(depths=(2, 3), drop_path=0.4)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_matrices_start_as_torchs_linear_maps_do() -> None:
    model = small(img_size=64)
    for stage in model.stages:
        weight = stage.blocks[0].mix.channel.weight.detach()
        bound = weight.shape[1] ** -0.5
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("values", "what", "hint"),
    [
        (dict(img_size=18), "not a multiple of the last stage's patch of 4 pixels, so the fully connected kernels", "16 or 20"),
        (dict(img_size=(16, 6)), "the fully connected kernels of a stage would not fit its grid", "4 or 8"),
        (dict(dim=3), "dim=3", "≥ 4"),
        (dict(sharesets=(2, 5)), "sharesets[1]=5 does not divide the 16 channels of stage 2", "use sharesets[1]=4"),
        (dict(sharesets=(2,)), "sharesets=(2,) does not fit 2 stages", "2 values"),
        (dict(kernels=(1, 2)), "kernels=(1, 2) are not different odd numbers", "kernels=(1, 3)"),
        (dict(kernels=(3, 3)), "kernels=(3, 3) are not different odd numbers", "kernels=(1, 3)"),
        (dict(kernels=()), "kernels=() is not a list", "kernels as"),
        (dict(form="deploy"), "form='deploy' is not known", "did you mean deployed?"),
    ],
)
def test_impossible_values_are_refused_with_a_hint(values: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        small(**values)
    assert what in error.value.what
    assert hint in error.value.hint

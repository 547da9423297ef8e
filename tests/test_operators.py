"""The matrices that are read are those that act: each is compared with what an impulse does."""

import pytest
import torch
from torch import Tensor

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.operators import WITHOUT, Mixing, token_mixing
from contract import SMALL, build

READ = sorted(name for name in SMALL if not name.startswith(tuple(WITHOUT)) or name.startswith("resmlp"))


def one_of(family: str) -> ImageModel:
    return build(next(name for name in SMALL if name.startswith(family)))


def by_name(model: ImageModel) -> dict[tuple[str, str], Mixing]:
    return {(mixing.name, mixing.axis): mixing for mixing in token_mixing(model)}


@pytest.mark.parametrize("name", READ)
def test_every_family_with_matrices_has_square_ones_for_each_block(name: str) -> None:
    model = build(name)
    found = token_mixing(model)
    blocks = {n for n, m in model.named_modules() if any(m is block for block in model.blocks_of())}
    assert blocks <= {mixing.name for mixing in found}
    parameters = dict(model.named_parameters())
    for mixing in found:
        places = mixing.grid[0] * mixing.grid[1]
        assert mixing.matrices.shape[1:] == ((1 if mixing.kind == "class" else places), places)
        assert mixing.matrices.dtype == torch.float64
        if model.family != "repmlpnet":
            assert set(mixing.weights) <= set(parameters)


@pytest.mark.parametrize("family", sorted(set(WITHOUT) - {"resmlp"}))
def test_a_model_without_matrices_says_what_it_has_instead(family: str) -> None:
    with pytest.raises(ModelError, match="has no token-mixing matrices") as error:
        token_mixing(one_of(family))
    assert WITHOUT[family] in error.value.what


@pytest.mark.parametrize("mixing", ["none", "conv3x3", "depthwise3x3", "separable"])
def test_ablations_of_resmlp_without_a_matrix_say_so(mixing: str) -> None:
    with pytest.raises(ModelError, match="a convolution, or nothing"):
        token_mixing(build("resmlp_xs", token_mixing=mixing))


@pytest.mark.parametrize("size", [(16, 24), (24, 8)])
def test_resmlp_matrix_is_what_an_impulse_spreads(size: tuple[int, int]) -> None:
    model = build("resmlp_xs", img_size=size)
    (first, *_) = token_mixing(model)
    assert first.grid == (size[0] // 4, size[1] // 4)
    block = model.blocks[0]
    impulse = torch.eye(first.grid[0] * first.grid[1])[:, :, None].expand(-1, -1, 3)  # one picture for each place
    spread = block.token_mix(impulse) - block.token_mix(torch.zeros_like(impulse))
    torch.testing.assert_close(spread[..., 0].T.double(), first.matrix, atol=1e-6, rtol=0)


def test_smlpnet_axes_are_named_by_what_they_mix() -> None:
    found = by_name(build("smlpnet_xs", img_size=(16, 32)))
    assert found["stages.0.blocks.0", "rows"].grid[1] == 1
    assert found["stages.0.blocks.0", "columns"].grid[0] == 1
    assert found["stages.0.blocks.0", "columns"].grid[1] == 2 * found["stages.0.blocks.0", "rows"].grid[0]


def influence(mix: object, x: Tensor, place: tuple[int, ...], axis: int) -> list[int]:
    """At which positions along an axis the output changes when one entry of the input does."""
    changed = x.clone()
    changed[place] += 1
    difference = (mix(changed) - mix(x)).abs()  # type: ignore[operator]
    return difference.transpose(0, axis).flatten(1).amax(1).gt(1e-6).nonzero().flatten().tolist()


def test_vip_matrices_are_zero_where_no_pair_of_channels_is_connected() -> None:
    model = one_of("vip")
    name = "stages.0.blocks.0"
    mix = model.get_submodule(name).token_mix.along_rows
    side = mix.cells
    width = mix.in_features // side
    with torch.no_grad():
        mix.weight.unflatten(1, (side, width)).unflatten(0, (side, width))[1, :, 0] = 0
        mix.weight.unflatten(1, (side, width)).unflatten(0, (side, width))[0, :, 0] = 2
    matrix = by_name(model)[name, "rows"].matrix
    assert matrix[1, 0] == 0
    assert matrix[0, 0] == 2
    x = torch.zeros(1, side, side, mix.in_features // side * mix.segments)
    assert influence(mix, x, (0, 0, 1, 0), 1) == [i for i in range(side) if i != 1]


def test_raftmlp_matrices_are_zero_where_no_pair_of_rafts_is_connected() -> None:
    model = one_of("raftmlp")
    name = "stages.0.blocks.0"
    mix = model.get_submodule(name).vertical
    side = mix.mlp.fc1.in_features // mix.rafts
    with torch.no_grad():
        mix.mlp.fc1.weight.unflatten(1, (mix.rafts, side))[:, :, 0] = 0  # row 0 of every raft is not seen
    matrix = by_name(model)[name, "rows"].matrix
    assert matrix[:, 0].abs().max() == 0
    assert matrix[:, 1].abs().min() > 0


def test_class_tokens_have_no_place_on_the_grid() -> None:
    model = one_of("ffonly")
    first = token_mixing(model)[0]
    weight = model.blocks[0].token_mlp.fc1.weight
    assert first.units is not None
    assert torch.equal(first.units, weight[:, 1:].double())
    gathers = [m for m in token_mixing(build("resmlp_s12_class")) if m.kind == "class"]
    assert [m.name for m in gathers] == ["class_blocks.0", "class_blocks.1"]


def test_repmlpnet_is_read_in_its_deployed_form() -> None:
    model = one_of("repmlpnet")
    mixing = next(m for m in token_mixing(model) if m.name == "stages.1.blocks.0")
    block = model.eval().get_submodule(mixing.name)
    sets, places = mixing.matrices.shape[:2]
    impulse = torch.eye(places).reshape(places, 1, *mixing.grid).expand(-1, sets, -1, -1)
    with torch.no_grad():
        spread = block.mix(impulse) - block.mix(torch.zeros_like(impulse))
    torch.testing.assert_close(spread.flatten(2).permute(1, 2, 0).double(), mixing.matrices, atol=1e-5, rtol=0)


def test_names_on_devices_without_numbers_are_not_needed() -> None:
    assert token_mixing(create_model("resmlp_xs").half())[0].matrix.dtype == torch.float64

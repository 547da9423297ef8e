"""Across layers: ResMLP's product of matrices, and receptive fields of every family."""

import pytest
import torch

from allmlp.errors import ModelError
from allmlp.explanation.path import linear_path
from allmlp.explanation.receptive import reach, receptive_field, shown_steps, step_names
from contract import SMALL, build, images


def test_the_linear_path_is_the_network_without_its_channel_mlps() -> None:
    model = build("resmlp_xs", img_size=(16, 24), depth=3).double()
    torch.manual_seed(4)
    with torch.no_grad():
        for block in model.blocks:
            block.token_norm.alpha.normal_()
            block.token_scale.gamma.normal_()
            block.channel_mlp.fc2.weight.zero_()
            block.channel_mlp.fc2.bias.zero_()
    x = torch.randn(1, 24, 8).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: model.blocks[1](model.blocks[0](x)), x)[0, :, :, 0]  # n c n c
    by_hand = torch.stack([jacobian[:, c, :, c] for c in range(8)]).mean(0)
    torch.testing.assert_close(linear_path(model, channels=None)[1], by_hand, atol=1e-12, rtol=0)


def test_a_model_that_moves_every_token_by_one_moves_it_by_its_depth() -> None:
    model = build("resmlp_xs", depth=2)
    places = model.tokens
    with torch.no_grad():
        for block in model.blocks:  # I + 1 · (S - I) = S
            block.token_mix.weight.copy_(torch.eye(places).roll(1, 1) - torch.eye(places))
            block.token_scale.gamma.fill_(1)
    assert torch.equal(linear_path(model)[1], torch.eye(places).roll(2, 1).double())


@pytest.mark.parametrize("values", [{"token_mixing": "none"}, {"norm": "layernorm"}])
def test_other_mixing_has_no_linear_path(values: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="no linear path"):
        linear_path(build("resmlp_xs", **values))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_family_has_a_receptive_field_that_sums_to_one(name: str) -> None:
    model = build(name).train()
    fields = receptive_field(model, images(model))
    assert model.training
    assert fields.shape == (len(model.steps()), *model.img_size)
    torch.testing.assert_close(fields.sum((1, 2)), torch.ones(len(fields)).double())
    assert len(step_names(model)) == len(fields)


def test_without_token_mixing_a_feature_sees_its_own_patch_alone() -> None:
    model = build("resmlp_xs", token_mixing="none", img_size=(16, 24))
    (field, _) = receptive_field(model, images(model))
    seen = field.nonzero()
    assert seen.amin(0).tolist() == [8, 12]
    assert seen.amax(0).tolist() == [11, 15]


def test_reach_by_hand() -> None:
    field = torch.zeros(4, 4).double()
    field[2, 2] = field[2, 3] = field[3, 2] = field[3, 3] = 0.25
    found = reach("s", field, (2, 2))
    assert found.distance == pytest.approx(0.5**0.5)  # from the middle of the lower right patch to its pixels' middles
    assert found.half_area == 2 / 16
    assert reach("s", torch.full((4, 4), 1 / 16).double(), (2, 2)).half_area == 0.5


def test_of_many_steps_the_first_and_the_last_are_shown() -> None:
    assert shown_steps(build("resmlp_xs", depth=12), 4) == [0, 4, 7, 11]
    assert shown_steps(build("resmlp_xs", depth=1)) == [0]

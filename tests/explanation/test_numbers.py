"""One row of numbers for each layer."""

import math

import pytest
import torch

from allmlp.explanation.numbers import by_axis, mixing_numbers
from allmlp.operators import Mixing, token_mixing
from contract import build


def test_the_numbers_of_an_identity_and_a_shift_are_means_over_both_sets() -> None:
    eye = torch.eye(4).double()
    shift = torch.diag(torch.ones(3), 1).double()
    layer = Mixing(name="x", kind="tokens", axis="grid", grid=(1, 4), matrices=torch.stack([eye, 2 * shift]), weights=())
    row = mixing_numbers(layer)
    assert row.sets == 2
    assert row.radius == (0 + 3 / 4) / 2  # three of the shift's rows reach one patch, one gathers nothing
    assert row.locality == (1 + 3 / 4) / 2
    assert row.symmetry == (1 + 0) / 2
    assert row.sparsity == pytest.approx((12 / 16 + 13 / 16) / 2)
    assert row.rank == 3.5
    assert row.effective_rank == pytest.approx(3.5)
    assert row.largest == 2
    assert row.even_radius == pytest.approx((6 + 4 + 4 + 6) / 16)


def test_layers_of_one_axis_are_together_and_class_tokens_have_no_radius() -> None:
    rows = [mixing_numbers(layer) for layer in token_mixing(build("smlpnet_xs"))]
    assert {axis: len(layers) for axis, layers in by_axis(rows).items()} == {"rows": 3, "columns": 3}
    rows = [mixing_numbers(layer) for layer in token_mixing(build("resmlp_s12_class"))]
    assert [row.radius is None for row in rows] == [False, False, True, True]
    assert len(by_axis(rows)["grid"]) == 2
    assert all(row.symmetry is None for row in rows[2:])
    assert not math.isnan(rows[0].effective_rank)

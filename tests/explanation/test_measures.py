"""Numbers of a token-mixing matrix, by hand."""

import math

import pytest
import torch
from torch import Tensor

from allmlp.errors import ShapeError
from allmlp.explanation.measures import distances, effective_rank, locality, mixing_radius, rank, sparsity, symmetry
from allmlp.explanation.units import mean_frequency, opposing_pairs


def shift(rows: int, columns: int, down: int = 0, right: int = 0) -> Tensor:
    """Place (y, x) takes what lies at (y + down, x + right); nothing comes in over the edge."""
    matrix = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for y in range(rows - down):
        for x in range(columns - right):
            matrix[y * columns + x, (y + down) * columns + x + right] = 1
    return matrix


def test_the_identity_gathers_from_nowhere_else() -> None:
    eye = torch.eye(12).double()
    assert mixing_radius(eye, (3, 4)).tolist() == [0] * 12
    assert locality(eye, (3, 4)).tolist() == [1] * 12


def test_a_shift_by_one_has_radius_one_and_its_empty_rows_none() -> None:
    assert mixing_radius(shift(1, 4, right=1), (1, 4)).tolist() == [1, 1, 1, 0]
    assert mixing_radius(shift(3, 2, down=1), (3, 2)).tolist() == [1, 1, 1, 1, 0, 0]


def test_distance_is_measured_on_the_grid_and_not_along_the_tokens() -> None:
    assert mixing_radius(shift(3, 4, down=1, right=1), (3, 4))[0] == pytest.approx(math.sqrt(2))
    assert mixing_radius(shift(4, 5, down=3), (4, 5))[2] == 3
    assert distances((2, 3))[0].tolist() == pytest.approx([0, 1, 2, 1, math.sqrt(2), math.sqrt(5)])


def test_the_radius_weighs_entries_by_their_size_and_not_their_sign() -> None:
    matrix = torch.tensor([[1.0, -3.0, 0.0], [0.0, 2.0, 0.0], [4.0, 0.0, -4.0]])
    assert mixing_radius(matrix, (1, 3)).tolist() == [0.75, 0, 1]
    assert torch.equal(mixing_radius(5 * matrix, (1, 3)), mixing_radius(matrix, (1, 3)))


def test_equal_weights_on_three_by_three_are_local_by_the_size_of_the_neighbourhood() -> None:
    shares = locality(torch.ones(9, 9), (3, 3)).tolist()
    assert shares == pytest.approx([4 / 9, 6 / 9, 4 / 9, 6 / 9, 1, 6 / 9, 4 / 9, 6 / 9, 4 / 9])
    assert locality(shift(1, 5, right=2), (1, 5)).tolist() == [0] * 5
    assert locality(shift(1, 5, right=2), (1, 5), reach=2).tolist() == [1, 1, 1, 0, 0]


def test_symmetry_is_one_for_symmetric_and_minus_one_for_antisymmetric_matrices() -> None:
    upper = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    assert symmetry(upper + upper.T) == 1
    assert symmetry(upper - upper.T) == -1
    assert symmetry(upper) == 0
    assert symmetry(torch.tensor([[1.0, 1.0], [0.0, 1.0]])) == pytest.approx(2 / 3)
    assert symmetry(torch.zeros(2, 2)) == 0


def test_sparsity_counts_entries_below_five_percent_of_the_largest() -> None:
    assert sparsity(torch.tensor([[-100.0, 5.0], [4.9, 0.0]])) == 0.5
    assert sparsity(torch.eye(4)) == 0.75
    assert sparsity(torch.zeros(3, 3)) == 1


def test_ranks_of_an_outer_product_an_identity_and_zeros() -> None:
    outer = torch.outer(torch.arange(1.0, 6), torch.arange(2.0, 7))
    assert rank(outer) == 1
    assert effective_rank(outer) == pytest.approx(1, abs=1e-6)
    assert rank(torch.eye(5)) == 5
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert rank(torch.zeros(3, 3)) == 0
    assert effective_rank(torch.zeros(3, 3)) == 0
    two = effective_rank(torch.diag(torch.tensor([3.0, 1.0])))
    assert two == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_a_grid_that_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match="a matrix of 6 × 6 does not fit a grid of 8 places"):
        mixing_radius(torch.ones(6, 6), (2, 4))


def wave(cycles: int, phase: float, side: int = 8) -> Tensor:
    """A cosine along the columns, the same in every row."""
    x = torch.arange(side, dtype=torch.float64)
    return torch.cos(2 * math.pi * cycles * x / side + phase).expand(side, side).flatten()


def test_frequency_is_in_cycles_per_patch() -> None:
    units = torch.stack([wave(1, 0.3), wave(4, 0.0), torch.full((64,), 7.0).double(), torch.zeros(64).double()])
    assert mean_frequency(units, (8, 8)).tolist() == pytest.approx([1 / 8, 1 / 2, 0, 0])
    chess = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double().flatten()[None]
    assert mean_frequency(chess, (2, 2)).item() == pytest.approx(math.sqrt(0.5))


def test_units_of_opposite_phase_are_paired_and_slow_pairs_come_first() -> None:
    units = torch.stack([wave(3, 0.2), wave(1, 0), -2 * wave(3, 0.2) + 1, wave(2, 0.5), -wave(1, 0), -wave(2, 0.5), wave(0, 0)])
    pairs, frequencies = opposing_pairs(units, (8, 8))
    assert [sorted(pair) for pair in pairs.tolist()] == [[1, 4], [3, 5], [0, 2]]
    assert frequencies.tolist() == pytest.approx([1 / 8, 2 / 8, 3 / 8])

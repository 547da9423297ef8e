"""Axial shifts, by impulses: which way each group of channels moves, and what comes in at the edge."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from allmlp.nn.shift import shift_columns, shift_rows

GRID = (7, 9)
MIDDLE = (3, 4)


Shift = Callable[[Tensor, int], Tensor]


def landed(shift: Shift, channels: int, size: int, at: tuple[int, int] = MIDDLE) -> list[tuple[int, int] | None]:
    """Where an impulse at (row, column) of every channel comes out; None where it left the grid."""
    x = torch.zeros(1, channels, *GRID)
    x[:, :, at[0], at[1]] = 1
    y = shift(x, size)
    assert y.shape == x.shape
    assert ((y == 0) | (y == 1)).all()
    spots = [channel.nonzero().tolist() for channel in y[0]]
    assert all(len(spot) <= 1 for spot in spots)
    return [tuple(spot[0]) if spot else None for spot in spots]


@pytest.mark.parametrize(
    ("channels", "size", "moves"),
    [
        (5, 5, [-2, -1, 0, 1, 2]),
        (10, 5, [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2]),
        (7, 3, [-1, -1, -1, 0, 0, 0, 1]),  # ceil(7 / 3) = 3 channels a group: the last is smaller
        (12, 5, [-2] * 3 + [-1] * 3 + [0] * 3 + [1] * 3),  # ceil(12 / 5) = 3: the fifth group is missing
        (2, 5, [-2, -1]),
        (4, 1, [0, 0, 0, 0]),
    ],
)
def test_group_g_moves_by_g_minus_half_the_size(channels: int, size: int, moves: list[int]) -> None:
    row, column = MIDDLE
    assert landed(shift_rows, channels, size) == [(row + move, column) for move in moves]
    assert landed(shift_columns, channels, size) == [(row, column + move) for move in moves]


def test_what_leaves_the_grid_does_not_come_back_and_zeros_come_in() -> None:
    assert landed(shift_rows, 5, 5, at=(0, 4)) == [None, None, (0, 4), (1, 4), (2, 4)]
    assert landed(shift_rows, 5, 5, at=(6, 4)) == [(4, 4), (5, 4), (6, 4), None, None]
    assert landed(shift_columns, 5, 5, at=(3, 8)) == [(3, 6), (3, 7), (3, 8), None, None]


@pytest.mark.parametrize(("shift", "axis"), [(shift_rows, 2), (shift_columns, 3)], ids=["rows", "columns"])
def test_a_shift_equals_torchs_roll_away_from_the_edges(shift: Shift, axis: int) -> None:
    x = torch.randn(2, 9, 12, 12)
    y = shift(x, 3)
    rolled = torch.cat([torch.roll(group, g - 1, axis) for g, group in enumerate(x.split(3, 1))], 1)
    assert torch.equal(y[:, :, 1:-1, 1:-1], rolled[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1)])
def test_a_grid_smaller_than_the_reach_keeps_its_size(grid: tuple[int, int]) -> None:
    x = torch.ones(1, 7, *grid)
    for shift, side in ((shift_rows, grid[0]), (shift_columns, grid[1])):
        y = shift(x, 7)
        assert y.shape == x.shape
        kept = [max(side - abs(g - 3), 0) * x[0, 0].numel() // side for g in range(7)]
        assert y.sum((0, 2, 3)).tolist() == kept


def test_gradients_are_the_shift_back() -> None:
    x = torch.randn(1, 5, 6, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: shift_columns(shift_rows(v, 3), 5), x)

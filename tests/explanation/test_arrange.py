"""Where each weight lies in the picture."""

import numpy as np
import pytest
import torch

from allmlp.explanation.arrange import Panel, common_limit, in_pairs, panels, path_panels, rows_on_grid, side_by_side
from allmlp.models import create_model
from allmlp.operators import token_mixing
from contract import build

GAP = np.nan


def test_each_row_is_a_tile_where_its_patch_lies() -> None:
    matrix = np.arange(16.0).reshape(4, 4)
    values, marks = rows_on_grid(matrix, (2, 2))
    expected = [[0, 1, GAP, 4, 5], [2, 3, GAP, 6, 7], [GAP] * 5, [8, 9, GAP, 12, 13], [10, 11, GAP, 14, 15]]
    np.testing.assert_array_equal(values, expected)
    assert marks.tolist() == [[0, 0], [0, 4], [4, 0], [4, 4]]


@pytest.mark.parametrize("grid", [(2, 3), (3, 2), (8, 8), (5, 9), (7, 1)])
def test_the_marks_lie_where_the_identity_is_one(grid: tuple[int, int]) -> None:
    places = grid[0] * grid[1]
    values, marks = rows_on_grid(np.eye(places), grid, most=4)
    assert sorted(map(tuple, np.argwhere(values == 1).tolist())) == sorted(map(tuple, marks.astype(int).tolist()))
    assert len(marks) == min(grid[0], 4) * min(grid[1], 4)


def test_central_patches_are_shown_of_a_large_grid() -> None:
    matrix = np.repeat(np.arange(9.0)[:, None], 9, axis=1)
    values, _ = rows_on_grid(matrix, (3, 3), most=1)
    assert set(values.flatten()) == {4}


def test_pairs_stand_side_by_side_in_reading_order() -> None:
    units = np.array([[0.0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5]])
    values = in_pairs(units, np.array([[3, 0], [1, 2], [5, 4]]), (2, 1), across=2)
    expected = [[3, GAP, 0, GAP, GAP, 1, GAP, 2]] * 2 + [[GAP] * 8] * 2 + [[5, GAP, 4] + [GAP] * 5] * 2
    np.testing.assert_array_equal(values, expected)


def test_matrices_of_unlike_height_stand_on_one_line() -> None:
    values = side_by_side([np.ones((2, 2)), np.full((3, 3), 2.0)])
    np.testing.assert_array_equal(values, [[1, 1, GAP, 2, 2, 2], [1, 1, GAP, 2, 2, 2], [GAP, GAP, GAP, 2, 2, 2]])


def test_one_scale_serves_all_panels_and_ignores_the_few_largest() -> None:
    def panel(values: object) -> Panel:
        return Panel(title="", note="", values=np.array(values), marks=np.empty((0, 2)))

    assert common_limit([panel([[1.0, GAP]]), panel([[-3.0]])]) == pytest.approx(2.99)
    assert common_limit([panel([[0.0]])]) == 1


def test_the_linear_path_is_shown_without_what_residual_connections_carry() -> None:
    path = torch.stack([torch.eye(4), 2 * torch.eye(4) + torch.ones(4, 4)]).double()
    first, last = path_panels(path, (2, 2), [0, 1])
    assert (first.title, last.title) == ("after block 1", "after block 2")
    assert not np.nan_to_num(first.values).any()
    np.testing.assert_array_equal(last.values[:2], [[2, 1, GAP, 1, 2], [1, 1, GAP, 1, 1]])


def test_every_layer_has_a_panel_that_says_what_its_tiles_are() -> None:
    notes = {p.title: p.note for p in panels(token_mixing(build("resmlp_s12_class")))}
    assert notes["blocks.1"] == "what the 2 × 2 patches gather"
    assert notes["class_blocks.0"] == "what the class token gathers"
    mixer = create_model("mixer_xs", token_hidden=7)
    assert panels(token_mixing(mixer))[0].note == "3 of 3 pairs of units, slow ones first"
    smlp = panels(token_mixing(build("smlpnet_xs", img_size=(16, 32))))[0]
    assert smlp.note == "along the height, along the width"
    assert smlp.values.shape == (8, 4 + 1 + 8)

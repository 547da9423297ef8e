"""Core ML's operations, computed by torch, have the results that coremltools' documentation gives."""

from typing import Any

import pytest
import torch

from allmlp.exporting.mil import OPERATIONS

GRID = torch.arange(6.0).reshape(1, 1, 2, 3)


@pytest.mark.parametrize(
    ("name", "given", "due"),
    [
        ("pad", dict(x=torch.ones(1, 2), pad=[1, 0, 0, 2], mode="constant", constant_val=7.0), [[7, 7, 7, 7], [1, 1, 7, 7]]),
        ("slice_by_index", dict(x=GRID[0, 0], begin=[0, 1], end=[0, 0], end_mask=[True, True]), [[1, 2], [4, 5]]),
        ("slice_by_index", dict(x=GRID[0, 0], begin=[1, 0], end=[2, 3], squeeze_mask=[True, False]), [3, 4, 5]),
        ("slice_by_index", dict(x=GRID[0, 0], begin=[0, 0], end=[2, 3], stride=[1, 2]), [[0, 2], [3, 5]]),
        ("slice_by_index", dict(x=GRID[0, 0], begin=[0, -2], end=[1, 0], end_mask=[False, True]), [[1, 2]]),
        ("matmul", dict(x=GRID[0, 0], y=GRID[0, 0], transpose_x=False, transpose_y=True), [[5, 14], [14, 50]]),
        ("concat", dict(values=[torch.zeros(1, 1), torch.ones(1, 1)], axis=1), [[0, 1]]),
        ("transpose", dict(x=GRID[0, 0], perm=[1, 0]), [[0, 3], [1, 4], [2, 5]]),
        ("reduce_mean", dict(x=GRID, axes=[-2, -1], keep_dims=False), [[2.5]]),
        ("reduce_sum", dict(x=GRID[0, 0], axes=[0], keep_dims=True), [[3, 5, 7]]),
        ("gelu", dict(x=torch.tensor([-1.0, 1.0]), mode="EXACT"), [-0.15865525, 0.84134475]),
        ("softmax", dict(x=torch.tensor([[0.0, 0.0]]), axis=-1), [[0.5, 0.5]]),
        ("layer_norm", dict(x=torch.tensor([[1.0, 3.0]]), axes=[-1], epsilon=0.0), [[-1, 1]]),
        (
            "conv",
            dict(
                x=GRID,
                weight=torch.ones(1, 1, 2, 1),
                strides=[1, 1],
                dilations=[1, 1],
                groups=1,
                pad_type="custom",
                pad=[1, 0, 0, 1],
            ),
            [[[[0, 1, 2, 0], [3, 5, 7, 0]]]],
        ),
        (
            "max_pool",
            dict(x=-GRID, kernel_sizes=[2, 2], strides=[2, 2], pad_type="custom", pad=[0, 0, 0, 1], ceil_mode=False),
            [[[[0, -2]]]],
        ),
    ],
)
def test_an_operation_is_that_of_the_documentation(name: str, given: dict[str, Any], due: list[Any]) -> None:
    made = OPERATIONS[name](given)
    assert isinstance(made, torch.Tensor)
    torch.testing.assert_close(made, torch.tensor(due, dtype=torch.float32))


def test_splits_are_by_number_or_by_sizes() -> None:
    whole = torch.arange(6.0)
    for words, sizes in ((dict(num_splits=3), [2, 2, 2]), (dict(split_sizes=[1, 5]), [1, 5])):
        parts = OPERATIONS["split"]({"x": whole, "axis": 0, **words})
        assert [len(part) for part in parts] == sizes
        assert torch.equal(torch.cat(list(parts)), whole)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("conv", dict(x=GRID, weight=GRID, pad_type="same_lower")),
        ("pad", dict(x=GRID, pad=[0, 0], mode="reflect")),
        ("max_pool", dict(x=GRID, ceil_mode=True)),
        ("layer_norm", dict(x=GRID, axes=[1], epsilon=0.0)),
    ],
)
def test_what_cannot_be_computed_says_so(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be computed here"):
        OPERATIONS[name](given)

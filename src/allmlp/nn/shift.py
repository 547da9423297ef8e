"""Axial shifts: channels in groups, each group moved by another distance along one axis of the grid."""

# axes: b batch, c channels, y rows, x columns

import torch
from torch import Tensor
from torch.nn import functional as F


def shift_rows(x: Tensor, size: int) -> Tensor:  # b c y x → b c y x
    """Move channels down and up the height axis (AS-MLP): of `size` groups, group g goes down by
    g - size // 2 rows, and zeros come in.

    size: an odd number of groups; each has ceil(c / size) channels, so the last may be smaller or missing.
    """
    return _shift(x, size, 2)


def shift_columns(x: Tensor, size: int) -> Tensor:  # b c y x → b c y x
    """The same along the width axis: group g goes right by g - size // 2 columns."""
    return _shift(x, size, 3)


def _shift(x: Tensor, size: int, axis: int) -> Tensor:
    reach = size // 2
    padded = F.pad(x, (0, 0, reach, reach) if axis == 2 else (reach, reach))
    groups = padded.split(-(-x.shape[1] // size), 1)
    return torch.cat([group.narrow(axis, 2 * reach - g, x.shape[axis]) for g, group in enumerate(groups)], 1)

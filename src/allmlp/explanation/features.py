"""Feature maps: what channels of a step show of one picture."""

# axes: s steps, c channels, f channels that are shown, y x rows and columns of a step's grid

from collections.abc import Sequence

import torch
from torch import Tensor

from allmlp.models.base import ImageModel

MOST = 16
"""Channels that are shown of each step."""


@torch.no_grad()
def feature_maps(
    model: ImageModel, image: Tensor, steps: Sequence[int], most: int = MOST
) -> list[Tensor]:  # c h w → s of f y x
    """The channels that vary most over the picture, most first, each about its mean and scaled to at most ±1.

    steps: numbers of the model's steps. Channels that do not vary are zeros.
    """
    shown = model.forward_intermediates(image[None], indices=list(steps), intermediates_only=True)
    return [liveliest(grid[0].double().cpu(), most) for grid in shown]


def liveliest(maps: Tensor, most: int) -> Tensor:  # c y x → f y x
    """The maps with the greatest standard deviation, centred and scaled to at most ±1."""
    centred = maps - maps.mean((1, 2), keepdim=True)
    order = centred.square().mean((1, 2)).argsort(descending=True, stable=True)[:most]
    chosen = centred[order]
    size = chosen.abs().amax((1, 2), keepdim=True)
    return chosen / size.clamp(min=torch.finfo(chosen.dtype).tiny)

"""Effective receptive fields: which pixels a feature in the middle depends on, by gradients (Luo et al., 2016)."""

# axes: b batch, s steps, c channels, h w pixels, y x rows and columns of a step's grid

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from allmlp.models.base import ImageModel

MOST_STEPS = 6
"""Steps that are shown, of more as many at even distances, with the first and the last."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far a step's middle feature sees."""

    step: str
    distance: float
    """Mean distance of the pixels it depends on from the middle of its own patch, in pixels."""
    half_area: float
    """The smallest share of the picture's pixels that holds half of the dependence, in (0, 1]; 0.5 when all count alike."""


def shown_steps(model: ImageModel, most: int = MOST_STEPS) -> list[int]:
    """Numbers of the steps to show."""
    count = len(model.steps())
    return sorted({round(i * (count - 1) / max(min(most, count) - 1, 1)) for i in range(min(most, count))})


def receptive_field(model: ImageModel, images: Tensor, steps: Sequence[int] | None = None) -> Tensor:  # b c h w → s h w
    """Mean size of the gradient of the middle feature, summed over its channels, with respect to each pixel.

    steps: which of `model.steps()`; all unless given. Of an even grid the middle is the place right below it. Each field
    sums to 1, or is zeros where the feature depends on no pixel. The model's mode is put back.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            images = images.detach().clone().requires_grad_()
            taken = list(range(len(model.steps()))) if steps is None else list(steps)
            fields = []
            for grid in model.forward_intermediates(images, indices=taken, intermediates_only=True):
                middle = grid[:, :, grid.shape[2] // 2, grid.shape[3] // 2].sum()
                (gradient,) = torch.autograd.grad(middle, images, retain_graph=True)
                fields.append(gradient.abs().double().sum(1).mean(0).cpu())
    finally:
        model.train(was_training)
    field = torch.stack(fields)
    return field / field.sum((1, 2), keepdim=True).clamp(min=torch.finfo(field.dtype).tiny)


def reach(step: str, field: Tensor, grid: tuple[int, int]) -> Reach:  # h w
    """The numbers of one field, whose step has this grid."""
    height, width = field.shape
    middle = ((grid[0] // 2 + 0.5) * height / grid[0], (grid[1] // 2 + 0.5) * width / grid[1])
    y, x = (torch.arange(side, dtype=torch.float64) + 0.5 - at for side, at in zip((height, width), middle, strict=True))
    distance = float((field * torch.hypot(y[:, None], x[None])).sum())
    summed = field.flatten().sort(descending=True).values.cumsum(0)
    half = int((summed < 0.5 * summed[-1] * (1 - 1e-9)).sum()) + 1
    return Reach(step=step, distance=distance, half_area=half / field.numel())


def step_names(model: ImageModel) -> list[str]:
    """Their names in the model, such as "blocks.0" and "stages.1"."""
    known = {id(module): name for name, module in model.named_modules()}
    return [known[id(step)] for step in model.steps()]

"""What in a picture speaks for a class: by patches, by gradients, and by covering patches up."""

# axes: b batch, n tokens, c channels, k classes, h w pixels, y x rows and columns of a grid, t points of a path

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.base import ImageModel
from allmlp.operators import Grid

POINTS = 64
"""Points of the path of integrated gradients."""
AT_ONCE = 32
"""Pictures that go through the model together."""


@torch.no_grad()
def patch_evidence(model: ImageModel, image: Tensor) -> tuple[Tensor, Tensor]:  # c h w → k y x, k
    """Each logit as an exact sum: a share for each final token, where it stands on the grid, and the head's bias.

    A model that pools by the mean has logits W · mean(z) + b, so token n gives W · zₙ / n. It has seen other patches too:
    where its evidence stands is not always where it was gathered. Raises ModelError for other pooling, such as class tokens.
    """
    tokens, (last,) = model.forward_intermediates(image[None], indices=1)
    if not isinstance(model.head, nn.Linear) or not torch.equal(model.pool(tokens), tokens.mean(1)):
        raise ModelError(
            f"the logits of {model.name or model.family} are no sum over patches",
            hint="use integrated_gradients or occlusion, which ask for nothing",
        )
    shares = tokens[0] @ model.head.weight.T / tokens.shape[1]  # n k
    bias = model.head.bias if model.head.bias is not None else shares.new_zeros(model.num_classes)
    return shares.T.unflatten(1, last.shape[2:]), bias.detach()


def step_evidence(model: ImageModel, image: Tensor, label: int) -> list[Tensor]:  # c h w → of each step y x
    """At every step its output times the logit's gradient there, summed over channels: first order around what the step has
    found, where it stands on the step's grid. Of a ResMLP's last step, up to the norm's shift and the head's bias, these are
    the exact shares of `patch_evidence`.
    """
    with torch.enable_grad():
        x: Any = model.begin(image[None].detach().clone().requires_grad_())
        found = []
        for step in model.steps():
            x = step(x)
            found.append(x)
        logit = model.forward_head(model.end(x))[0, label]
        products = [_times_gradient(x, logit) for x in found]
    return [model.grid_view(x).sum(1)[0].detach() for x in products]


def _times_gradient(x: Any, logit: Tensor) -> Any:  # the steps' own layout, kept
    """A tensor, or a tuple of tensors of which some may be missing, times the logit's gradient there."""
    if x is None:
        return None
    if isinstance(x, tuple):
        return type(x)(*(_times_gradient(part, logit) for part in x))
    (gradient,) = torch.autograd.grad(logit, x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else x * gradient


def gradient_times_input(model: ImageModel, image: Tensor, label: int) -> Tensor:  # c h w → h w
    """The gradient of a logit times the normalised pixels, summed over channels: first order around the picture."""
    return (_gradients(model, image[None], label)[0] * image).sum(0).detach()


def integrated_gradients(model: ImageModel, image: Tensor, label: int, *, points: int = POINTS) -> Tensor:  # c h w → h w
    """Gradients along the straight path from the mean colour to the picture, times the way, summed over channels.

    They sum to the logit's difference between the two, up to the number of points (completeness; Sundararajan et al., 2017).
    """
    along = (torch.arange(points, dtype=image.dtype, device=image.device) + 0.5) / points
    path = along[:, None, None, None] * image  # normalised pixels of the mean colour are 0
    total = sum((_gradients(model, part, label).sum(0) for part in path.split(AT_ONCE)), torch.zeros_like(image))
    return (total / points * image).sum(0).detach()


@torch.no_grad()
def occlusion(model: ImageModel, image: Tensor, label: int, grid: Grid) -> Tensor:  # c h w → y x
    """How far a logit falls when a cell of the grid is covered with the mean colour: positive where the cell speaks for it."""
    rows, columns = (edges(side, cells) for side, cells in zip(image.shape[1:], grid, strict=True))
    covered = image.expand(grid[0] * grid[1], *image.shape).clone()
    for place, one in enumerate(covered):
        y, x = divmod(place, grid[1])
        one[:, rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = 0
    logits = torch.cat([model(part)[:, label] for part in covered.split(AT_ONCE)])
    return (model(image[None])[0, label] - logits).unflatten(0, grid)


def per_cell(values: Tensor, grid: Grid) -> Tensor:  # h w → y x
    """Sums over the cells of a grid that is laid on the pixels."""
    rows, columns = (edges(side, cells) for side, cells in zip(values.shape, grid, strict=True))
    sums = [values[top:bottom, left:right].sum() for top, bottom in _spans(rows) for left, right in _spans(columns)]
    return torch.stack(sums).unflatten(0, grid)


def edges(side: int, cells: int) -> list[int]:
    """Where cells of nearly one size begin and end, in pixels."""
    return [round(i * side / cells) for i in range(cells + 1)]


def _spans(bounds: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(bounds))


def _gradients(model: ImageModel, images: Tensor, label: int) -> Tensor:  # b c h w → b c h w
    with torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(images)[:, label].sum(), images)
    return gradient

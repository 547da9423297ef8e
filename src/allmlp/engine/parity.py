"""How far an engine's answers are from the model's own."""

# axes: b images, c channels, h w pixels, k classes

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.engine.backends.base import Runner
from allmlp.engine.device import exact_products
from allmlp.models.base import ImageModel

PROBES = 8
COARSE = 7
"""Squares a side of the coarse half of a probe: networks look at shapes, and white noise has none."""
ALLOWED = {"fp32": 1e-4, "bf16": 0.1}
"""The largest deviation that is still rounding, by precision; int8 is judged by its decisions."""


@dataclass(frozen=True)
class Parity:
    """An engine beside its model in float32, on noise; in int8 on the calibration images that did not set it."""

    deviation: float
    """‖engine - model‖ / ‖model‖ over all logits."""
    agreement: float
    """Share of the images, in [0, 1], for which both decide on the same class."""
    points_lost: float | None = None
    """Of top-1 in percent, in int8; without labels the most it can be."""


def probes(model: ImageModel) -> Tensor:  # → b c h w
    """Coarse and fine noise, the same every time, as wide as normalised pixels are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(PROBES, model.in_chans, COARSE, COARSE, generator=generator)
    fine = torch.randn(PROBES, model.in_chans, *model.img_size, generator=generator)
    return F.interpolate(coarse, model.img_size) + 0.5 * fine


def parity(due: Tensor, got: Tensor) -> Parity:  # b k, b k
    """Of an engine's logits `got` with the model's `due`; infinite where the engine's are not finite, or of another shape."""
    if got.shape != due.shape or not got.isfinite().all():
        return Parity(float("inf"), 0.0)
    scale = due.norm().clamp_min(torch.finfo(due.dtype).tiny)
    return Parity(float((got - due).norm() / scale), float((got.argmax(1) == due.argmax(1)).float().mean()))


def in_float32(model: ImageModel, images: Tensor, batch: int) -> Tensor:  # b c h w → b k
    """What the model itself answers where it is, in evaluation mode; its mode is put back. Given where the images are."""
    was_training, place = model.training, next(model.parameters()).device
    model.eval()
    try:
        with exact_products(place):
            return in_parts(model, images.to(place), batch).to(images.device)
    finally:
        model.train(was_training)


def in_parts(run: Runner | Callable[[Tensor], Tensor], images: Tensor, batch: int) -> Tensor:  # b c h w → b k
    """A batch at a time, as it will be used."""
    with torch.inference_mode():
        return torch.cat([run(part) for part in images.split(batch)])

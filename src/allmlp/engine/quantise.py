"""int8 after training: the images it is set by, and what it may lose on others."""

# axes: b images, c channels, h w pixels, k classes

import hashlib
import logging
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.nn.patches import check_image

LEAST = 64
SETTING = 300
"""Images that set the ranges, at most: what NNCF looks at."""
MOST_LOST = 0.5
"""Points of top-1 that an int8 engine may lose on the images it was not set by."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images as the model takes them: some, evenly spaced, set the ranges; the rest are what is compared."""

    images: Tensor  # b c h w
    labels: Tensor | None  # b

    @cached_property
    def sets(self) -> Tensor:  # b
        """Which of the images set the ranges: half of them, and no more than SETTING."""
        chosen = torch.zeros(len(self.images), dtype=torch.bool)
        count = min(len(self.images) // 2, SETTING)
        chosen[torch.arange(count) * len(self.images) // count] = True
        return chosen

    @property
    def setting(self) -> Tensor:  # s c h w
        return self.images[self.sets]

    @property
    def compared(self) -> Tensor:  # b-s c h w
        return self.images[~self.sets]

    def digest(self) -> str:
        """Of the images and labels, for the name an engine is kept under."""
        found = hashlib.sha256(np.ascontiguousarray(self.images.numpy()).tobytes())
        found.update(b"" if self.labels is None else self.labels.numpy().tobytes())
        return found.hexdigest()

    def points_lost(self, due: Tensor, got: Tensor) -> float:  # b-s k, b-s k
        """Of top-1 in percent, `got` against `due`; without labels the most it can be: the share decided otherwise."""
        if self.labels is None:
            return 100 * float((got.argmax(1) != due.argmax(1)).double().mean())
        labels = self.labels[~self.sets]
        return 100 * float(((due.argmax(1) == labels).double() - (got.argmax(1) == labels).double()).mean())

    def refuse_loss(self, points: float) -> None:
        """Raises EngineError with the figure where too much is lost."""
        if points <= MOST_LOST:
            return
        of, count = "decides otherwise on" if self.labels is None else "loses", int((~self.sets).sum())
        hint = "give labels, by which the loss itself is known, or " if self.labels is None else ""
        raise EngineError(
            f"int8 {of} {points:.2f} % of {count} images; {MOST_LOST} % are allowed", hint=f'{hint}use precision "bf16"'
        )


def calibration(model: ImageModel, images: Tensor | None, labels: Tensor | None) -> Calibration:
    """Checked. Raises EngineError and ShapeError for what cannot set an int8 engine."""
    if images is None:
        raise EngineError(
            "int8 is set by images, and none were given", hint="give calibration=, 1,000 images as the model takes"
        )
    if not model.num_classes:
        raise EngineError("int8 is judged by decisions, and the model has no classes", hint='use precision "bf16" for features')
    check_image(images, model.img_size, model.in_chans)
    if len(images) < LEAST or not images.is_floating_point() or not images.isfinite().all():
        raise EngineError(
            f"calibration is {len(images)} images of {images.dtype}",
            hint=f"give {LEAST} or more finite ones as the model's preprocessing makes them",
        )
    if labels is not None:
        _check(labels, len(images), model.num_classes)
        labels = labels.detach().cpu().long()
    return Calibration(images.detach().cpu().float().contiguous(), labels)


def _check(labels: Tensor, images: int, classes: int) -> None:
    if labels.shape != (images,) or labels.is_floating_point():
        raise EngineError(
            f"labels are {tuple(labels.shape)} of {labels.dtype} for {images} images", hint="give one whole number an image"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise EngineError(
            f"labels go from {int(labels.min())} to {int(labels.max())}; the model has {classes} classes", hint="count from 0"
        )


def by_nncf(made: Any, samples: Iterable[Tensor]) -> Any:
    """An OpenVINO model in int8; each sample is what it takes."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr), torch.inference_mode():  # its bars belong on stderr
        return nncf.quantize(made, nncf.Dataset(samples, lambda image: image.numpy()))

"""One picture after another: what the model says of it, and what in it speaks for that."""

# axes: k classes, h w pixels, y x rows and columns of the last grid

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.engine.infer import why_not_finite
from allmlp.errors import ModelError
from allmlp.explanation.evidence import integrated_gradients, occlusion, patch_evidence, per_cell
from allmlp.explanation.features import feature_maps
from allmlp.models.base import ImageModel
from allmlp.pixels.read import UnreadableImage, read_image

CLASSES = 2
"""The most probable classes whose evidence is shown."""


@dataclass(frozen=True, kw_only=True)
class ClassEvidence:
    """What speaks for and against one class, each map on the grid of the last step."""

    name: str
    probability: float
    logit: float
    patches: Tensor | None  # y x
    """The logit's exact shares, for models that pool by the mean."""
    bias: float | None
    """The head's part of the logit: patches and bias sum to it."""
    gradients: Tensor  # y x
    """Integrated gradients, summed over each cell's pixels."""
    gap: float
    """Integrated gradients' sum less the logit's difference from the mean colour: 0 for infinitely many points."""
    occlusion: Tensor  # y x
    """How far the logit falls when the cell is covered."""

    def record(self) -> dict[str, Any]:
        """For JSON."""
        maps = {"patches": self.patches, "gradients": self.gradients, "occlusion": self.occlusion}
        lists = {name: None if grid is None else grid.tolist() for name, grid in maps.items()}
        numbers = {"class": self.name, "probability": self.probability, "logit": self.logit, "bias": self.bias, "gap": self.gap}
        return numbers | lists


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as the model sees it, and the evidence in it."""

    path: str
    pixels: NDArray[np.uint8]  # h w 3
    classes: list[ClassEvidence]
    """Most probable first."""
    features: list[Tensor]
    """Of each shown step f y x."""


def explain_pictures(model: ImageModel, paths: Iterable[str], steps: list[int]) -> Iterator[Picture | UnreadableImage]:
    """Each picture's explanation, or why it has none: it cannot be read, or its logits are not finite. steps: whose feature
    maps are kept.

    Raises ModelError for pictures and a model without classes.
    """
    model.eval()
    weight = next(model.parameters())
    for path in paths:
        if not model.num_classes:
            raise ModelError(
                "this model has no classes that a picture could speak for (num_classes=0)",
                hint="explain it without pictures, or learn classes first: allmlp train DATA --init RUN",
            )
        try:
            image = model.preprocessing(read_image(path, model.reading)).to(weight)
        except UnreadableImage as error:
            yield error
            continue
        classes = _classes(model, image)
        if not all(math.isfinite(found.logit + found.gap) for found in classes):  # the largest logits: NaN counts as one
            yield UnreadableImage(path, why_not_finite(image))
            continue
        maps = feature_maps(model, image, steps)
        yield Picture(path=path, pixels=seen(model, image), classes=classes, features=maps)


def _classes(model: ImageModel, image: Tensor) -> list[ClassEvidence]:
    with torch.no_grad():
        logits, plain = model(torch.stack([image, torch.zeros_like(image)]))
        grid = model.forward_intermediates(image[None], indices=1, intermediates_only=True)[0].shape[2:]
    probabilities = logits.softmax(-1)
    names = model.classes or tuple(f"class {i}" for i in range(model.num_classes))
    shares, bias = _exact(model, image)
    found = []
    for label in logits.topk(min(CLASSES, len(names))).indices.tolist():
        along = integrated_gradients(model, image, label).double()
        found.append(
            ClassEvidence(
                name=names[label],
                probability=float(probabilities[label]),
                logit=float(logits[label]),
                patches=None if shares is None else shares[label].double().cpu(),
                bias=None if bias is None else float(bias[label]),
                gradients=per_cell(along.cpu(), tuple(grid)),
                gap=float(along.sum()) - float(logits[label] - plain[label]),
                occlusion=occlusion(model, image, label, tuple(grid)).double().cpu(),
            )
        )
    return found


def _exact(model: ImageModel, image: Tensor) -> tuple[Tensor | None, Tensor | None]:  # k y x, k
    """The shares of patches, where there are any."""
    try:
        return patch_evidence(model, image)
    except ModelError:
        return None, None


def seen(model: ImageModel, image: Tensor) -> NDArray[np.uint8]:  # c h w → h w 3
    """A preprocessed picture as colours again."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (model.preprocessing.mean, model.preprocessing.std))
    pixels = (image.float().cpu() * std + mean).clamp(0, 1).mul(255).round().byte()
    return pixels.expand(3, -1, -1).permute(1, 2, 0).numpy()

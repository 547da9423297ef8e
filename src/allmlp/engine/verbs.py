"""`allmlp.fold`, `allmlp.resize` and `allmlp.load_weights`, of models and of whatever else `allmlp.load` takes."""

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from allmlp.engine.load import ModelSource, load, located
from allmlp.models.base import ImageModel
from allmlp.run import Run
from allmlp.surgery import fold as folding
from allmlp.surgery import resize as resizing
from allmlp.weights.load import load_weights as load_tensors


def as_model(source: ModelSource) -> ImageModel:
    """A model as it is, in whatever mode; else what `allmlp.load` makes of it."""
    return source if isinstance(source, ImageModel) else load(source)


def fold(model: ModelSource) -> ImageModel:
    """A copy of a model for inference, with the same logits to rounding and fewer operations and parameters.

    model: a model, or whatever else `allmlp.load` takes. What disappears, and what stays, says `allmlp.surgery.fold.fold`.
    """
    return folding.fold(as_model(model))


def resize(
    model: ModelSource,
    img_size: int | tuple[int, int],
    method: str = "interpolate",
    *,
    kernel: str | None = None,
    patches: str | None = None,
) -> ImageModel:
    """A copy of a model for images of `img_size`: (height, width) in pixels, or one number for both sides.

    model: a model, or whatever else `allmlp.load` takes. method, kernel, patches: as for `allmlp.surgery.resize.resize`.
    Raises ModelError for a size that the family cannot have, and for folded models.
    """
    return resizing.resize(as_model(model), img_size, method, kernel=kernel, patches=patches)


def load_weights(model: nn.Module, source: Mapping[str, Any] | str | os.PathLike[str] | Run) -> str:
    """Load weights in place, from allmlp's own layout, the official releases', or timm's.

    source: a state dict; a file (safetensors, `.pth` without code, Google's `.npz`); a run, or its folder, whose best weights
    are meant.
    Returns the name of the layout that was recognised. Raises WeightsError that lists every missing, unexpected and misshaped
    tensor; the model is then left as it was. One on the meta device gets memory once all fits.
    """
    if isinstance(source, Run) or (isinstance(source, str | os.PathLike) and os.path.isdir(source)):  # noqa: PTH112
        return load_tensors(model, located(source)[0])
    return load_tensors(model, source)

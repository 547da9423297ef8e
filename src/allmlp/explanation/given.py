"""What `allmlp.explain` takes in place of a model and of a tensor: runs by path or name, and images as files or pixels."""

# axes: b images, c channels, h w pixels

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from allmlp.engine.load import ModelSource
from allmlp.engine.verbs import as_model
from allmlp.errors import ModelError, ShapeError
from allmlp.models.base import ImageModel
from allmlp.pixels.given import Given

P = ParamSpec("P")
R = TypeVar("R")


def of_a_model(function: Callable[Concatenate[ImageModel, P], R]) -> Callable[Concatenate[ModelSource, P], R]:
    """The function, which also takes whatever `allmlp.load` takes in the model's place."""

    @wraps(function)
    def loaded(model: ModelSource, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(as_model(model), *args, **kwargs)

    return loaded


def of_an_image(
    function: Callable[Concatenate[ImageModel, Tensor, P], R],
) -> Callable[Concatenate[ModelSource, Tensor | Given, P], R]:
    """The function, which also takes a run in the model's place, and an image or its file in the tensor's."""

    @wraps(function)
    def loaded(model: ModelSource, image: Tensor | Given, /, *args: P.args, **kwargs: P.kwargs) -> R:
        opened = as_model(model)
        for label in (*args[:1], *(kwargs[name] for name in ("label",) if name in kwargs)):
            _check_label(opened, label)
        return function(opened, prepared_image(opened, image), *args, **kwargs)

    return loaded


def of_images(
    function: Callable[Concatenate[ImageModel, Tensor, P], R],
) -> Callable[Concatenate[ModelSource, Tensor | Given | list[Given], P], R]:
    """The same for a function of several images."""

    @wraps(function)
    def loaded(model: ModelSource, images: Tensor | Given | list[Given], /, *args: P.args, **kwargs: P.kwargs) -> R:
        opened = as_model(model)
        return function(opened, prepared_images(opened, images), *args, **kwargs)

    return loaded


def prepared_image(model: ImageModel, image: Tensor | Given) -> Tensor:  # → c h w
    """An image as the model takes it; a tensor is that already.

    Raises DataError for what is no image, and ShapeError for a tensor that does not fit the model.
    """
    weight = next(model.parameters())
    if not isinstance(image, Tensor):
        return model.preprocessing(image).to(weight)
    due = (model.in_chans, *model.img_size)
    if tuple(image.shape) != due or not image.is_floating_point():
        shape, wanted = (" × ".join(map(str, each)) or "no axes" for each in (image.shape, due))
        raise ShapeError(
            f"the image is a tensor of {shape}, {image.dtype}; this model takes one image of {wanted}, floats",
            hint="give what model.preprocessing makes of an image, or the image itself",
        )
    return image


def prepared_images(model: ImageModel, images: Tensor | Given | list[Given]) -> Tensor:  # → b c h w
    """Several images as the model takes them. Raises as `prepared_image` does."""
    if isinstance(images, Tensor) and images.ndim == 4:
        return torch.stack([prepared_image(model, image) for image in images]) if len(images) else _none()
    several = images if isinstance(images, list | tuple) else [images]
    return torch.stack([prepared_image(model, image) for image in several]) if several else _none()


def _none() -> Tensor:
    raise ShapeError("there is no image", hint="give at least one")


def _check_label(model: ImageModel, label: object) -> None:
    """Of the functions that take one, it comes right after the image. Raises ModelError for a class the model has not."""
    if isinstance(label, bool) or not isinstance(label, int):
        return
    if not 0 <= label < model.num_classes:
        raise ModelError(
            f"there is no class {label}: the model has {model.num_classes}", hint=f"count from 0 to {model.num_classes - 1}"
        )

"""All there is to say about a model, collected for the page and for programs."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from allmlp.data.damage import hint_for
from allmlp.data.progress import watched
from allmlp.errors import DataError, ModelError
from allmlp.explanation import dataset
from allmlp.explanation.dataset import DataSet
from allmlp.explanation.measures import mixing_radius
from allmlp.explanation.numbers import MixingNumbers, mixing_numbers
from allmlp.explanation.path import linear_path
from allmlp.explanation.pictures import Picture, explain_pictures
from allmlp.explanation.pruning import IMAGES, Pruned, least_kept, prune_curve
from allmlp.explanation.receptive import Reach, reach, receptive_field, shown_steps, step_names
from allmlp.models.base import ImageModel
from allmlp.operators import Mixing, token_mixing
from allmlp.pixels.read import UnreadableImage, read_image
from allmlp.weights.finite import refuse_not_finite

FIELD_PICTURES = 16
"""Pictures whose gradients are averaged for a receptive field; noise where there are none."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found, before it is drawn."""

    model: ImageModel
    mixings: list[Mixing]
    without: str | None
    """Why there are no token-mixing matrices, if there are none."""
    numbers: list[MixingNumbers]
    path: Tensor | None  # l n n
    """ResMLP's linear path after each block; None for others."""
    path_radius: list[float]
    """Its mixing radius after each block."""
    fields: Tensor  # s h w
    reaches: list[Reach]
    """Receptive fields of the shown steps, and their numbers."""
    field_pictures: int
    """Over so many pictures; 0 where noise stood in for them."""
    pictures: list[Picture]
    unreadable: list[tuple[str, str]]
    """(path, reason)"""
    pruned: list[Pruned]
    """Nothing unless it was asked for."""
    data: DataSet | None = None
    """Nothing unless it was asked for."""

    def record(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        model = self.model
        return {
            "model": {"name": model.name, "family": model.family, "img_size": list(model.img_size)},
            "token_mixing": [asdict(row) for row in self.numbers],
            "no_token_mixing": self.without,
            "linear_path_radius": self.path_radius,
            "receptive_fields": [asdict(row) for row in self.reaches],
            "receptive_field_pictures": self.field_pictures,
            "images": [{"path": p.path, "classes": [c.record() for c in p.classes]} for p in self.pictures],
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.unreadable],
            "pruning": [asdict(row) for row in self.pruned],
            "least_kept": least_kept(self.pruned) if self.pruned else None,
            "data": None if self.data is None else self.data.record(),
        }


def explained(
    model: ImageModel,
    pictures: Iterable[str] = (),
    *,
    prune: str | os.PathLike[str] | None = None,
    prune_images: int = IMAGES,
    data: str | os.PathLike[str] | None = None,
    data_images: int = dataset.IMAGES,
    quiet: bool = False,
) -> Explanation:
    """Look into a model.

    pictures: files to explain; those that cannot be read are listed. prune: labelled images to measure the model on with ever
    fewer token-mixing weights; prune_images: at most so many of them. data: labelled images to show as the model sees them
    (`explain_data`); data_images: at most so many of them.
    Raises ModelError for pruning a model without token-mixing matrices; without pruning, their absence is part of the answer.
    Raises DataError when pictures are given and none can be read.
    """
    refuse_not_finite(model.state_dict(), model.name or model.family)
    mixings, without = _mixings(model)
    if prune is not None and without is not None:
        raise ModelError(f"nothing can be pruned: {without}", hint="leave --prune out")
    paths, steps = list(pictures), shown_steps(model)
    answers = list(watched(explain_pictures(model, paths, steps), total=len(paths), what="explaining", quiet=quiet))
    found = [answer for answer in answers if isinstance(answer, Picture)]
    unreadable = [(answer.path, answer.reason) for answer in answers if isinstance(answer, UnreadableImage)]
    if paths and not found:
        raise DataError(
            f"none of the {len(paths)} pictures could be read: {unreadable[0][1]}",
            hint=hint_for(unreadable) or "check the files",
        )
    fields, reaches = _fields(model, [picture.path for picture in found], steps)
    path = _path(model)
    return Explanation(
        model=model,
        mixings=mixings,
        without=without,
        numbers=[mixing_numbers(mixing) for mixing in mixings],
        path=path,
        path_radius=[] if path is None else [float(mixing_radius(layer, mixings[0].grid).mean()) for layer in path],
        fields=fields,
        reaches=reaches,
        field_pictures=min(len(found), FIELD_PICTURES),
        pictures=found,
        unreadable=unreadable,
        pruned=[] if prune is None else prune_curve(model, prune, limit=prune_images, quiet=quiet),
        data=None if data is None else dataset.explain_data(model, data, limit=data_images, quiet=quiet),
    )


def _mixings(model: ImageModel) -> tuple[list[Mixing], str | None]:
    try:
        return token_mixing(model), None
    except ModelError as error:
        return [], error.what


def _path(model: ImageModel) -> Tensor | None:
    try:
        return linear_path(model)
    except ModelError:
        return None


def _fields(model: ImageModel, paths: list[str], steps: list[int]) -> tuple[Tensor, list[Reach]]:  # → s h w
    """Over the first pictures, or over the same noise each time."""
    weight = next(model.parameters())
    shape = (FIELD_PICTURES // 2, model.in_chans, *model.img_size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if paths:
        images = torch.stack([model.preprocessing(read_image(p, model.reading)) for p in paths[:FIELD_PICTURES]])
    fields = receptive_field(model, images.to(weight), steps)
    with torch.no_grad():
        shapes = model.forward_intermediates(images[:1].to(weight), indices=steps, intermediates_only=True)
    names = step_names(model)
    rows = [
        reach(names[step], field, (grid.shape[2], grid.shape[3]))
        for step, field, grid in zip(steps, fields, shapes, strict=True)
    ]
    return fields, rows

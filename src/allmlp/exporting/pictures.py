"""Real images: those an exported file is compared on, and others that int8 is calibrated with."""

# axes: c channels, h w pixels

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from allmlp.data.fashion import embedded
from allmlp.data.images import FileImages, Images
from allmlp.data.pictures import list_pictures
from allmlp.data.sources import open_source
from allmlp.engine.load import ModelSource, source_path
from allmlp.errors import AllmlpError, DataError
from allmlp.exporting.formats.base import Order
from allmlp.models.base import ImageModel
from allmlp.pixels.read import UnreadableImage
from allmlp.pixels.tensor import pixels_of
from allmlp.recipe import load_recipe
from allmlp.run import Run

COMPARED, CALIBRATING = 128, 128
"""How many of each, at most."""


@dataclass(frozen=True)
class Pictures:
    """What they are, in words, and the images."""

    title: str
    compared: Images
    calibrating: Images
    """The run's training images; where there are none, those that are not compared, or the same."""


def open_pictures(source: ModelSource, data: str | os.PathLike[str] | None, *, quiet: bool) -> Pictures:
    """data: files or a folder of pictures, sorted or not; None: the run's own images, else the embedded Fashion-MNIST.

    Raises DataError where `data` has none.
    """
    if data is not None:
        paths = list_pictures([data], quiet=quiet)
        images = FileImages(paths, np.zeros(len(paths), dtype=np.int64))
        drawn = np.random.default_rng(0).permutation(len(paths))
        compared, others = drawn[:COMPARED], drawn[COMPARED:] if len(drawn) >= 2 * COMPARED else drawn
        return Pictures(f"pictures of {data}", images.subset(compared), images.subset(others[:CALIBRATING]))
    run = None if isinstance(source, ImageModel) or not source_path(source).is_dir() else source_path(source)
    own = None if run is None else _of_run(run, quiet)
    if own is not None:
        return own
    shown = embedded()
    return Pictures("embedded Fashion-MNIST images", _spread(shown.val, COMPARED), _spread(shown.train, CALIBRATING))


def _of_run(folder: Path, quiet: bool) -> Pictures | None:
    """None where its data are no longer there."""
    try:
        run = Run.open(folder)
        recipe = load_recipe(run.recipe)
        spec = run.data_spec()
        source = open_source(spec, **recipe.data.opening, seed=recipe.seed, quiet=quiet)
    except (AllmlpError, KeyError):
        return None
    return Pictures(f"validation images of {source.title}", _spread(source.val, COMPARED), _spread(source.train, CALIBRATING))


def _spread(images: Images, most: int) -> Images:
    """So many of them, evenly spaced: sorted as they are by class, all classes are among them."""
    return images.subset(np.unique(np.linspace(0, len(images) - 1, min(most, len(images))).astype(np.int64)))


class Inputs(Iterable[Tensor]):
    """What the file takes, b c h w, or b h w c of uint8, made anew each time one goes through them.

    b is 1, or the order's batch, filled with one picture again and again: their sizes may differ.
    """

    def __init__(self, images: Images, order: Order) -> None:
        self.images, self.order = images, order

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Tensor]:
        count = (self.order.batch or 1, 1, 1, 1)
        return (as_input(picture, self.order).repeat(count) for picture in readable(self.images, self.order.model))


def as_input(picture: Image.Image, order: Order) -> Tensor:  # → 1 c h w, or 1 h w c of uint8
    """One picture as the file takes it."""
    if not order.with_preprocessing:
        return order.model.preprocessing(picture)[None]
    return pixels_of(picture)[None]


def readable(images: Images, model: ImageModel) -> Iterator[Image.Image]:
    """In the model's number of channels; those that cannot be read are left out. Raises DataError where none can be read."""
    found = False
    for index in range(len(images)):
        try:
            picture = images.open(index, model.reading)
        except UnreadableImage:
            continue
        found = True
        yield picture
    if not found:
        raise DataError(f"none of {len(images)} pictures can be read", hint="give others with --data")

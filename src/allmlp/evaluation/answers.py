"""A model's answers about labelled images: which images, and the logits of each."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from allmlp.data.damage import hint_for, in_words
from allmlp.data.images import Images
from allmlp.data.loader import plain_batches
from allmlp.data.names import nfc
from allmlp.data.progress import watched
from allmlp.data.sources import NAMED, open_labelled, open_source, spec_of
from allmlp.engine.graph import Graph
from allmlp.engine.infer import Outputs, finite_rows, gather, why_not_finite
from allmlp.engine.use import ready
from allmlp.errors import DataError, ModelError
from allmlp.models.base import ImageModel
from allmlp.recipe import Recipe, load_recipe
from allmlp.run import Run

Split = Literal["auto", "val", "test"]
"""Which of a run's own images; "auto": the test images if there are any."""


def images_for(
    run: Run | None, classes: tuple[str, ...], data: str | os.PathLike[str] | None, quiet: bool, split: Split = "auto"
) -> tuple[Images, str, str, list[tuple[str, str]]]:
    """(images with the numbers of these classes, name of the split, title, left out).

    data: None for the run's own test images if it has any, else its validation images. split: which of the run's own.
    Raises DataError for data that does not fit the classes, and where there are no such images.
    """
    if data is not None and split != "auto":
        raise DataError(f"DATA and the run's {split} images are not the same", hint="give one of them")
    if run is None and data is None:
        raise DataError(
            "weights without a run folder have no images of their own", hint="give a folder of class folders as DATA"
        )
    data = None if data is None else spec_of(data)
    if data is None or (os.fspath(data) in NAMED and not Path(data).is_dir()):
        recipe = Recipe() if run is None else load_recipe(run.recipe)
        spec = run.data_spec() if run is not None and data is None else os.fspath(data or "")
        source = open_source(spec, **recipe.data.opening, seed=recipe.seed, quiet=quiet)
        if tuple(map(nfc, source.classes)) != tuple(map(nfc, classes)):
            raise DataError(
                f"{source.title} has other classes than the model", hint="give the folder the run was trained on, as DATA"
            )
        if source.test is None and split == "test":
            raise DataError(
                f"{source.title} has no test images", hint="give a test folder beside train, or evaluate the others"
            )
        if source.test is not None and split != "val":
            return source.test, "test", f"{source.title}, test images", []
        return source.val, "val", f"{source.title}, validation images", []
    layout = "auto" if run is None else load_recipe(run.recipe).data.layout
    images, left_out = open_labelled(data, classes, layout=layout, quiet=quiet)
    return images, file_name(Path(data).expanduser().resolve().name), os.fspath(data), left_out


def file_name(title: str) -> str:
    """What a set of images is called, as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in title) or "data"


def answers(
    model: ImageModel | Graph,
    images: Images,
    *,
    title: str,
    batch: int,
    workers: int = 0,
    engine: str = "auto",
    what: str = "evaluating",
    quiet: bool = False,
) -> tuple[Outputs, str]:
    """(logits and labels of every image that can be read, what answered). The model moves to the best device.

    title: of the images, for messages. engine: as for `allmlp.evaluate`. what: the words beside the bar.
    Raises DataError when no image can be read, ModelError where logits are not finite, EngineError for an engine that is not
    to be had here.
    """
    batches = plain_batches(images, model.preprocessing, reading=model.reading, batch=batch, workers=workers)
    shown = watched(batches, total=len(batches), what=what, quiet=quiet)
    how = ready(model, engine, images=len(images), batch=batch, quiet=quiet)
    out = gather(model, shown, device=how.device, precision=how.precision, engine=how.engine)
    if not len(out.labels):
        raise DataError(
            f"none of the {len(images)} images of {title} could be read: {in_words(out.unreadable)}",
            hint=hint_for(out.unreadable) or "check the files with another program",
        )
    _refuse_not_finite(out, model, images, title)
    return out, how.described


def _refuse_not_finite(out: Outputs, model: ImageModel | Graph, images: Images, title: str) -> None:
    """Raises ModelError that names the first image whose logits are not finite: no figure could be right."""
    bad = ~finite_rows(out.logits)
    if bad.any():
        first = int(out.indices[bad][0])
        (again,) = plain_batches(
            images.subset(np.array([first])), model.preprocessing, reading=model.reading, batch=1, workers=0
        )
        what = "logits" if model.num_classes else "features"
        raise ModelError(
            f"{what} are not finite for {int(bad.sum()):,} of {len(bad):,} images of {title}, {images.name(first)} the first: "
            + why_not_finite(again.images[0], what),
            hint="look at that image's values and leave it out, or take an earlier checkpoint of the model's training",
        )

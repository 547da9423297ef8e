"""ImageNet-ReaL: its validation images with every class that people saw in them (Beyer et al., arXiv:2006.07159)."""

# axes: b images, k classes

import json
import os
import pkgutil
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from allmlp import metrics
from allmlp.data.folder import Folder, walk_files
from allmlp.data.images import FileImages, Images
from allmlp.data.names import is_image, split_of
from allmlp.data.parquet import has_parquet
from allmlp.data.parts import imagenet_places
from allmlp.data.run_folders import refuse_run_folder
from allmlp.data.shards import has_shards
from allmlp.data.sources import open_parts
from allmlp.engine.open import Answering, name_of, open_answering, run_folder
from allmlp.errors import DataError
from allmlp.evaluation.answers import answers
from allmlp.run import write_json

NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.")
"""Of a validation image; they are counted from 1, the lists of labels from 0."""


def evaluate_real(
    run: Answering,
    data: str | os.PathLike[str] | None,
    *,
    which: str = "best",
    img_size: int | tuple[int, int] | None = None,
    batch: int = 64,
    workers: int = 0,
    engine: str = "auto",
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure a model that knows ImageNet's 1000 classes on the validation images, by the labels of ReaL.

    data: a folder of ImageNet's validation images, in class folders or none, or one above it that has them as val; or
    an archive or shards of them. What counts is their names, ILSVRC2012_val_00000001.JPEG and so on. The rest as for
    `allmlp.evaluate`. An answer is right that is among an image's labels; images without any are left out.
    Returns shares in [0, 1] (top1, top5), how many images were judged (images) and left out (unlabelled); a run keeps
    it as real.json. Raises DataError for other classes, and where no such image is found.
    """
    folder = run_folder(run)
    if folder is not None:
        folder.check_writable()
    if data is None:
        raise DataError("ReaL is of ImageNet's validation images", hint="give their folder as DATA")
    model = open_answering(run, which=which, img_size=img_size)
    places = imagenet_places(model.classes or ())
    if places is None:
        raise DataError(
            f"{name_of(run)} does not know ImageNet's 1000 classes by their WordNet ids",
            hint="give a model trained on ImageNet-1k",
        )
    images, labels, unlabelled = _labelled(_validation_images(Path(data).expanduser(), os.fspath(data), quiet), os.fspath(data))
    started = time.monotonic()
    words: dict[str, Any] = dict(batch=batch, workers=workers, engine=engine, quiet=quiet)
    out, answered = answers(model, images, title=os.fspath(data), **words)
    allowed = _allowed([labels[i] for i in out.indices.tolist()], places, out.logits.shape[1])
    result: dict[str, Any] = {
        "data": os.fspath(data),
        "split": "real",
        "weights": which if folder else name_of(run),
        "engine": answered,
        "images": len(out.indices),
        "unlabelled": unlabelled,
        "top1": metrics.hits_within(out.logits, allowed, 1) / len(allowed),
        "top5": metrics.hits_within(out.logits, allowed, 5) / len(allowed),
        "unreadable": len(out.unreadable),
        "unreadable_files": [{"path": path, "reason": reason} for path, reason in out.unreadable[:1000]],
        "seconds": time.monotonic() - started,
        "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if folder is not None:
        write_json(folder.real, result)
    return result


def real_labels() -> list[list[int]]:
    """ImageNet's class numbers of each validation image, in the order of their names; timm brings the authors' file."""
    content = pkgutil.get_data("timm.data", "_info/imagenet_real_labels.json")
    if content is None:
        raise DataError("this timm has no labels of ReaL", hint="upgrade timm")
    found: list[list[int]] = json.loads(content)
    return found


def _validation_images(path: Path, spec: str, quiet: bool) -> Images:
    """Whatever their class folders say."""
    refuse_run_folder(path)
    if not path.is_dir() or has_shards(path) or has_parquet(path):
        parts = open_parts(spec, quiet=quiet)
        return (parts.val or parts.test or parts.train)().images
    inside = next((path / name for name in Folder(path).folders() if split_of(name) == "val"), path)
    files = [file for file in walk_files(inside) if is_image(file)]
    return FileImages(files, np.zeros(len(files), dtype=np.int64))


def _labelled(images: Images, place: str) -> tuple[Images, list[list[int]], int]:
    """(the images that have labels, the labels of each, how many have none)."""
    every = real_labels()
    found = [NAME.search(Path(images.name(i)).name) for i in range(len(images))]
    numbers = [int(match[1]) - 1 if match else -1 for match in found]
    known = [i for i, number in enumerate(numbers) if 0 <= number < len(every)]
    chosen = [i for i in known if every[numbers[i]]]
    if not chosen:
        raise DataError(
            f"none of the {len(images)} images in {place} is called like one of ImageNet's validation images that has a label",
            hint="give the folder with ILSVRC2012_val_00000001.JPEG and so on",
        )
    return images.subset(np.array(chosen)), [every[numbers[i]] for i in chosen], len(known) - len(chosen)


def _allowed(labels: Sequence[Sequence[int]], places: Sequence[int], classes: int) -> Tensor:  # → b k, bool
    """Which of a model's classes are right for each image. places: of ImageNet's classes among the model's."""
    allowed = torch.zeros(len(labels), classes, dtype=torch.bool)
    for row, numbers in zip(allowed, labels, strict=True):
        row[[places[number] for number in numbers]] = True
    return allowed

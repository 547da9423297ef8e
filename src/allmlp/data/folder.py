"""Folders of class folders, with or without train and val above them."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from allmlp.data.images import FileImages, Source
from allmlp.data.split import split_off
from allmlp.errors import DataError
from allmlp.pixels.read import SUFFIXES, UnreadableImage, probe_image

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
PROBED = 50_000
"""Up to this many headers are read before training; in larger sets damage shows when an image's turn comes."""
WORDNET = re.compile(r"\((n\d{8})\)$")
"""The id in the name of a class of ImageNet, "tench (n01440764)"; ImageNet's folders have the ids alone."""


@dataclass(frozen=True)
class Listing:
    """The images of one folder of class folders."""

    classes: tuple[str, ...]
    paths: list[str]
    labels: list[int]
    left_out: list[tuple[str, str]]
    ignored: int


def open_folder(folder: Path, val_share: float, seed: int) -> Source:
    """Training, validation and test images of a folder. Raises DataError that names what is missing."""
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", mend="give a folder that has one folder of images per class")
    train_folder = _part(folder, TRAIN)
    if train_folder is None:
        if _part(folder, VAL) is not None:
            raise DataError(f"{folder} has a val folder and no train folder", mend="name the training images' folder train")
        test_folder, val_folder = _part(folder, TEST), None
        listing = list_classes(folder, leave=() if test_folder is None else (test_folder.name,))
    else:
        listing, test_folder, val_folder = list_classes(train_folder), _part(folder, TEST), _part(folder, VAL)
    if len(listing.classes) == 1:
        raise DataError(
            f"{train_folder or folder} has one class, {listing.classes[0]!r}: there is nothing to tell apart",
            mend="add a folder with images of another class",
        )
    images = FileImages(listing.paths, listing.labels)
    left_out, ignored = list(listing.left_out), listing.ignored
    if val_folder is not None:
        held = list_classes(val_folder)
        val = _matched(held, listing.classes, val_folder)
        missing = sorted(set(listing.classes) - set(held.classes))
        if missing:
            raise DataError(
                f"{val_folder} has no images of {_few(missing)}",
                mend="add some, or remove the val folder and let allmlp hold images out",
            )
        left_out, ignored = left_out + held.left_out, ignored + held.ignored
        train, split = images, f"the folder {val_folder.name}"
    else:
        inside, outside = split_off(images.labels, listing.classes, val_share, seed)
        train, val = images.subset(inside), images.subset(outside)
        split = f"{val_share:g} of each class, seed {seed}"
    test = None if test_folder is None else _matched(list_classes(test_folder), listing.classes, test_folder)
    return Source(
        title=folder.resolve().name,
        classes=listing.classes,
        train=train,
        val=val,
        test=test,
        split=split,
        left_out=left_out,
        ignored=ignored,
    )


def open_labelled(folder: Path, classes: tuple[str, ...]) -> tuple[FileImages, list[tuple[str, str]]]:
    """Every image of a folder of class folders, with the labels of a model's classes, matched by name.

    A test or val folder inside is taken in that order. Returns (images, left out).
    Raises DataError for classes the model does not know.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", mend="give a folder that has one folder of images per class")
    inner = _part(folder, TEST) or _part(folder, VAL) or folder
    listing = list_classes(inner)
    return _matched(listing, classes, inner), listing.left_out


def list_classes(folder: Path, leave: tuple[str, ...] = ()) -> Listing:
    """The readable images of each class folder, nested folders included, sorted by name. leave: no classes.

    Raises DataError when there are none, or a class has none.
    """
    try:
        classes = sorted(
            e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".") and e.name not in leave
        )
    except OSError as error:
        _closed(error)
    if not classes:
        loose = any(name.lower().endswith(SUFFIXES) for name in map(str, folder.iterdir()))
        raise DataError(
            f"{folder} has {'images but ' if loose else ''}no class folders",
            mend=f"sort the images into one folder per class, as {folder}/cat/1.jpg and {folder}/dog/1.jpg",
        )
    paths, labels, ignored = [], [], 0
    for number, name in enumerate(classes):
        for path in walk_files(folder / name):
            if path.lower().endswith(SUFFIXES):
                paths.append(path)
                labels.append(number)
            else:
                ignored += 1
    left_out = _unreadable(paths) if len(paths) <= PROBED else {}
    kept = [i for i, path in enumerate(paths) if path not in left_out]
    counts = np.bincount([labels[i] for i in kept], minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if not count:
            bad = [p for p in left_out if Path(p).is_relative_to(folder / name)]
            why = f"no readable image ({len(bad)} damaged, such as {bad[0]}: {left_out[bad[0]]})" if bad else "no images"
            raise DataError(
                f"class {name!r} in {folder} has {why}", mend=f"add images ({', '.join(SUFFIXES)}) or remove the folder"
            )
    return Listing(tuple(classes), [paths[i] for i in kept], [labels[i] for i in kept], list(left_out.items()), ignored)


def walk_files(folder: Path) -> Iterator[str]:
    """Every file below a folder, hidden ones aside, in a fixed order; links to folders are not followed.

    Raises DataError for a folder that cannot be listed: pictures would be missing and nobody know.
    """
    for place, folders, names in os.walk(folder, onerror=_closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(place, name)  # noqa: PTH118 - a million files: str is four times faster than Path


def _closed(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}", mend="check its permissions") from None


def _unreadable(paths: list[str]) -> dict[str, str]:
    """Path → reason, by reading every header in threads."""

    def reason(path: str) -> str | None:
        try:
            probe_image(path)
        except UnreadableImage as error:
            return error.reason
        return None

    with ThreadPoolExecutor(8) as pool:
        return {path: why for path, why in zip(paths, pool.map(reason, paths), strict=True) if why}


def _matched(listing: Listing, classes: tuple[str, ...], folder: Path) -> FileImages:
    """The listing's images under the numbers that `classes` gives its names, or the WordNet ids that stand in them."""
    numbers = {found[1]: i for i, name in enumerate(classes) if (found := WORDNET.search(name))}
    numbers |= {name: i for i, name in enumerate(classes)}
    unknown = [name for name in listing.classes if name not in numbers]
    if unknown:
        raise DataError(
            f"{folder} has classes that training has not: {_few(unknown)}",
            mend=f"the classes are {_few(list(classes))}; rename or remove the others",
        )
    return FileImages(listing.paths, [numbers[listing.classes[label]] for label in listing.labels])


def _part(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The sub-folder with one of these names, but only where it holds class folders itself."""
    for name in names:
        part = folder / name
        try:
            if part.is_dir() and any(entry.is_dir() for entry in part.iterdir()):
                return part
        except OSError as error:
            _closed(error)
    return None


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

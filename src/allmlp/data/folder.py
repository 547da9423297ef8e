"""Folders of class folders, with or without train and val above them, on disk or inside an archive."""

import codecs
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from allmlp.data.images import FileImages, Images
from allmlp.data.parts import TEST, TRAIN, VAL, Part, Parts, checked
from allmlp.errors import DataError
from allmlp.pixels.read import SUFFIXES


class Tree(ABC):
    """A folder, wherever it lies. Names that begin with a dot are not seen."""

    place: str
    """What to call it in messages."""
    passed_over: int = 0
    """Entries that are no plain files."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The names of the folders inside, sorted."""

    @abstractmethod
    def inside(self, name: str) -> "Tree":
        """One of them."""

    @abstractmethod
    def files(self, folder: str) -> Iterator[str]:
        """Every file below one of them, in a fixed order."""

    @abstractmethod
    def loose(self) -> bool:
        """Whether pictures lie beside the folders."""

    @abstractmethod
    def images(self, files: list[str], labels: list[int]) -> Images:
        """Some of what `files` gave."""


class Folder(Tree):
    """A folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)

    def folders(self) -> list[str]:
        try:
            return sorted(e.name for e in os.scandir(self.path) if not e.name.startswith(".") and Path(e.path).is_dir())
        except OSError as error:
            _closed(error)

    def inside(self, name: str) -> "Folder":
        return Folder(self.path / name)

    def files(self, folder: str) -> Iterator[str]:
        return walk_files(self.path / folder)

    def loose(self) -> bool:
        return any(is_picture(name) for name in map(str, self.path.iterdir()))

    def images(self, files: list[str], labels: list[int]) -> Images:
        return FileImages(files, labels)


def open_folder(path: Path, *, quiet: bool = False) -> Parts:
    """The parts of a folder of class folders. Raises DataError that names what is missing."""
    if not path.is_dir():
        raise DataError(f"{path} is not a folder", hint="give a folder that has one folder of images per class")
    return open_tree(Folder(path), path.resolve().name, quiet=quiet)


def open_tree(tree: Tree, title: str, *, quiet: bool = False) -> Parts:
    """The parts of a folder, wherever it lies. Raises DataError that names what is missing."""
    train, val, test = (_part(tree, names) for names in (TRAIN, VAL, TEST))

    def training() -> Part:
        if train is None and val is not None:
            raise DataError(
                f"{tree.place} has a {val} folder and no train folder", hint="name the training images' folder train"
            )
        part = list_classes(tree if train is None else tree.inside(train), leave=test if train is None else None, quiet=quiet)
        return replace(part, ignored=part.ignored + tree.passed_over)

    return Parts(
        title=title,
        train=training,
        val=None if val is None else partial(list_classes, tree.inside(val), quiet=quiet),
        test=None if test is None else partial(list_classes, tree.inside(test), quiet=quiet),
        split=f"the {val} folder",
    )


def list_classes(tree: Tree, leave: str | None = None, *, quiet: bool = False) -> Part:
    """The readable images of each class folder, nested folders included, sorted by name. leave: a folder of no class.

    Raises DataError when there are none, or a class has none.
    """
    classes = [_text(name, tree) for name in tree.folders() if name != leave]
    if not classes:
        raise DataError(
            f"{tree.place} has {'images but ' if tree.loose() else ''}no class folders",
            hint=f"sort the images into one folder per class, as {tree.place}/cat/1.jpg and {tree.place}/dog/1.jpg",
        )
    files, labels, ignored = [], [], 0
    for number, name in enumerate(classes):
        for file in tree.files(name):
            if is_picture(file):
                files.append(file)
                labels.append(number)
            else:
                ignored += 1
    part = Part(place=tree.place, classes=tuple(classes), images=tree.images(files, labels), ignored=ignored)
    return checked(part, quiet=quiet)


def _text(name: str, tree: Tree) -> str:
    """A class's name goes into records, figures and other programs, so it has to be text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        here = codecs.lookup(sys.getfilesystemencoding()).name
        hint = "rename it in UTF-8" if here == "utf-8" else "set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        raise DataError(f"the class folder {name!r} in {tree.place} has a name that is no text in {here}", hint=hint) from None
    return name


def is_picture(name: str) -> bool:
    """Whether a file is called like one of the kinds that are read."""
    return name.lower().endswith(SUFFIXES)


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
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}", hint="check its permissions") from None


def _part(tree: Tree, names: tuple[str, ...]) -> str | None:
    """The first of these names that is a folder inside, and holds class folders itself."""
    inside = tree.folders()
    return next((name for name in names if name in inside and tree.inside(name).folders()), None)

"""Folders of class folders on disk, with or without folders for splits above them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from allmlp.data.images import FileImages, Images
from allmlp.data.layout import open_tree
from allmlp.data.names import SPLITS, is_leftover, split_of
from allmlp.data.parts import Parts
from allmlp.data.tree import Tree, seen
from allmlp.errors import DataError


class Folder(Tree):
    """A folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)

    def folders(self) -> list[str]:
        """Links to folders are among them, but for those to this folder or one above it."""
        return seen([entry.name for entry in self._entries() if _is_folder(entry) and not self._leads_up(entry)])

    def inside(self, name: str) -> "Folder":
        return Folder(self.path / name)

    def files(self) -> Iterator[str]:
        return walk_files(self.path)

    def here(self) -> list[str]:
        return seen([entry.name for entry in self._entries() if not _is_folder(entry)])

    def images(self, files: list[str], labels: list[int]) -> Images:
        return FileImages(files, labels)

    def _entries(self) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(self.path) as entries:
                return list(entries)
        except OSError as error:
            _closed(error)

    def _leads_up(self, entry: "os.DirEntry[str]") -> bool:
        if not entry.is_symlink():
            return False
        target, here = os.path.realpath(entry.path), os.path.realpath(self.path)
        return os.path.join(here, "").startswith(os.path.join(target, ""))  # noqa: PTH118


def open_folder(path: Path, *, layout: str = "auto", quiet: bool = False) -> Parts:
    """The splits of a folder of class folders. Raises DataError that names what is missing."""
    if not path.is_dir():
        raise DataError(f"{path} is not a folder", hint="give a folder that has one folder of images per class")
    return open_tree(Folder(path), path.resolve().name, layout=layout, quiet=quiet)


def split_places(folder: Path, *more: str) -> list[Path]:
    """A folder, those inside it that are called as splits, training first, and those of other names, where they are there."""
    inside = Folder(folder).folders()
    order = {name: (list(SPLITS).index(split), name) for name in inside if (split := split_of(name)) is not None}
    return [folder, *(folder / name for name in (*more, *sorted(order, key=lambda name: order[name])) if name in inside)]


def files_of(folder: Path, suffix: str) -> list[Path]:
    """The files that lie directly in a folder and have an ending, in whatever case, sorted."""
    return [folder / name for name in Folder(folder).here() if name.lower().endswith(suffix)]


def walk_files(folder: Path) -> Iterator[str]:
    """Every file below a folder in a fixed order, but for hidden ones and what systems leave behind.

    Links to folders are followed, each folder once: a link to a folder that is below anyway, or above, leads nowhere new.
    Raises DataError for a folder that cannot be listed: images would be missing and nobody know.
    """
    root = os.path.realpath(folder)
    entered = {_identity(os.fspath(above)) for above in (Path(root), *Path(root).parents, *folder.absolute().parents)}

    def enters(path: str) -> bool:
        if os.path.islink(path) and os.path.realpath(path).startswith(os.path.join(root, "")):  # noqa: PTH114, PTH118
            return False
        key = _identity(path)
        new = key not in entered
        entered.add(key)
        return new

    for place, folders, names in os.walk(folder, onerror=_closed, followlinks=True):
        folders[:] = [name for name in seen(folders) if enters(os.path.join(place, name))]  # noqa: PTH118
        for name in sorted(names):
            if not is_leftover(name):
                yield os.path.join(place, name)  # noqa: PTH118 - a million files: str is four times faster than Path


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Or a link to one; a link that leads nowhere, or round in a circle, is a file that cannot be read."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112


def _identity(path: str) -> tuple[int, int]:
    """Device and number of a folder, the same by whatever path it is reached."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        _closed(error)
    return status.st_dev, status.st_ino


def _closed(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}", hint="check its permissions") from None

"""Archives of images, read where they lie: which kind a file is, what is inside, and its folders as a tree."""

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from allmlp.data import tar, zipped
from allmlp.data.images import Images, PackedImages
from allmlp.data.layout import open_tree
from allmlp.data.names import is_hidden, is_image, is_leftover
from allmlp.data.parts import Parts
from allmlp.data.tree import Tree
from allmlp.errors import DataError

MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x1f\x9d": "compress",
}
"""First bytes → kind."""
NAMES = {
    ".tar": "tar",
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tbz": "bz2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".zip": "zip",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
    ".tar.lz4": "lz4",
    ".tar.z": "compress",
    ".7z": "7z",
    ".rar": "rar",
}
"""Ending → kind, where the first bytes do not tell."""


Maker = Callable[[list[int], list[str], list[int]], Images]


@dataclass(frozen=True)
class Contents:
    """The plain files of an archive, in its order."""

    names: list[str]
    passed_over: Counter[str]
    """Kind → entries that are no plain files of their own."""
    images: Maker
    """(places among the names, what to call them, labels) → images."""


def is_archive(name: str) -> bool:
    """Whether a file is called like an archive, of whatever kind."""
    return name.lower().endswith(tuple(NAMES))


def kind_of(path: Path) -> str | None:
    """ "tar", "zip", "gz", …, by the first bytes, whatever the file is called; by its name where they tell nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from None
    told = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
    if told is None and _is_tar_header(head):
        told = "tar"
    called = next((kind for suffix, kind in NAMES.items() if path.name.lower().endswith(suffix)), None)
    return told or called


def _is_tar_header(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def plain_tar(path: Path, *, quiet: bool = False) -> Path:
    """The file itself where it is a tar archive that is not compressed, else what is in it, unpacked into the cache folder.

    Raises DataError for what is damaged, or packed in a way that is not read.
    """
    kind = kind_of(path)
    if kind in (None, "tar", "zip"):
        return path
    if kind not in tar.PACKERS:
        raise DataError(
            f"{path} is packed with {kind}, which is not read",
            hint="unpack it and give the folder, or pack it anew as .tar, .tar.gz or .zip",
        )
    return tar.unpacked(path, kind, quiet=quiet)


def contents(path: Path, *, quiet: bool = False) -> Contents:
    """Of any kind of archive. Raises DataError for what is damaged, encrypted, a bomb, or packed in a way that is not read."""
    if kind_of(path) == "zip":
        entries, passed_over = zipped.entries(path)
        table = np.array([entry.place for entry in entries], dtype=np.int64).reshape(-1, zipped.WIDTH)
        return Contents([entry.name for entry in entries], passed_over, _maker(zipped.ZippedImages, path, path, table))
    plain = plain_tar(path, quiet=quiet)
    try:
        found, passed_over = tar.members(plain)
    except DataError:
        if plain == path:
            raise
        raise DataError(
            f"{path} unpacks to what is no sound tar archive", hint="fetch it again, or unpack it and give the folder"
        ) from None
    table = np.array([(0, member.offset, member.size) for member in found], dtype=np.int64).reshape(-1, 3)
    return Contents([member.name for member in found], passed_over, _maker(PackedImages, path, plain, table))


def _maker(kind: type[PackedImages], path: Path, plain: Path, table: Any) -> Maker:
    return lambda places, names, labels: kind([str(plain)], table[places], names, labels, [str(path)])


def images_in(path: Path, called: str) -> Images:
    """Every image of an archive, in its order and of no class. called: the archive, for people."""
    found = contents(path, quiet=True)
    places = [place for place, name in enumerate(found.names) if is_image(name) and not is_hidden(name)]
    images = found.images(places, [found.names[place] for place in places], [0] * len(places))
    if isinstance(images, PackedImages):
        images.called = (called,)
    return images


def open_archive(path: Path, *, layout: str = "auto", quiet: bool = False) -> Parts:
    """The splits of an archive of class folders. Raises DataError."""
    return open_tree(Archive.of(path, contents(path, quiet=quiet)), path.name.split(".")[0], layout=layout, quiet=quiet)


Branch = dict[str, "Branch | str"]
"""A folder inside an archive: the names in it → folders, or files by their whole names."""


class Archive(Tree):
    """A folder inside an archive."""

    on_disk = False

    def __init__(self, path: str, inside: str, branch: Branch, number: dict[str, int], contents: Contents) -> None:
        """inside: the folder's name in the archive. number: a file's whole name → its place among the contents."""
        self.path, self.name, self.branch, self.number, self.contents = path, inside, branch, number, contents
        self.place = f"{path}:{inside}" if inside else path

    @classmethod
    def of(cls, path: Path, found: Contents) -> "Archive":
        """The outermost folder. Of two files of one name the later one counts."""
        number = {str(PurePosixPath(name)): place for place, name in enumerate(found.names)}
        root: Branch = {}
        clashing = sum(not _grow(root, name) for name in number)
        tree = cls(str(path), "", root, number, found)
        replaced = len(found.names) - len(number)
        tree.passed_over = found.passed_over + Counter(
            {"inside files": clashing, "replaced by later ones of their names": replaced}
        )
        return tree

    def folders(self) -> list[str]:
        return sorted(name for name, inside in self.branch.items() if isinstance(inside, dict))

    def inside(self, name: str) -> "Archive":
        branch = self.branch[name]
        inside = f"{self.name}/{name}" if self.name else name
        return Archive(self.path, inside, branch if isinstance(branch, dict) else {}, self.number, self.contents)

    def files(self) -> Iterator[str]:
        yield from _walk(self.branch)

    def here(self) -> list[str]:
        return sorted(name for name, inside in self.branch.items() if isinstance(inside, str))

    def images(self, files: list[str], labels: list[int]) -> Images:
        return self.contents.images([self.number[file] for file in files], files, labels)


def _grow(branch: Branch, name: str) -> bool:
    """Add a file with the folders above it; False where one of them is a file. Hidden names and leftovers are not seen."""
    *folders, last = name.split("/")
    if any(map(is_leftover, (*folders, last))):
        return True
    for folder in folders:
        inside = branch.setdefault(folder, {})
        if not isinstance(inside, dict):
            return False
        branch = inside
    return branch.setdefault(last, name) == name


def _walk(branch: Branch) -> Iterator[str]:
    """Every file, those of a folder before those of the folders inside it, as `walk_files` gives them."""
    for _, inside in sorted(branch.items()):
        if isinstance(inside, str):
            yield inside
    for _, inside in sorted(branch.items()):
        if isinstance(inside, dict):
            yield from _walk(inside)

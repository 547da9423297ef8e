"""Tar archives, read where they lie: nothing is ever unpacked from one, and what is no plain file inside is not seen."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from allmlp.data.fetched import identity, kept, leave_room
from allmlp.data.folder import Tree, is_picture, open_tree
from allmlp.data.images import PackedImages
from allmlp.data.parts import Parts
from allmlp.data.progress import opened
from allmlp.errors import DataError

PACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
CHUNK = 1 << 22
DEEPEST = 32
"""Folders within folders; deeper names are passed over."""


@dataclass(frozen=True, slots=True)
class Member:
    """One plain file inside an archive."""

    name: str
    offset: int
    size: int


Branch = dict[str, "Branch | str"]
"""A folder inside an archive: the names in it → folders, or files by their whole names."""


def is_tar(path: Path) -> bool:
    """Whether a file is called like an archive that can be read."""
    return path.name.lower().endswith((".tar", ".tgz", *(f".tar{suffix}" for suffix in PACKERS)))


def open_tar(path: Path, *, quiet: bool = False) -> Parts:
    """The parts of an archive of class folders, or of one folder that holds them. Raises DataError."""
    plain = path if path.suffix.lower() == ".tar" else unpacked(path, quiet=quiet)
    found, passed_over = members(plain)
    return open_tree(_Archive.of(path, plain, found, passed_over), path.name.split(".")[0], quiet=quiet)


def unpacked(path: Path, *, quiet: bool = False) -> Path:
    """The plain archive inside a compressed one, in the cache folder: an offset means nothing in a compressed one."""

    def make(target: Path) -> None:
        packed = opened(path, f"unpacking {path.name}", quiet=quiet)
        with packed as file, PACKERS[path.suffix.lower()](file) as source, target.open("wb") as plain:
            while chunk := source.read(CHUNK):
                leave_room(target, len(chunk))
                plain.write(chunk)

    try:
        return kept("tar", f"{path.name.split('.')[0]}.tar", identity(path), make)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged: {error}", hint="fetch or copy it again") from None


def members(path: Path, *, most: int | None = None) -> tuple[list[Member], int]:
    """The plain files of an archive that is not compressed, in its order, and how many entries were passed over.

    most: stop after so many.
    Passed over are links, devices, sparse files, and names that are absolute or climb out with "..".
    Raises DataError for a file that is damaged, cut short, or no archive.
    """
    found, passed_over = [], 0
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            for info in _entries(archive):
                if info.isreg() and not info.issparse() and is_safe(info.name):
                    if info.offset_data + info.size > size:
                        raise tarfile.ReadError("it is cut short")
                    found.append(Member(info.name, info.offset_data, info.size))
                elif not info.isdir():
                    passed_over += 1
                if len(found) == most:
                    return found, passed_over
            _check_end(path, archive.offset)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path} cannot be read as a tar archive: {error}", hint="fetch or copy it again") from None
    return found, passed_over


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Each entry once, without keeping them all. Offsets only grow, or a made-up header could lead round for ever."""
    last = -1
    while (info := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]
        if info.offset <= last or info.size < 0:
            raise tarfile.ReadError("its headers contradict each other")
        last = info.offset
        yield info


def _check_end(path: Path, end: int) -> None:
    """tarfile takes a damaged header for the end; a true end is nothing, or zeros."""
    with path.open("rb") as file:
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"it is damaged at byte {end}")


def is_safe(name: str) -> bool:
    """Whether a member's name is one that a folder could hold."""
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    return plain and 0 < len(path.parts) <= DEEPEST


class _Archive(Tree):
    """A folder inside a tar archive."""

    def __init__(
        self, path: str, plain: Path, branch: Branch, table: dict[str, Member], *, inside: str = "", passed_over: int = 0
    ) -> None:
        """inside: the folder's name in the archive, with a colon before it."""
        self.path, self.plain, self.branch, self.table = path, plain, branch, table
        self.place, self.passed_over = path + inside, passed_over

    @classmethod
    def of(cls, path: Path, plain: Path, found: list[Member], passed_over: int) -> "_Archive":
        """The outermost folder that is not alone in another. Of two members of one name the later one counts."""
        table = {str(PurePosixPath(member.name)): member for member in found}
        root: Branch = {}
        for name in table:
            passed_over += not _grow(root, name)
        tree = cls(str(path), plain, root, table, passed_over=passed_over)
        while len(tree.branch) == 1 and (only := tree.folders()) and tree.inside(only[0]).folders():
            tree = cls(str(path), plain, tree.inside(only[0]).branch, table, passed_over=passed_over)
        return tree

    def folders(self) -> list[str]:
        return sorted(name for name, inside in self.branch.items() if isinstance(inside, dict))

    def inside(self, name: str) -> "_Archive":
        branch = self.branch[name]
        inside = f"{self.place.removeprefix(self.path) or ':'}/{name}".replace(":/", ":")
        return _Archive(self.path, self.plain, branch if isinstance(branch, dict) else {}, self.table, inside=inside)

    def files(self, folder: str) -> Iterator[str]:
        yield from _walk(self.inside(folder).branch)

    def loose(self) -> bool:
        return any(is_picture(name) for name, inside in self.branch.items() if isinstance(inside, str))

    def images(self, files: list[str], labels: list[int]) -> PackedImages:
        places = [(0, self.table[file].offset, self.table[file].size) for file in files]
        table = np.array(places, dtype=np.int64).reshape(-1, 3)
        return PackedImages([str(self.plain)], table, files, labels, [self.path])


def _grow(branch: Branch, name: str) -> bool:
    """Add a file with the folders above it; False where one of them is a file. Hidden names are not seen."""
    *folders, last = name.split("/")
    if any(part.startswith(".") for part in (*folders, last)):
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

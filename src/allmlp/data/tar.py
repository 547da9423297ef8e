"""Tar archives, read where they lie: no file is ever unpacked from one, and what is no plain file inside is not seen."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from allmlp.data.fetched import identity, kept, leave_room
from allmlp.data.progress import opened
from allmlp.errors import DataError

PACKERS: dict[str, Callable[..., Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
CHUNK = 1 << 22
ORIGIN = "check where it comes from"
DEEPEST = 32
"""Folders within folders; deeper names are passed over."""
RATIO, HARMLESS = 200, 1 << 30
"""An archive that unpacks to more than so many times its size, and to more than so many bytes, is a bomb."""


@dataclass(frozen=True, slots=True)
class Member:
    """One plain file inside an archive."""

    name: str
    offset: int
    size: int


def unpacked(path: Path, kind: str, *, quiet: bool = False) -> Path:
    """The plain archive inside a compressed one, in the cache folder: an offset means nothing in a compressed one.

    kind: of PACKERS. Raises DataError for one that is damaged, or a bomb.
    """
    most = max(HARMLESS, RATIO * path.stat().st_size)

    def make(target: Path) -> None:
        packed = opened(path, f"unpacking {path.name}", quiet=quiet)
        with packed as file, PACKERS[kind](file) as source, target.open("wb") as plain:
            while chunk := _chunk(source, path):
                leave_room(target, len(chunk))
                if plain.tell() + len(chunk) > most:
                    raise DataError(f"{path} unpacks to more than {most:,} bytes: a bomb, not images", hint=ORIGIN)
                plain.write(chunk)

    return kept("tar", f"{path.name.split('.')[0]}.tar", identity(path), make)


def _chunk(source: BinaryIO, path: Path) -> bytes:
    """The next bytes. Raises DataError where what is compressed is damaged, which is no fault of the disk it goes to."""
    try:
        return source.read(CHUNK)
    except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}", hint="fetch or copy it again") from None


def members(path: Path, *, most: int | None = None) -> tuple[list[Member], Counter[str]]:
    """The plain files of an archive that is not compressed, in its order, and by kind how many entries were passed over.

    most: stop after so many. A hard link to a file before it is that file under another name.
    Passed over are symbolic links, hard links to nothing before them, devices, sparse files, and names that are absolute
    or climb out with "..". Raises DataError for a file that is damaged, cut short, or no archive.
    """
    found: list[Member] = []
    before: dict[str, Member] = {}
    passed_over: Counter[str] = Counter()
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            for info in _entries(archive):
                if info.isdir():
                    continue
                member = _member(info, before, size)
                if member is None:
                    passed_over[_why(info)] += 1
                else:
                    found.append(member)
                    before[str(PurePosixPath(member.name))] = member
                if len(found) == most:
                    return found, passed_over
            _check_end(path, archive.offset)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path} cannot be read as a tar archive: {error}", hint="fetch or copy it again") from None
    return found, passed_over


def _member(info: tarfile.TarInfo, before: Mapping[str, Member], size: int) -> Member | None:
    """A plain file, or a hard link to one before it; None for what is passed over. size: bytes of the archive."""
    if not is_safe(info.name):
        return None
    if info.islnk():
        target = before.get(str(PurePosixPath(info.linkname)))
        return None if target is None else Member(info.name, target.offset, target.size)
    if not info.isreg() or info.issparse():
        return None
    if info.offset_data + info.size > size:
        raise tarfile.ReadError("it is cut short")
    return Member(info.name, info.offset_data, info.size)


def _why(info: tarfile.TarInfo) -> str:
    """The kind of an entry that is passed over."""
    if not is_safe(info.name):
        return "of unsafe names"
    if info.issym():
        return "by symbolic link"
    if info.islnk():
        return "by hard link to nothing before them"
    return "sparse" if info.isreg() else "devices and the like"


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

"""Any number of pictures, one after the other in a fixed order, none held: folders, lists, patterns, archives, tables."""

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from allmlp.data.folder import is_picture, walk_files
from allmlp.data.images import PackedImages
from allmlp.data.parquet import count_rows, picture_rows
from allmlp.data.shards import expanded
from allmlp.data.tar import is_tar, members, unpacked
from allmlp.errors import DataError
from allmlp.pixels.read import decode_image, read_image

KINDS = "give pictures, folders, @list.txt, a pattern such as 'shots/*.jpg' or data-{000..015}.tar, .tar or .parquet files"


@dataclass(frozen=True)
class Picture:
    """One that may yet turn out to be unreadable."""

    name: str
    open: Callable[[int], Image.Image]
    """Number of channels → the picture. Raises UnreadableImage."""


@dataclass(frozen=True)
class Survey:
    """A source at one moment."""

    count: int
    digest: str
    """Of the names, sizes and times of all its files: another one means other pictures, or another order."""


def survey(sources: Iterable[str]) -> Survey:
    """Count the pictures without opening any. Raises DataError for a source that is not there, or where there is none."""
    given, count, digest = list(sources), 0, hashlib.sha256()
    for place in _places(given):
        digest.update(f"{place}\0{_stamp(place)}\n".encode(errors="surrogateescape"))
        count += _count(place)
    if not count:
        raise DataError(f"there is no picture in {', '.join(given) or 'nothing'}", mend=KINDS)
    return Survey(count, digest.hexdigest())


def stream(sources: Iterable[str], start: int = 0) -> Iterator[Picture]:
    """Every picture from number `start` on; what lies before it is passed over unread."""
    for place in _places(list(sources)):
        count = _count(place) if start else 0
        if count and count <= start:
            start -= count
            continue
        yield from _rows(place, start) if place.endswith(".parquet") else islice(_inside(place), start, None)
        start = 0


def _places(sources: list[str]) -> Iterator[str]:
    """Files: pictures, archives and tables. What a list names may be missing, and is then an unreadable picture."""
    for source in sources:
        if source.startswith("@"):
            yield from _listed(Path(source[1:]).expanduser())
            continue
        path = Path(source).expanduser()
        if path.is_dir():
            yield from (file for file in walk_files(path) if is_picture(file))
        elif path.exists():
            yield str(path)
        else:
            yield from _matching(source)


def _listed(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from (name for line in lines if (name := line.rstrip("\r\n")))
    except OSError as error:
        raise DataError(f"@{path} cannot be read: {error.strerror}", mend="give a text file with one path a line") from None


def _matching(pattern: str) -> Iterator[str]:
    found = (name for one in expanded(pattern) for name in glob.iglob(one, recursive=True))  # noqa: PTH207 - absolute ones too
    names = sorted(name for name in found if Path(name).is_file())
    if not names:
        raise DataError(f"{pattern} does not exist, and nothing is called like it", mend=KINDS)
    yield from names


def _stamp(place: str) -> str:
    try:
        status = os.stat(place)  # noqa: PTH116 - called for every picture of millions
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _count(place: str) -> int:
    if place.endswith(".parquet"):
        return count_rows(Path(place))
    return sum(1 for _ in _inside(place)) if is_tar(Path(place)) else 1


def _inside(place: str) -> Iterator[Picture]:
    path = Path(place)
    if not is_tar(path):
        yield Picture(place, partial(read_image, place))
        return
    plain = path if path.suffix.lower() == ".tar" else unpacked(path, quiet=True)
    for member in members(plain)[0]:
        if is_picture(member.name):
            packed = PackedImages([str(plain)], np.array([[0, member.offset, member.size]]), [member.name], [0], [place])
            yield Picture(packed.name(0), partial(packed.open, 0))


def _rows(place: str, start: int) -> Iterator[Picture]:
    for row, content in picture_rows(Path(place), start):
        name = f"{place}:row {row}"
        yield Picture(name, partial(decode_image, content, name))

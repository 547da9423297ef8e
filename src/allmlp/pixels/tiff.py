"""TIFF directories, read for what decides how an image's pixels are understood, and for nothing else.

EXIF is such a directory, too. Whatever else a file says of itself is never parsed: it cannot make an image unreadable.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, CHANNELS, PLANES, EXTRA, FORMAT = 256, 257, 258, 262, 274, 277, 284, 338, 339
SUBFILE, DESCRIPTION, THUMBNAIL, NODATA = 254, 270, 513, 42113
REDUCED = 1 | 4
"""Bits of SUBFILE: a smaller version of another page, or a mask of it."""
PIXELS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 334, 338, 339, 347}
    | {*range(512, 522), *range(529, 533), 50674}
)
"""Tags that a decoder needs; orientation is not among them, since it is applied here."""
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""Field type → struct's letter."""
MOST_VALUES, MOST_ENTRIES, MOST_PAGES, MOST_IN_ALL = 256, 4096, 10_000, 200_000


class File(Protocol):
    """What is read from."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def read(self, size: int = -1, /) -> bytes: ...


class Entry(NamedTuple):
    """One field of a directory; `content` is its value, or where that lies."""

    kind: int
    values: int
    """How many."""
    content: bytes
    whole: bytes
    """As it stands in the directory."""


@dataclass(frozen=True)
class Directory:
    """One page of a TIFF file, or the tags of EXIF."""

    file: File = field(repr=False)
    order: str
    """struct's letter."""
    big: bool
    """BigTIFF: offsets of 8 bytes."""
    place: int
    entries: dict[int, Entry]
    following: int
    """Where the next directory lies; 0: nowhere."""

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a field; none for one that is missing, damaged, long or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in INTEGERS or not 0 < entry.values <= MOST_VALUES:
            return ()
        form = f"{self.order}{entry.values}{INTEGERS[entry.kind]}"
        content = self._content(entry, struct.calcsize(form))
        return struct.unpack(form, content) if len(content) == struct.calcsize(form) else ()

    def number(self, tag: int, otherwise: int) -> int:
        """The one number of a field."""
        found = self.numbers(tag)
        return found[0] if len(found) == 1 else otherwise

    def text(self, tag: int) -> str:
        """The beginning of a text; empty where there is none."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind != 2:
            return ""
        found = self._content(entry, min(entry.values, MOST_VALUES))
        return found.partition(b"\0")[0].decode("ascii", "replace").strip()

    def _content(self, entry: Entry, size: int) -> bytes:
        if size <= len(entry.content):
            return entry.content[:size]
        return _read(self.file, struct.unpack(self.order + "IQ"[self.big], entry.content)[0], size)


def directories(file: File, most: int = MOST_PAGES) -> list[Directory]:
    """The chain of directories of a TIFF file or of EXIF, as far as it can be followed; at most so many."""
    head = _read(file, 0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return []
    big = 43 in head[2:4]
    if big and len(head) < 16:
        return []
    (place,) = struct.unpack(order + "IQ"[big], head[8:16] if big else head[4:8])
    found: list[Directory] = []
    seen, entries = {0}, 0
    while place not in seen and len(found) < most and entries < MOST_IN_ALL:
        seen.add(place)
        directory = _directory(file, order, big, place)
        if directory is None:
            break
        found.append(directory)
        entries += len(directory.entries)
        place = directory.following
    return found


def _directory(file: File, order: str, big: bool, place: int) -> Directory | None:
    """None where nothing can be read. Of a truncated one, the entries that are whole."""
    size, number, inline = (20, "Q", 12) if big else (12, "H", 8)
    head = _read(file, place, struct.calcsize(number))
    if len(head) < struct.calcsize(number):
        return None
    (count,) = struct.unpack(order + number, head)
    start = place + len(head)
    table = _read(file, start, min(count, MOST_ENTRIES) * size + (8 if big else 4))
    entries: dict[int, Entry] = {}
    for at in range(0, min(count, MOST_ENTRIES, len(table) // size) * size, size):
        whole = table[at : at + size]
        tag, kind, number_of = struct.unpack(order + ("HHQ" if big else "HHI"), whole[:inline])
        entries[tag] = Entry(kind, number_of, whole[inline:], whole)
    rest = table[count * size :] if count <= MOST_ENTRIES else b""
    following = struct.unpack(order + "IQ"[big], rest)[0] if len(rest) == (8 if big else 4) else 0
    return Directory(file, order, big, place, entries, following)


def pages(file: File, most: int = MOST_PAGES) -> list[Directory]:
    """The images of a TIFF file without thumbnails, smaller versions and masks; the first directory where there is nothing
    else."""
    found = [one for one in directories(file, most) if WIDTH in one.entries and HEIGHT in one.entries]
    whole = [
        one
        for place, one in enumerate(found)
        if not one.number(SUBFILE, 0) & REDUCED and not (place and THUMBNAIL in one.entries)
    ]
    return whole or found[:1]


class OnePage:
    """A TIFF file in which a decoder sees one page, and of that only what its pixels need."""

    def __init__(self, page: Directory) -> None:
        """page: of the file that is read."""
        self.file, self.at = page.file, 0
        offset = page.order + "IQ"[page.big]
        kept = [entry.whole for tag, entry in page.entries.items() if tag in PIXELS]
        head = _read(page.file, 0, 8 if page.big else 4) + struct.pack(offset, page.place)
        table = struct.pack(page.order + "HQ"[page.big], len(kept)) + b"".join(kept) + struct.pack(offset, 0)
        self.patches: Sequence[tuple[int, bytes]] = ((0, head), (page.place, table))
        self.length = max(page.file.seek(0, 2), page.place + len(table))

    def read(self, size: int = -1) -> bytes:
        size = self.length - self.at if size is None or size < 0 else min(size, max(self.length - self.at, 0))
        if not size:
            return b""
        found = bytearray(_read(self.file, self.at, size).ljust(size, b"\0"))
        for place, patch in self.patches:
            first, last = max(place, self.at), min(place + len(patch), self.at + size)
            if first < last:
                found[first - self.at : last - self.at] = patch[first - place : last - place]
        self.at += size
        return bytes(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(offset + (0, self.at, self.length)[whence], 0)
        return self.at

    def tell(self) -> int:
        return self.at


def _read(file: File, place: int, size: int) -> bytes:
    """As many of these bytes as are there."""
    try:
        file.seek(place)
        return file.read(size)
    except (OSError, OverflowError, ValueError):  # places beyond anything a file can have
        return b""

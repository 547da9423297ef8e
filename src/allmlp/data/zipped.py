"""Zip archives, read where they lie: nothing is ever unpacked to the disk, and what lies about its size is refused."""

import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from allmlp.data.images import PackedImages
from allmlp.data.names import is_image
from allmlp.data.tar import HARMLESS, ORIGIN, RATIO, is_safe
from allmlp.errors import DataError
from allmlp.pixels.read import UnreadableImage

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
MOST_BYTES = 1 << 29
"""Of one image file: 64 million pixels of eight bytes."""
LARGE = 1 << 26
"""One image file of more bytes than these is a bomb as well where it unpacks to more than RATIO times its size."""
HEADER = struct.Struct("<4s22xHH")
"""Before each file: signature, then lengths of its name and of what follows that."""
DRIVE = re.compile("[A-Za-z]:/")
"""What an absolute name begins with on Windows."""
WIDTH = 6
"""Numbers of a place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One plain file inside an archive."""

    name: str
    place: tuple[int, int, int, int, int, int]
    """0, offset of its header, bytes, bytes as they are packed, checksum, and how it is packed."""


def entries(path: Path) -> tuple[list[Entry], Counter[str]]:
    """The plain files of an archive, and by kind how many entries were passed over: links, and unsafe names.

    Raises DataError for an archive that is damaged, encrypted, packed in a way that is not read, or a bomb, and for one
    with two files of one name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError, struct.error, EOFError) as error:
        raise DataError(f"{path} cannot be read as a zip archive: {error}", hint="fetch or copy it again") from None
    files = [info for info in infos if not _name(info).endswith("/")]
    if not files:
        raise DataError(f"{path} has no files in it", hint="fetch or copy it again")
    _refuse_bombs(path, files)
    found: list[Entry] = []
    passed_over: Counter[str] = Counter()
    known: set[str] = set()
    for info in files:
        name = _name(info)
        if stat.S_ISLNK(info.external_attr >> 16):
            passed_over["by symbolic link"] += 1
        elif not is_safe(name) or DRIVE.match(name):
            passed_over["of unsafe names"] += 1
        else:
            _refuse(path, info, name, known)
            known.add(str(PurePosixPath(name)))
            place = (0, info.header_offset, info.file_size, info.compress_size, info.CRC, info.compress_type)
            found.append(Entry(name, place))
    return found, passed_over


def _name(info: zipfile.ZipInfo) -> str:
    """With / between folders, also where Windows wrote \\; read as UTF-8 where macOS wrote that without saying so."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _refuse(path: Path, info: zipfile.ZipInfo, name: str, known: set[str]) -> None:
    """Raises DataError for a file that cannot be read, or is there twice."""
    if str(PurePosixPath(name)) in known:
        raise DataError(f"{path} has two files called {name}", hint="pack it again, each name once")
    if info.flag_bits & 0x41:
        raise DataError(f"{path} is encrypted ({name})", hint="unpack it with its password and give the folder")
    if is_image(name) and info.compress_type not in (STORED, DEFLATED):
        how = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))  # type: ignore[attr-defined]
        raise DataError(f"{name} in {path} is packed with {how}, which is not read", hint="unpack it and give the folder")
    burst = info.file_size > LARGE and info.file_size > RATIO * info.compress_size
    if is_image(name) and (info.file_size > MOST_BYTES or burst):
        raise DataError(
            f"{name} in {path} would unpack from {info.compress_size:,} to {info.file_size:,} bytes: a bomb, not an image",
            hint="remove it from the archive",
        )


def _refuse_bombs(path: Path, files: list[zipfile.ZipInfo]) -> None:
    """Raises DataError for files that share bytes, or that unpack to far more than any images would."""
    size, total = path.stat().st_size, sum(info.file_size for info in files)
    if total > HARMLESS and total > RATIO * size:
        raise DataError(f"{path} has {size:,} bytes and would unpack to {total:,}: a bomb, not images", hint=ORIGIN)
    ordered = sorted(files, key=lambda info: info.header_offset)
    for one, following in zip(ordered, [*(info.header_offset for info in ordered[1:]), size], strict=True):
        if one.header_offset < 0 or one.header_offset + HEADER.size + one.compress_size > following:
            raise DataError(f"{path} is no honest archive: its files overlap at {one.filename}", hint=ORIGIN)


class ZippedImages(PackedImages):
    """Images inside zip archives. A place is that of an `Entry`: stored bytes are read, deflated ones inflated in memory."""

    def _read(self, index: int, length: int) -> bytes:
        number, offset, size, packed, checksum, method = self.places[index].tolist()
        name = self.name(index)
        try:
            with open(self.files[number], "rb") as file:  # noqa: PTH123 - called for every image: half of Path's time
                file.seek(offset)
                signature, *lengths = HEADER.unpack(file.read(HEADER.size))
                if signature != b"PK\x03\x04":
                    raise UnreadableImage(name, "the archive has no file where it says so")
                file.seek(sum(lengths), 1)
                raw = file.read(packed if length == size else min(packed, length + length // 64 + 1024))
        except OSError as error:
            raise UnreadableImage(name, f"{type(error).__name__}: {error.strerror}") from None
        except struct.error:
            raise UnreadableImage(name, "the archive is cut short") from None
        try:
            content = raw if method == STORED else zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, length + 1)
        except zlib.error as error:
            raise UnreadableImage(name, f"damaged in the archive: {error}") from None
        if length < size:
            return content[:length]
        if len(content) != size:
            raise UnreadableImage(name, f"the archive declares {size:,} bytes, and it has {_compared(content, size)}")
        if zlib.crc32(content) != checksum:
            raise UnreadableImage(name, "its checksum in the archive is another")
        return content


def _compared(content: bytes, size: int) -> str:
    return "more" if len(content) > size else f"{len(content):,}"

"""Image files, read as if a stranger had sent them."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from allmlp.errors import DataError
from allmlp.pixels.channels import as_channels
from allmlp.pixels.formats import FORMATS as FORMATS
from allmlp.pixels.formats import SUFFIXES as SUFFIXES
from allmlp.pixels.formats import formats, needs

MOST_PIXELS = 64_000_000
"""A picture that declares more is refused before it is decoded (192 MB as RGB)."""

NARROWEST = 100
"""A picture more than so many times as long as wide is refused: resizing its short side would make it enormous."""

MOST_SCANS = 256
"""Of a progressive JPEG, which has ten as a rule: each costs a pass over all pixels, and an empty one is 14 bytes long."""


class UnreadableImage(DataError):
    """One picture that cannot be decoded; `reason` is short and has no path in it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}", hint="replace or remove the file")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # crosses from worker processes
        return type(self), (self.path, self.reason)


def read_image(path: str | os.PathLike[str], in_chans: int | None = None) -> Image.Image:
    """The first frame of a picture, decoded; as 8-bit grey (1) or RGB (3) when in_chans says so.

    Raises UnreadableImage, and nothing else, when that fails.
    """
    with _opened(path, os.fspath(path)) as image:
        return _decoded(image, in_chans)


def decode_image(content: bytes, name: str, in_chans: int | None = None) -> Image.Image:
    """The same for the bytes of a picture file; name: what to call it when it cannot be read."""
    with _opened(io.BytesIO(content), name) as image:
        return _decoded(image, in_chans)


def probe_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) from the header alone. Raises UnreadableImage for what is no picture."""
    with _opened(path, os.fspath(path)) as image:
        return image.size


class Header(NamedTuple):
    """What a picture file says of itself."""

    format: str
    """Pillow's name of the format."""
    mode: str
    """Pillow's."""
    size: tuple[int, int]
    """(width, height)"""


def probe_content(content: bytes, name: str) -> Header:
    """The header among the first bytes of a picture file. Raises UnreadableImage for what is no picture."""
    with _opened(io.BytesIO(content), name) as image:
        return Header(image.format or "", image.mode, image.size)


def _decoded(image: Image.Image, in_chans: int | None) -> Image.Image:
    image.load()
    return image if in_chans is None else as_channels(image, in_chans)


@contextmanager
def _opened(file: str | os.PathLike[str] | io.BytesIO, name: str) -> Iterator[Image.Image]:
    """Decoders raise far more than OSError on damaged files, so everything they raise is translated."""
    try:
        if not isinstance(file, io.BytesIO) and not Path(file).is_file():
            raise UnreadableImage(name, "not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata; what matters raises
            with Image.open(file, formats=formats()) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise UnreadableImage(name, f"{width} × {height} pixels are more than {MOST_PIXELS:,}")
                if max(width, height) > NARROWEST * min(width, height):
                    raise UnreadableImage(name, f"{width} × {height} pixels are narrower than 1:{NARROWEST}")
                _check_scans(image, name)
                yield image
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(name, _unknown(file)) from None
    except Exception as error:
        lines = str(error).splitlines()
        what = lines[0].replace(name, "").strip(" :'\"")[:200] if lines else ""
        raise UnreadableImage(name, f"{type(error).__name__}: {what}".rstrip(": ")) from None


def _unknown(file: str | os.PathLike[str] | io.BytesIO) -> str:
    """Why a file is of no format that is read here."""
    if isinstance(file, io.BytesIO):
        head = bytes(file.getbuffer()[:16])
    else:
        try:
            with Path(file).open("rb") as opened:
                head = opened.read(16)
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror}"
    return (needs(head) or "not a picture of a known format") if head else "the file is empty"


def _check_scans(image: Image.Image, name: str) -> None:
    """Raises UnreadableImage for a JPEG of more scans than any encoder writes."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) and "progressive" in image.info else None
    if file is None:
        return
    begun = file.tell()
    file.seek(0)
    scans = file.read().count(b"\xff\xda")
    file.seek(begun)
    if scans > MOST_SCANS:
        raise UnreadableImage(name, f"{scans} scans are more than {MOST_SCANS}")

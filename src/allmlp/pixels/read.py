"""Image files, read as if a stranger had sent them."""

import io
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from allmlp.errors import DataError
from allmlp.pixels.bare import bare
from allmlp.pixels.channels import GREY, Stored, as_channels, colours_of, is_deep
from allmlp.pixels.depth import Values, measured
from allmlp.pixels.formats import FORMATS as FORMATS
from allmlp.pixels.formats import SUFFIXES as SUFFIXES
from allmlp.pixels.formats import formats, needs
from allmlp.pixels.orientation import orientation_of, upright
from allmlp.pixels.pages import MAGIC, Page, Refused, page_of
from allmlp.pixels.reading import Reading, as_reading
from allmlp.pixels.sixteen import sixteen_bits
from allmlp.pixels.tiff import OnePage

MOST_PIXELS = 64_000_000
"""A picture that declares more is refused before it is decoded (192 MB as RGB)."""

NARROWEST = 100
"""A picture more than so many times as long as wide is refused: resizing its short side would make it enormous."""

MOST_SCANS = 256
"""Of a progressive JPEG, which has ten as a rule: each costs a pass over all pixels, and an empty one is 14 bytes long."""

REPLACE = "replace or remove the file"
"""The hint where nothing better is known."""
HEAD = 1 << 16
"""Bytes of a file of unknown format that are looked at."""


class UnreadableImage(DataError):
    """One image that cannot be decoded; `reason` is short and has no path in it."""

    def __init__(self, path: str, reason: str, hint: str = REPLACE) -> None:
        super().__init__(f"{path} cannot be read: {reason}", hint=hint)
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:  # crosses from worker processes
        return type(self), (self.path, self.reason, self.hint)


T = TypeVar("T")
Opened = Callable[[], Image.Image]
"""Opens the image, from its beginning, as often as it is called."""


def read_image(path: str | os.PathLike[str], wanted: Reading | int | None = None) -> Image.Image:
    """Decode an image file, upright; of an animation the first frame.

    Args:
        path: the file.
        wanted: a number of channels, 1 (grey) or 3 (RGB), of 8 bits, or more than that; None: all as they are.

    Raises:
        UnreadableImage: and nothing else, when that fails.
    """
    return _used(path, os.fspath(path), lambda open_, page: _decoded(open_, page, wanted), _page_of(wanted))


def decode_image(content: bytes, name: str, wanted: Reading | int | None = None) -> Image.Image:
    """Decode the bytes of an image file as `read_image` does a file; name: what to call it when it cannot be read."""
    return _used(io.BytesIO(content), name, lambda open_, page: _decoded(open_, page, wanted), _page_of(wanted))


def probe_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) from the header alone. Raises UnreadableImage for what is no image."""
    return _used(path, os.fspath(path), lambda open_, _: open_().size)


class Header(NamedTuple):
    """What an image file says of itself."""

    format: str
    """Pillow's name of the format."""
    mode: str
    """Pillow's."""
    size: tuple[int, int]
    """(width, height)"""


def probe_content(content: bytes, name: str) -> Header:
    """The header among the first bytes of an image file. Raises UnreadableImage for what is no image."""

    def header(open_: Opened, _: Page | None) -> Header:
        image = open_()
        return Header(image.format or "", image.mode, image.size)

    return _used(io.BytesIO(content), name, header)


class Seen(NamedTuple):
    """What an image file holds."""

    grey: bool
    """One channel, besides opacity."""
    values: Values | None  # n
    """Some of the values of a deep image that are finite and stand for something; None for one of 8 bits a channel."""


def look_into(content: bytes, name: str, page: int | None, most: int) -> Seen:
    """Look at an image file; only a deep one is decoded.

    Args:
        content: the bytes of the file.
        name: what to call it when it cannot be read.
        page: of a TIFF file, from 1.
        most: values to give, at even distances.

    Raises:
        UnreadableImage: for what cannot be read.
    """

    def seen(open_: Opened, found: Page | None) -> Seen:
        image = open_()
        if found is not None:
            found.check()
        sixteen = sixteen_bits(image, open_)
        stored = replace(Stored() if found is None else found.stored(image.mode), sixteen=sixteen)
        grey = image.mode in GREY or (sixteen is not None and sixteen.shape[2] == 2)
        if not is_deep(image, stored):
            return Seen(grey, None)
        image.load()
        values = colours_of(image, stored).reshape(-1)
        return Seen(grey, measured(values[np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)], stored.nodata))

    return _used(io.BytesIO(content), name, seen, page)


def _page_of(wanted: Reading | int | None) -> int | None:
    return None if wanted is None else as_reading(wanted).page


def _decoded(open_: Opened, page: Page | None, wanted: Reading | int | None) -> Image.Image:
    image = open_()
    if page is not None:
        page.check()
    sixteen = None if wanted is None else sixteen_bits(image, open_)
    image.load()
    if page is not None:
        page.check_padding(image)
    stored = Stored(orientation_of(image)) if page is None else page.stored(image.mode)
    return (
        upright(image, stored.orientation) if wanted is None else as_channels(image, wanted, replace(stored, sixteen=sixteen))
    )


def _used(
    file: str | os.PathLike[str] | io.BytesIO, name: str, use: Callable[[Opened, Page | None], T], number: int | None = None
) -> T:
    """What `use` makes of the image; number: of a TIFF file's page.

    Decoders raise far more than OSError on damaged files, so everything they raise is translated.
    """
    try:
        if not isinstance(file, io.BytesIO) and not Path(file).is_file():
            raise UnreadableImage(name, "not a file")
        with (
            nullcontext(file) if isinstance(file, io.BytesIO) else Path(file).open("rb") as stream,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # about damaged metadata; what matters raises
            return _tiff(stream, name, use, number) if stream.read(4) in MAGIC else _other(stream, name, use)
    except UnreadableImage:
        raise
    except Refused as error:
        raise UnreadableImage(name, error.reason, error.hint) from None
    except UnidentifiedImageError:
        raise UnreadableImage(name, _unknown(file)) from None
    except Exception as error:
        raise UnreadableImage(name, reason_of(error, name)) from None


def reason_of(error: Exception, name: str) -> str:
    """Why decoding failed, in a line without the file's name."""
    lines = str(error).splitlines()
    what = lines[0].replace(name, "").strip(" :'\"")[:200] if lines else ""
    return f"{type(error).__name__}: {what}".rstrip(": ")


def _unknown(file: str | os.PathLike[str] | io.BytesIO) -> str:
    """Why a file is of no format that is read here."""
    if isinstance(file, io.BytesIO):
        head = bytes(file.getbuffer()[:HEAD])
    else:
        try:
            with Path(file).open("rb") as opened:
                head = opened.read(HEAD)
        except OSError as error:
            return f"{type(error).__name__}: {error.strerror}"
    return (needs(head) or "not a picture of a known format") if head else "the file is empty"


def _tiff(stream: BinaryIO, name: str, use: Callable[[Opened, Page | None], T], number: int | None) -> T:
    """Decoders see nothing of it but one page's pixels."""
    page = page_of(stream, number)
    if page is None:
        raise UnreadableImage(name, "a TIFF file without pages: it is cut short or damaged")
    try:
        return use(lambda: _opened(page.alone(), name), page)
    except UnidentifiedImageError:
        page.check()
        raise page.unknown() from None


def _other(stream: BinaryIO, name: str, use: Callable[[Opened, Page | None], T]) -> T:
    """Where decoding fails, and metadata may be why, it is tried again without."""
    try:
        return use(lambda: _opened(stream, name), None)
    except (UnreadableImage, MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        stream.seek(0)
        content = bare(stream.read())
        if content is not None:
            with suppress(Exception):
                return use(lambda: _opened(io.BytesIO(content), name), None)
        raise error from None


def _opened(file: BinaryIO | OnePage, name: str) -> Image.Image:
    """The header is read, and what it declares is within bounds. Raises UnreadableImage, or what Pillow raises."""
    file.seek(0)
    image = Image.open(file, formats=formats())  # type: ignore[arg-type]  # it needs read, seek and tell
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UnreadableImage(name, f"{width} × {height} pixels are more than {MOST_PIXELS:,}")
    if max(width, height) > NARROWEST * min(width, height):
        raise UnreadableImage(name, f"{width} × {height} pixels are narrower than 1:{NARROWEST}")
    _check_scans(image, name)
    return image


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

"""One page of a TIFF file: which it is, whether its channels can be understood, and what its values are."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from allmlp.pixels.channels import DEEP, Stored, nodata_in
from allmlp.pixels.orientation import turned_by
from allmlp.pixels.tiff import (
    BITS,
    CHANNELS,
    DESCRIPTION,
    EXTRA,
    FORMAT,
    HEIGHT,
    NODATA,
    PHOTOMETRIC,
    PLANES,
    WIDTH,
    Directory,
    File,
    OnePage,
    pages,
)

MAGIC = (b"II\x2a\0", b"MM\0\x2a", b"II\0\x2a", b"MM\x2a\0", b"II\x2b\0", b"MM\0\x2b")
"""How TIFF files begin; the third and the fourth are in the wrong order, and Pillow reads them."""
COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}
"""Photometric interpretation → channels that are colours; all others have one."""
RGB, OPACITY = 2, {1, 2, 999}
"""A photometric interpretation; kinds of extra channels that are opacity, Corel Draw's among them."""
UNSIGNED, SIGNED, FLOATS, UNDEFINED = 1, 2, 3, 4
"""Sample formats; TIFF 6.0 has readers take undefined values for unsigned ones."""
NONE_CHOSEN = "of which none is chosen"
NEITHER, FOURTH = "which are not grey or RGB, with or without opacity", "a fourth channel beside RGB that is not opacity"
"""Words of the reasons, by which `hint_of` knows them."""
PLANAR = "planes of their own"
RAW_CAMERA = 32803
"""The photometric interpretation of what a camera's sensor saw, before colours are made of it."""
MISSING, ANOTHER = "so there is no page", "choose another page, or leave the file out"
CHOOSE = "choose a page for training with --data.page 1, or save the pages as files of their own"
INTERLEAVE = "save it with the channels of each pixel together (planar configuration 1; GDAL: -co INTERLEAVE=PIXEL)"
SPLIT = "save what the model is to see as grey, or as three channels of RGB"
HINTS = ((NONE_CHOSEN, CHOOSE), (NEITHER, SPLIT), (FOURTH, SPLIT), (PLANAR, INTERLEAVE), (MISSING, ANOTHER))


class Refused(Exception):
    """A TIFF file that holds more than one image of one or three channels; reason and hint are for people."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def hint_of(reason: str) -> str | None:
    """What to do about images that cannot be read for this reason; None where nothing is known but to replace them."""
    return next((hint for words, hint in HINTS if words in reason), None)


@dataclass(frozen=True)
class Page:
    """The page that is read, and how many there are."""

    directory: Directory
    count: int
    chosen: bool
    """Whether somebody said which page is meant."""

    def alone(self) -> OnePage:
        """The file as a decoder is to see it."""
        alike = {}
        if UNDEFINED in self.directory.numbers(FORMAT) and self.channels == 1:
            alike = {FORMAT: UNSIGNED}
        if self.channels == 1 and self.bits > 8 and self.photometric in (0, 1):  # Pillow does not know all kinds of them
            alike |= {PHOTOMETRIC: 1} | ({FORMAT: SIGNED} if (self.bits, self.format) == (32, UNSIGNED) else {})
        return OnePage(self.directory, alike)

    def check(self) -> None:
        """Raises Refused for one of several pages that nobody chose, and for channels that are not understood."""
        if not self.chosen and self.count > 1:
            raise Refused(f"it is a stack of {self.count:,} pages, {NONE_CHOSEN}", CHOOSE)
        images = re.match(r"ImageJ=.*?\bimages=(\d+)", self.directory.text(DESCRIPTION), re.DOTALL)
        if not self.chosen and images is not None and int(images[1]) > 1:
            raise Refused(f"it is ImageJ's stack of {images[1]} images in one page", "save it as a TIFF file of pages")
        if self.extra > (self.photometric == RGB and self.directory.number(PLANES, 1) == 1):
            raise Refused(f"it has {self.channels} channels, {NEITHER}", SPLIT)
        if self.channels > 1 and self.bits > 8 and self.directory.number(PLANES, 1) != 1:  # Pillow mixes their bytes up
            raise Refused(f"it has {self.channels} channels of {self.bits} bits in {PLANAR}, which are not read", INTERLEAVE)

    def check_padding(self, image: Image.Image) -> None:
        """Raises Refused for a fourth channel beside RGB that is neither opacity nor everywhere the same.

        One of more than 8 bits is refused whatever is in it: Pillow shows its high bytes alone.
        """
        if self.extra != 1 or image.mode != "RGB":
            return
        if self.bits > 8 or len(set(image.tobytes("raw", "RGBX")[3::4])) > 1:
            raise Refused(f"it has {FOURTH}", SPLIT)

    def unknown(self) -> Refused:
        """Why Pillow has no way of reading this page."""
        if self.directory.big and self.directory.order == ">":
            return Refused("big-endian BigTIFF is not read", "save it as TIFF, or as little-endian BigTIFF")
        width, height = (self.directory.number(tag, 0) for tag in (WIDTH, HEIGHT))
        if not width or not height:
            return Refused(f"it has no pixels: {width} × {height}", "replace or remove the file")
        if self.photometric == RAW_CAMERA:
            return Refused("it holds a camera's raw values, which are not read", "develop it into JPEG, PNG or RGB TIFF")
        kind = {SIGNED: "signed ", FLOATS: "floating-point "}.get(self.format, "")
        channels = f"{self.channels} channels of " if self.channels > 1 else ""
        return Refused(
            f"TIFF with {channels}{kind}values of {self.bits} bits is not read",
            "save it as grey of 8, 16 or 32 bits, or as RGB of 8 or 16",
        )

    @property
    def bits(self) -> int:
        """Of the first channel."""
        return (self.directory.numbers(BITS) or (1,))[0]

    @property
    def format(self) -> int:
        """What the bits of the first channel mean."""
        found = (self.directory.numbers(FORMAT) or (UNSIGNED,))[0]
        return UNSIGNED if found == UNDEFINED else found

    @property
    def photometric(self) -> int:
        return self.directory.number(PHOTOMETRIC, 1)

    @property
    def channels(self) -> int:
        return self.directory.number(CHANNELS, 1)

    @property
    def extra(self) -> int:
        """Channels that are neither colour nor opacity."""
        kinds, colours = self.directory.numbers(EXTRA), COLOURS.get(self.photometric, 1)
        opacity = bool(OPACITY & set(kinds)) or (self.photometric == RGB and not kinds and self.channels == 4)
        return self.channels - colours - opacity

    def stored(self, mode: str) -> Stored:
        """What the page says of its pixels. mode: Pillow's."""
        dtypes: dict[tuple[str, int, int], np.dtype[Any]] = {
            ("L", 8, SIGNED): np.dtype(np.int8),
            ("I", 32, UNSIGNED): np.dtype(np.uint32),
        }
        return Stored(
            orientation=turned_by(self.directory),
            nodata=nodata_in(self.directory.text(NODATA)),
            type_range=(0.0, float(2**self.bits - 1)) if mode.startswith("I;16") and self.bits < 16 else None,
            dtype=dtypes.get((mode, self.bits, self.format)),
            inverted=self.photometric == 0 and mode in DEEP,
        )


def page_of(file: File, number: int | None) -> Page | None:
    """The page of this number, from 1; None: the first. None for a file without directories.

    Raises Refused where there are fewer.
    """
    found = pages(file)
    if not found:
        return None
    if number is not None and number > len(found):
        counted = f"{len(found):,} page{'s' * (len(found) > 1)}"
        raise Refused(f"it has {counted}, {MISSING} {number}", ANOTHER)
    return Page(found[0 if number is None else number - 1], len(found), number is not None)

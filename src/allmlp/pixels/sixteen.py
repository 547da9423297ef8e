"""Colour images of 16 bits a channel, which Pillow cuts to 8: decoded twice, high bytes and low bytes."""

# axes: h w pixels, c channels

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from allmlp.pixels.depth import Values

OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte order → the one that takes the low byte for the high one."""


def sixteen_bits(image: Image.Image, again: Callable[[], Image.Image]) -> Values | None:  # → h w c of uint16
    """The values of a PNG or TIFF image; None for one that Pillow does not cut.

    Args:
        image: just opened; it is loaded.
        again: opens it anew.
    """
    raw = _rawmode(image)
    channels, _, order = raw.partition(";16")
    if order not in OTHER or channels not in ("RGB", "RGBX", "RGBA", "LA"):
        return None
    image.load()
    other = again()
    if not isinstance(other, ImageFile.ImageFile):
        return None
    if channels == "LA":  # its four bytes a pixel, as they are
        grey_high, grey_low, clear_high, clear_low = np.moveaxis(_loaded(other, "RGBA").astype(np.uint16), 2, 0)
        return np.stack([grey_high << 8 | grey_low, clear_high << 8 | clear_low], 2)
    low = _loaded(other, f"{channels};16{OTHER[order]}").astype(np.uint16)
    return np.asarray(image).astype(np.uint16) << 8 | low


def _rawmode(image: Image.Image) -> str:
    """How the bytes of the file's pixels are laid out, in Pillow's words; empty where that is not one for all."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    found = {tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in tiles}
    return found.pop() if len(found) == 1 else ""


def _loaded(image: ImageFile.ImageFile, rawmode: str) -> NDArray[np.uint8]:  # → h w c
    image.tile = [
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *(tile.args or ("",))[1:]))
        for tile in image.tile
    ]
    image.load()
    return np.asarray(image)

"""Any PIL image as plain 8-bit grey or RGB."""

# axes: h w pixels, c channels

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from allmlp.errors import DataError
from allmlp.pixels.depth import Values, eight_bits
from allmlp.pixels.orientation import UPRIGHT, orientation_of, upright
from allmlp.pixels.reading import Reading, as_reading
from allmlp.pixels.tiff import NODATA

DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
"""Pillow's modes of more than 8 bits, all of them grey."""


@dataclass(frozen=True)
class Stored:
    """What a file says of its pixels that Pillow's image does not."""

    orientation: int = UPRIGHT
    nodata: float | None = None
    """The value that stands for nothing."""
    type_range: tuple[float, float] | None = None
    """Of a type of its own, such as 12 bits."""
    dtype: np.dtype[Any] | None = None
    """What the bits of Pillow's values mean, where Pillow takes them for something else."""
    inverted: bool = False
    """0 is white."""
    sixteen: Values | None = None  # h w c of uint16
    """The values of an image whose channels Pillow cuts to 8 bits; the last of 2 or 4 is opacity."""


def as_channels(image: Image.Image, wanted: Reading | int, stored: Stored | None = None) -> Image.Image:
    """Upright, 8 bits a channel, grey or RGB.

    EXIF's orientation is applied, and no other tag is read; transparency is laid on white; palettes are resolved; deep values
    (16 and 32 bits, floats) become 8 bits as `depth` says.

    Args:
        image: of any mode.
        wanted: a number of channels, 1 (grey) or 3 (RGB), or more than that.
        stored: what the image's file says; None: what can be told from the image.

    Raises:
        DataError: for another number of channels.
    """
    reading = as_reading(wanted)
    if reading.in_chans not in (1, 3):
        raise DataError(
            f"images become 1 or 3 channels, not {reading.in_chans}", hint="feed such a model tensors, or use in_chans 1 or 3"
        )
    if stored is None:
        nodata = _nodata(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
        image.load()  # Pillow knows all of EXIF only then
        stored = Stored(orientation_of(image), nodata)
    values = deep_values(image, stored)
    image = _shallow(values, image, stored, reading) if values is not None else image
    image = upright(image, stored.orientation)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    mode = "L" if reading.in_chans == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def deep_values(image: Image.Image, stored: Stored) -> Values | None:  # → h w, or h w c
    """The values of an image of more than 8 bits a channel; None for all others."""
    if stored.sixteen is not None:
        return stored.sixteen
    if image.mode not in DEEP and stored.dtype is None:
        return None
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return values.astype(np.uint16, copy=False)
    return values if stored.dtype is None else values.view(stored.dtype)


def _shallow(values: Values, image: Image.Image, stored: Stored, reading: Reading) -> Image.Image:
    """An image of 8 bits a channel, with transparency where the file has some."""
    value_range = reading.value_range or stored.type_range
    opacity = None if values.ndim == 2 or values.shape[2] not in (2, 4) else (values[..., -1] / 257).round().astype(np.uint8)
    colours = values if opacity is None else values[..., :-1]
    made = eight_bits(colours, value_range, stored.nodata)
    clear = image.info.get("transparency")
    if opacity is None and clear is not None:  # one value, or one of each channel
        same = colours == np.array(clear, dtype=np.float64)
        opacity = np.where(same.all(2) if same.ndim == 3 else same, 0, 255).astype(np.uint8)
    made = 255 - made if stored.inverted else made
    if opacity is not None:
        made = np.concatenate([made.reshape(*made.shape[:2], -1), opacity[..., None]], axis=2)
    shallow = Image.fromarray(made[..., 0] if made.ndim == 3 and made.shape[2] == 1 else made)
    shallow.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return shallow


def _nodata(image: TiffImagePlugin.TiffImageFile) -> float | None:
    try:
        return nodata_in(str(image.tag_v2.get(NODATA, "")))
    except Exception:  # whatever Pillow stumbles over in a damaged tag
        return None


def nodata_in(text: str) -> float | None:
    """The number in GDAL's tag; None for NaN, which stands for nothing anyway, and for what is no number."""
    try:
        found = float(text.strip(" \0"))
    except ValueError:
        return None
    return None if np.isnan(found) else found

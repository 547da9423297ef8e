"""Any PIL image as plain 8-bit grey or RGB."""

import numpy as np
from PIL import ExifTags, Image, ImageOps

from allmlp.errors import DataError

UPRIGHT = 1
"""EXIF's orientation of a picture whose first row is on top."""
_HIGH_DEPTH = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}


def as_channels(image: Image.Image, in_chans: int) -> Image.Image:
    """Upright, 8 bits a channel, grey (in_chans 1) or RGB (3).

    EXIF rotation is applied; transparency is laid on white; palettes are resolved; 16-bit, 32-bit
    and float greys are scaled by their type's range, or their own largest value where that has none.
    Raises DataError for another number of channels.
    """
    if in_chans not in (1, 3):
        raise DataError(
            f"pictures become 1 or 3 channels, not {in_chans}", hint="feed such a model tensors, or use in_chans 1 or 3"
        )
    if image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) != UPRIGHT:  # exif_transpose copies all others
        image = ImageOps.exif_transpose(image)
    if image.mode in _HIGH_DEPTH:
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    mode = "L" if in_chans == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, scaled rather than clipped as PIL's own conversion does."""
    pixels = np.nan_to_num(np.asarray(image).astype(np.float32))
    if image.mode == "I" and pixels.max(initial=0) <= 255:
        scale = 1.0
    elif image.mode != "F" and pixels.max(initial=0) <= 65535:
        scale = 255 / 65535
    else:
        scale = 255 / max(float(pixels.max(initial=0)), 1e-12)
    return Image.fromarray((pixels * scale).round().clip(0, 255).astype(np.uint8))

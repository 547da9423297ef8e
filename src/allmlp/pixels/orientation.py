"""How an image has to be turned, by tag 274 of its EXIF alone: no other tag is read, none is written."""

import io
import struct
from contextlib import suppress

from PIL import Image

from allmlp.pixels.tiff import ORIENTATION, Directory, directories

UPRIGHT = 1
"""The orientation of an image whose first row is on top. Whatever cannot be read counts as this."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation → what makes the image upright."""
EXIF, RAW = "exif", "Raw profile type exif"
"""Where Pillow keeps the bytes of EXIF, and the text of PNG files that have it in hexadecimal digits."""
PREFIX = b"Exif\0\0"


def orientation_of(image: Image.Image) -> int:
    """What a loaded image's EXIF says, 1 to 8; TIFF images are turned by Pillow while they are loaded."""
    exif = image.info.get(EXIF)
    if not isinstance(exif, bytes):
        exif = profile(image.info.get(RAW))
    return orientation_in(exif)


def orientation_in(exif: bytes) -> int:
    """The orientation among these bytes of EXIF, 1 to 8: a single whole number of any type."""
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    return turned_by(next(iter(directories(io.BytesIO(exif), 1)), None))


def turned_by(directory: Directory | None) -> int:
    """The orientation in a directory of tags."""
    found = UPRIGHT if directory is None else directory.number(ORIENTATION, UPRIGHT)
    return found if found in TURNS else UPRIGHT


def profile(text: object) -> bytes:
    """The bytes of ImageMagick's "Raw profile type": a name, their number, and hexadecimal digits."""
    with suppress(ValueError, IndexError):
        if isinstance(text, str):
            return bytes.fromhex("".join(text.split()[2:]))
    return b""


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned, without the EXIF that said so; as it is where nothing has to be turned."""
    if orientation not in TURNS:
        return image
    turned = image.transpose(TURNS[orientation])
    turned.info = {key: value for key, value in image.info.items() if key not in (EXIF, RAW)}
    return turned


def exif_of(orientation: int) -> bytes:
    """EXIF that says this and nothing else."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)

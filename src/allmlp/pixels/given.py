"""Images as people give them in Python: paths of files, PIL images, arrays of pixels."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from allmlp.errors import AllmlpError, DataError
from allmlp.pixels.channels import as_channels
from allmlp.pixels.read import UnreadableImage, read_image, reason_of
from allmlp.pixels.reading import Reading

Given = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]
"""A file, a PIL image of any size and mode, or pixels: h w, or h w c of 1 (grey), 3 (RGB) or 4 (RGBA) channels."""
KINDS = "a path, a PIL image, or a NumPy array of uint8, height × width (× 3)"
CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def images_of(given: object) -> list[Any]:
    """One image, or several, as a list; an array of four axes is several. Raises DataError for none, and for other things."""
    if isinstance(given, str | os.PathLike | Image.Image) or (isinstance(given, np.ndarray) and given.ndim < 4):
        return [given]
    if isinstance(given, bytes | bytearray | memoryview | Tensor) or not isinstance(given, Iterable):
        raise _not_an_image(given, "the image")
    images = list(given)
    if not images:
        raise DataError("there is no image: the list is empty", hint=f"give at least one: {KINDS}")
    return images


def in_channels(given: object, wanted: Reading | int, name: str = "the image") -> Image.Image:
    """The image with 8-bit channels, grey or RGB, upright.

    Args:
        given: what `Given` says.
        wanted: channels, and what else decides how a file is read.
        name: what to call an image that is no file, in messages.

    Raises:
        UnreadableImage: for a file or a PIL image whose pixels cannot be decoded, or that has none.
        DataError: for something else than an image, and for a path where no file is.
    """
    if isinstance(given, str | os.PathLike):
        return read_image(_file(given), wanted)
    image = _of_pixels(given, name) if isinstance(given, np.ndarray) else given
    if not isinstance(image, Image.Image):
        raise _not_an_image(given, name)
    name = str(getattr(image, "filename", "") or name)
    try:
        image.load()
        if not min(image.size):
            raise UnreadableImage(name, f"it has no pixels: {image.width} × {image.height}", "leave it out")
        return as_channels(image, wanted)
    except AllmlpError:
        raise
    except Exception as error:  # decoders raise far more than OSError
        hint = "open the file again, or give its path; a file that is cut short has to be replaced"
        raise UnreadableImage(name, reason_of(error, name), hint) from None


def _file(given: str | os.PathLike[str]) -> str:
    path = os.fspath(given)
    if not isinstance(path, str):
        raise _not_an_image(path, "the image")
    place = Path(path)
    if place.is_dir():
        raise DataError(f"{path} is a folder", hint="give image files; allmlp.predict also searches folders")
    if not place.is_file():
        hint = "fetch it first" if "://" in path else "check the path"
        raise DataError(f"there is no file {path}", hint=hint)
    return path


def _of_pixels(pixels: NDArray[Any], name: str) -> Image.Image:
    """Raises DataError for an array that is no image."""
    shape = " × ".join(map(str, pixels.shape)) or "no axes"
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in CHANNELS):
        first = pixels.ndim == 3 and pixels.shape[0] in CHANNELS
        raise DataError(
            f"{name} is an array of {shape}, not of height × width or height × width × channels",
            hint="put the channels last: image.transpose(1, 2, 0)" if first else f"give {KINDS}",
        )
    if pixels.dtype != np.uint8:
        raise DataError(
            f"{name} is an array of {pixels.dtype}, not of uint8",
            hint="give values from 0 to 255: of floats from 0 to 1, (255 * image).round().astype('uint8')",
        )
    if not pixels.size:
        raise UnreadableImage(name, f"it has no pixels: {shape}", "leave it out")
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(flat))


def _not_an_image(given: object, name: str) -> DataError:
    hint = f"give {KINDS}"
    if isinstance(given, Tensor):
        hint = "give tensors to the model itself, model(images), prepared as model.preprocessing does; here " + hint
    if isinstance(given, bytes | bytearray | memoryview):
        hint = "open the bytes of a file: PIL.Image.open(io.BytesIO(content))"
    return DataError(f"{name} is of type {type(given).__name__}, which is no image", hint=hint)

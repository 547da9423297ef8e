"""Pictures for the middle of a page."""

# axes: h w pixels

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 120_000
"""Bytes of a picture; a larger one is left out, so that the page stays small."""
CRISP = 64
"""Pictures up to this many pixels are scaled up without smoothing."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Inlined:
    """A picture as a data address."""

    address: str
    width: int
    height: int

    @property
    def crisp(self) -> bool:
        """Whether its pixels are to be seen."""
        return max(self.width, self.height) <= CRISP


def inlined(folder: Path, name: str) -> Inlined | None:
    """Only small PNG files inside the folder are taken, whatever the name says; None for others."""
    path = (folder / name).resolve()
    inside = path.is_relative_to(folder.resolve()) and path.is_file() and path.stat().st_size <= LARGEST
    content = path.read_bytes() if inside else b""
    if not content.startswith(PNG):
        return None
    return _address(content)


def from_pixels(pixels: NDArray[np.uint8], largest: int = 160) -> Inlined:  # h w 3
    """At most `largest` pixels a side."""
    picture, file = Image.fromarray(pixels), BytesIO()
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    picture.save(file, "PNG")
    return _address(file.getvalue())


def _address(png: bytes) -> Inlined:
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    return Inlined(f"data:image/png;base64,{b64encode(png).decode()}", width, height)

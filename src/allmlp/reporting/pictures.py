"""Pictures of a run folder for the middle of a page."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

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
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    return Inlined(f"data:image/png;base64,{b64encode(content).decode()}", width, height)

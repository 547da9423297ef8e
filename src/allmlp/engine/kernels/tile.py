"""How a kernel cuts its work into pieces. Which piece is best depends on the GPU, so several are tried."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tile:
    """rows × columns of the answer are made by one program, `inner` terms of their sums at a time."""

    rows: int
    columns: int
    inner: int
    warps: int
    """Groups of 32 threads that share a program."""
    stages: int = 3
    """Pieces that are on their way from memory at once."""

    @property
    def started(self) -> dict[str, Any]:
        """How Triton is to start a kernel with it."""
        return started(self.warps, self.stages)


def started(warps: int, stages: int) -> dict[str, Any]:
    """The same for kernels that are not cut in tiles. A product and the sum after it are rounded once, which is Triton's
    default up to 3.9; where nobody says so, that version warns."""
    return {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}

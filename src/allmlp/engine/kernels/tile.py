"""How a kernel cuts its work into pieces. Which piece is best depends on the GPU, so several are tried."""

from dataclasses import dataclass


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

"""Linear maps from the values on one grid to those on another over the same picture."""

# axes: o positions of the old grid, p positions of the new grid

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

Operator = Callable[[int, int], Tensor]
"""(cells now, cells wanted) → float64 matrix wanted × now, whose rows sum to 1."""


def overlap(now: int, wanted: int) -> Tensor:  # → p o
    """Each wanted cell is the mean of the cells it covers, by the share that it covers.

    At an integer factor upwards this copies, and downwards it averages; the two undo each other.
    """
    edges_now, edges_wanted = (torch.arange(n + 1, dtype=torch.float64) / n for n in (now, wanted))
    left = torch.maximum(edges_wanted[:-1, None], edges_now[None, :-1])
    right = torch.minimum(edges_wanted[1:, None], edges_now[None, 1:])
    return (right - left).clamp(min=0) * wanted


def copied(now: int, wanted: int) -> Tensor:  # → p o
    """Where cells become more, each is a copy of the one under its centre; where fewer, the mean of those that would be
    its copies. Fewer after more is the identity, at any two sizes."""
    if wanted < now:
        copies = copied(wanted, now).T
        return (copies / copies.sum(1, keepdim=True)).contiguous()
    chosen = ((torch.arange(wanted, dtype=torch.float64) + 0.5) * now / wanted).long().clamp(max=now - 1)
    return torch.eye(now, dtype=torch.float64)[chosen]


def magnified(now: int, wanted: int, scale: float) -> Tensor:  # → o p
    """What each cell covers when a row is drawn `scale` times as large onto `wanted` cells with the same middle, in shares
    that sum to 1 where there is room for it. A map's weights times this see the larger picture as they saw the old one."""
    edges_now, edges_wanted = (torch.arange(n + 1, dtype=torch.float64) - n / 2 for n in (now, wanted))
    left = torch.maximum(edges_now[:-1, None] * scale, edges_wanted[None, :-1])
    right = torch.minimum(edges_now[1:, None] * scale, edges_wanted[None, 1:])
    return (right - left).clamp(min=0) / scale


def _torch_operator(mode: str) -> Operator:
    """torch's own image resizing of one row, low-passed where cells become fewer."""

    def operator(now: int, wanted: int) -> Tensor:  # → p o
        rows = torch.eye(now, dtype=torch.float64)[:, None, None]  # o 1 1 o
        columns = F.interpolate(rows, size=(1, wanted), mode=mode, antialias=True).reshape(now, wanted)
        return columns.T.clone(memory_format=torch.contiguous_format)  # a single row counts as contiguous, not to torch.kron

    return operator


KERNELS: dict[str, Operator] = {
    "copy": copied,
    "area": overlap,
    "bilinear": _torch_operator("bilinear"),
    "bicubic": _torch_operator("bicubic"),
}
"""Name → how values go from grid to grid."""


@dataclass(frozen=True)
class Resample:
    """Between an old and a new grid: `up` carries what stands on the old one to the new one, `down` the reverse."""

    up: Tensor
    """p × o, float64; rows sum to 1."""
    down: Tensor
    """o × p, float64; rows sum to 1."""

    @classmethod
    def between(cls, old: tuple[int, ...], new: tuple[int, ...], kernel: str) -> "Resample":
        """old, new: cells along each axis, as (rows, columns) or (rows,); positions are numbered in raster order."""
        operator = KERNELS[kernel]
        up = [operator(now, wanted) for now, wanted in zip(old, new, strict=True)]
        down = [operator(wanted, now) for now, wanted in zip(old, new, strict=True)]
        return cls(reduce(torch.kron, up), reduce(torch.kron, down))

    def after_class(self) -> "Resample":
        """The same for tokens with a class token before them, which stays what it is."""
        one = torch.ones(1, 1, dtype=torch.float64)
        return Resample(torch.block_diag(one, self.up), torch.block_diag(one, self.down))

    def repeated(self, times: int) -> "Resample":
        """The same for several grids, one after the other."""
        eye = torch.eye(times, dtype=torch.float64)
        return Resample(torch.kron(eye, self.up), torch.kron(eye, self.down))

    def each_of(self, channels: int) -> "Resample":
        """The same where every position holds several channels."""
        eye = torch.eye(channels, dtype=torch.float64)
        return Resample(torch.kron(self.up, eye), torch.kron(self.down, eye))

    def outputs(self, values: Tensor) -> Tensor:  # o … → p …
        """What a map, a bias or an embedding gives to each position."""
        return torch.tensordot(self.up.to(values.device), values.double(), 1).to(values.dtype)

    def inputs(self, weight: Tensor) -> Tensor:  # … o → … p
        """What a map takes from each position; its sum over the positions stays."""
        return (weight.double() @ self.down.to(weight.device)).to(weight.dtype)

"""LayerNorm of rows without scale and shift, and its statistics alone. Computed in float32, a row by one program."""

# axes: r rows, c channels

import torch
import triton
import triton.language as tl
from torch import Tensor

from allmlp.engine.kernels.tile import started

WARPS = (1, 4, 8)
"""Groups of 32 threads a row; which is best depends on the channels."""


@triton.jit
def _moments(x, shift, row, columns, c, eps):  # → c values less their mean, mean, 1 / standard deviation
    values = tl.load(x + row * c + columns, mask=columns < c, other=0.0).to(tl.float32)
    if shift is not None:
        values = values - tl.load(shift + columns, mask=columns < c, other=0.0).to(tl.float32)
    mean = tl.sum(values, 0) / c
    centred = tl.where(columns < c, values - mean, 0.0)
    return centred, mean, 1 / tl.sqrt(tl.sum(centred * centred, 0) / c + eps)


@triton.jit
def stats_kernel(x, mean, rstd, c, eps, SIZE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    _, centre, spread = _moments(x, None, row, tl.arange(0, SIZE), c, eps)
    tl.store(mean + row, centre)
    tl.store(rstd + row, spread)


@triton.jit
def norm_kernel(x, shift, out, c, eps, SIZE: tl.constexpr):
    row, columns = tl.program_id(0).to(tl.int64), tl.arange(0, SIZE)
    centred, _, spread = _moments(x, shift, row, columns, c, eps)
    tl.store(out + row * c + columns, (centred * spread).to(out.dtype.element_ty), mask=columns < c)


def stats(x: Tensor, eps: float, *, warps: int = 4) -> tuple[Tensor, Tensor]:  # b n c → b n, b n
    """`allmlp.engine.gpu.plain.stats` as one kernel. x is contiguous."""
    c = x.shape[-1]
    mean, rstd = x.new_empty(2, *x.shape[:-1], dtype=torch.float32).unbind()
    stats_kernel[(x.numel() // c,)](x, mean, rstd, c, eps, SIZE=triton.next_power_of_2(c), **started(warps, 1))
    return mean, rstd


def norm(x: Tensor, shift: Tensor, eps: float, *, warps: int = 4) -> Tensor:  # b n c, c → b n c
    """`allmlp.engine.gpu.plain.norm` as one kernel. x is contiguous."""
    out, c = x.new_empty(x.shape), x.shape[-1]
    norm_kernel[(x.numel() // c,)](x, shift, out, c, eps, SIZE=triton.next_power_of_2(c), **started(warps, 1))
    return out

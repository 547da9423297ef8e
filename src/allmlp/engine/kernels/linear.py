"""A linear map of rows, with GELU or the sum with a residual in the same pass."""

# axes: r rows, i inputs, o outputs

import triton
import triton.language as tl
from torch import Tensor

from allmlp.engine.kernels.gelu import gelu
from allmlp.engine.kernels.tile import Tile

TILES = (
    Tile(128, 128, 32, 4, 4),
    Tile(128, 128, 64, 8),
    Tile(128, 256, 64, 8),
    Tile(256, 128, 64, 8),
    Tile(64, 128, 64, 4, 4),
    Tile(64, 64, 64, 4, 4),
    Tile(32, 32, 64, 4, 4),
)
GROUP = 8
"""Pieces below each other that are made one after the other, so that what they share of the weights is still in the cache."""


@triton.jit
def linear_kernel(
    x,
    weight,
    out,
    bias,
    residual,
    r,
    i,
    o,
    APPROXIMATE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    GROUP: tl.constexpr,
):
    """One program makes ROWS × COLUMNS of the answer."""
    program = tl.program_id(0)
    high, wide = tl.cdiv(r, ROWS), tl.cdiv(o, COLUMNS)
    group = program // (GROUP * wide)
    size = min(high - group * GROUP, GROUP)
    rows = (group * GROUP + program % (GROUP * wide) % size) * ROWS + tl.arange(0, ROWS)
    columns = program % (GROUP * wide) // size * COLUMNS + tl.arange(0, COLUMNS)
    far = rows.to(tl.int64)
    inner = tl.arange(0, INNER)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, i, INNER):
        left = i - first
        given = tl.load(
            x + far[:, None] * i + (first + inner)[None, :], mask=(rows[:, None] < r) & (inner[None, :] < left), other=0.0
        )
        weights = tl.load(
            weight + columns[None, :] * i + (first + inner)[:, None],
            mask=(columns[None, :] < o) & (inner[:, None] < left),
            other=0.0,
        )
        sums = tl.dot(given, weights, sums, input_precision="ieee")  # no TF32 in float32
    if bias is not None:
        sums = sums + tl.load(bias + columns, mask=columns < o, other=0.0).to(tl.float32)[None, :]
    if APPROXIMATE is not None:
        sums = gelu(sums, APPROXIMATE)
    inside = (rows[:, None] < r) & (columns[None, :] < o)
    place = far[:, None] * o + columns[None, :]
    if residual is not None:
        sums = sums + tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, sums.to(out.dtype.element_ty), mask=inside)


def _linear(
    x: Tensor,  # ... i
    weight: Tensor,  # o i
    bias: Tensor | None,  # o
    approximate: str | None,
    residual: Tensor | None,  # ... o
    tile: Tile,
) -> Tensor:  # → ... o
    """All contiguous."""
    o, i = weight.shape
    r = x.numel() // i
    out = x.new_empty(*x.shape[:-1], o)
    grid = (triton.cdiv(r, tile.rows) * triton.cdiv(o, tile.columns),)
    linear_kernel[grid](
        *(x, weight, out, bias, residual),
        *(r, i, o),
        APPROXIMATE=approximate,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        INNER=tile.inner,
        GROUP=GROUP,
        **tile.started,
    )
    return out


def linear_gelu(
    x: Tensor, weight: Tensor, bias: Tensor, *, approximate: str = "none", tile: Tile = TILES[0]
) -> Tensor:  # ... i, o i, o → ... o
    """`allmlp.engine.gpu.plain.linear_gelu` as one kernel."""
    return _linear(x, weight, bias, approximate, None, tile)


def add_linear(x: Tensor, hidden: Tensor, weight: Tensor, *, tile: Tile = TILES[0]) -> Tensor:  # ... o, ... i, o i → ... o
    """`allmlp.engine.gpu.plain.add_linear` as one kernel, which leaves x alone."""
    return _linear(hidden, weight, None, None, x, tile)

"""Mixing the tokens of b × n × c in one pass: x is read and the answer written, with no transpose and nothing between.

Norm, scale, bias, GELU and residual happen on the way. Sums are made in float32.
"""

# axes: b images, n tokens in, m tokens out, c channels

import triton
import triton.language as tl
from torch import Tensor

from allmlp.engine.kernels.gelu import gelu
from allmlp.engine.kernels.tile import Tile

TILES = (
    Tile(64, 64, 32, 4),
    Tile(64, 128, 32, 4),
    Tile(128, 64, 32, 4),
    Tile(128, 128, 32, 8),
    Tile(256, 64, 32, 8),
    Tile(32, 32, 64, 4),
)
"""The first suits most; 256 rows hold all of 196 tokens, so x is read once; the last is for one image, which has few pieces."""


@triton.jit
def mix_kernel(
    x,
    matrix,
    out,
    scale,
    bias,
    mean,
    rstd,
    residual,
    n,
    m,
    c,
    width,
    bias_row,
    bias_column,
    APPROXIMATE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    """One program makes ROWS tokens × COLUMNS channels of one image. width: numbers from one row of the matrix to the next."""
    program = tl.program_id(0)
    high, wide = tl.cdiv(m, ROWS), tl.cdiv(c, COLUMNS)
    image = (program // (high * wide)).to(tl.int64)
    rows = program % high * ROWS + tl.arange(0, ROWS)  # neighbours read the same of x, which is then in the cache
    columns = program // high % wide * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, n, INNER):
        tokens = first + tl.arange(0, INNER)
        # up to `width`, not n: a multiple of 16 lets it read whole words, and what lies beyond n meets zeros of x
        weights = tl.load(
            matrix + rows[:, None] * width + tokens[None, :], mask=(rows[:, None] < m) & (tokens[None, :] < width), other=0.0
        )
        at = image * n + tokens
        given = tl.load(x + at[:, None] * c + columns[None, :], mask=(tokens[:, None] < n) & (columns[None, :] < c), other=0.0)
        if mean is not None:
            centre = tl.load(mean + at, mask=tokens < n, other=0.0)
            spread = tl.load(rstd + at, mask=tokens < n, other=0.0)
            given = ((given.to(tl.float32) - centre[:, None]) * spread[:, None]).to(weights.dtype)
        sums = tl.dot(weights, given, sums, input_precision="ieee")  # no TF32 in float32
    inside = (rows[:, None] < m) & (columns[None, :] < c)
    if scale is not None:
        sums = sums * tl.load(scale + columns, mask=columns < c, other=0.0).to(tl.float32)[None, :]
    if bias is not None:
        at_bias = rows[:, None] * bias_row + columns[None, :] * bias_column
        sums = sums + tl.load(bias + at_bias, mask=inside, other=0.0).to(tl.float32)
    if APPROXIMATE is not None:
        sums = gelu(sums, APPROXIMATE)
    place = (image * m + rows)[:, None] * c + columns[None, :]
    if residual is not None:
        sums = sums + tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, sums.to(out.dtype.element_ty), mask=inside)


def mix(
    x: Tensor,  # b n c
    matrix: Tensor,  # m n
    *,
    scale: Tensor | None = None,  # c
    bias: Tensor | None = None,  # m c
    stats: tuple[Tensor, Tensor] | None = None,  # b n, b n
    approximate: str | None = None,
    residual: Tensor | None = None,  # b m c
    tile: Tile = TILES[0],
) -> Tensor:  # → b m c
    """`allmlp.engine.gpu.plain.mix` as one kernel. x and residual are contiguous; what lies between the matrix's rows, as
    `aligned` leaves it, is finite."""
    b, n, c = x.shape
    m = len(matrix)
    out = x.new_empty(b, m, c)
    mean, rstd = (None, None) if stats is None else stats
    row, column = (0, 0) if bias is None else bias.stride()
    grid = (b * triton.cdiv(m, tile.rows) * triton.cdiv(c, tile.columns),)
    mix_kernel[grid](
        *(x, matrix, out, scale, bias, mean, rstd, residual),
        *(n, m, c, matrix.stride(0), row, column),
        APPROXIMATE=approximate,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        INNER=tile.inner,
        **tile.started,
    )
    return out

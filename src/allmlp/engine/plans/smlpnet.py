"""sMLPNet on rows × columns × (images · channels): mixing the height is one product, the width one a row.

The fusion of the three branches is three products that add to the residual, so nothing is concatenated.
"""

# axes: b images, y x rows and columns of the grid, c channels

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.engine.plans.layout import ChannelMlp, Folded, Setup, TokensMajor, cut
from allmlp.engine.plans.products import Depthwise, Product
from allmlp.errors import EngineError
from allmlp.models.pyramid import grids
from allmlp.surgery.fold import scale_and_shift

NEAR_BYTES = 2**20
"""What the channels of all tokens may take in a stage, if that is not one image's. Measured on sMLPNet-T: 3 to 4 % faster at 32
images than all stages alike, twice or half as much 1 to 2 % slower; the larger variants are as fast as before."""


class TokenMix:
    """x + F [z, z along the width, z along the height], z = GELU(depthwise(GELU(norm(x)))).

    The biases of the two mixes, seen through the fusion, are one map of the grid, made anew each time: kept, the maps of all
    blocks would be a tenth of sMLPNet-T's weights.
    """

    def __init__(self, block: Folded, grid: tuple[int, int], setup: Setup) -> None:
        sparse, local, dtype = block.sparse, block.depthwise.conv, setup.dtype
        scale, shift = evaluated(block.depthwise.norm)
        self.norm = Depthwise(scale[:, None, None, None], shift, dtype=dtype)
        self.local = Depthwise(local.weight, local.bias, dtype=dtype)
        self.along_columns = sparse.along_columns.weight.detach().to(dtype)
        self.along_rows = sparse.along_rows.weight.detach().to(dtype)
        parts = sparse.fuse.weight.detach().flatten(1).chunk(3, 1)
        self.fuse = [Product(part, None, rows=grid[0] * grid[1] * setup.chunk, dtype=dtype) for part in parts]
        columns = sparse.along_columns.bias.double()[None, :, None] * parts[1].double().sum(1)
        rows = sparse.along_rows.bias.double()[:, None, None] * parts[2].double().sum(1)
        self.bias_of_columns = columns.detach().to(dtype)[:, :, None]  # 1 x 1 c
        self.bias_of_rows = rows.detach().to(dtype)[:, :, None]  # y 1 1 c

    def __call__(self, x: Tensor) -> Tensor:  # y x b c → y x b c
        rows, columns, _, c = x.shape
        z = self.local.gelu(self.norm.gelu(x))
        along_columns = torch.bmm(self.along_columns.expand(rows, -1, -1), z.view(rows, columns, -1))
        along_rows = torch.mm(self.along_rows, z.view(rows, -1))
        total = x.add_(self.bias_of_columns + self.bias_of_rows).view(-1, c)
        for fuse, branch in zip(self.fuse, (z, along_columns, along_rows), strict=True):
            total = fuse.add(branch.view(-1, c), total)
        return total.view(x.shape)


class StagePlan:
    """One linear map of each square of tokens, then the blocks.

    Of a stage with a large grid fewer images go through at a time, so that a block's input stays in the nearest caches.
    """

    def __init__(self, stage: Folded, grid: tuple[int, int], setup: Setup, *, of_pixels: bool) -> None:
        image = grid[0] * grid[1] * len(stage.embed.weight) * setup.dtype.itemsize
        setup = replace(setup, batch=max(1, min(setup.batch, NEAR_BYTES // image)))
        self.chunk = setup.chunk
        weight = stage.embed.weight if of_pixels else stage.embed.weight.permute(0, 2, 3, 1)
        made: dict[str, Any] = dict(rows=grid[0] * grid[1] * setup.chunk, dtype=setup.dtype)
        self.grid, self.side = grid, stage.embed.kernel_size[0]
        self.embed = Product(weight.flatten(1), stage.embed.bias, **made)
        self.steps = [(TokenMix(b, grid, setup), ChannelMlp(b.channel_mlp, b.channel_norm, **made)) for b in stage.blocks]

    def __call__(self, squares: Tensor) -> Tensor:  # (y x b) inputs → y x b c
        x = self.embed(squares).view(*self.grid, -1, self.embed.outputs)
        for token_mix, channel_mlp in self.steps:
            x = channel_mlp(token_mix(x).flatten(0, 2)).view(x.shape)
        return x


class SMLPNetPlan(TokensMajor):
    """The folded stages; the final norm is the model's own."""

    def __init__(self, folded: Folded, setup: Setup) -> None:
        super().__init__(setup)
        self.folded = folded
        sizes = grids(folded.img_size, [stage.embed.kernel_size[0] for stage in folded.stages])
        self.stages = [
            StagePlan(stage, grid, setup, of_pixels=s == 0)
            for s, (stage, grid) in enumerate(zip(folded.stages, sizes, strict=True))
        ]
        del folded.stages

    def tokens(self, images: Tensor) -> Tensor:  # b c h w → b c y x
        first, *others = self.stages
        x = together([first(cut(part, first.side, self.dtype)) for part in equal_parts(images, first.chunk, 0)])
        for stage in others:
            x = together([stage(squares(part, stage.side)) for part in equal_parts(x, stage.chunk, 2)])
        return x.permute(2, 3, 0, 1)


def equal_parts(x: Tensor, most: int, axis: int) -> tuple[Tensor, ...]:
    """As few parts as have no more than so many images."""
    return x.tensor_split(-(-x.shape[axis] // most), axis)


def together(parts: list[Tensor]) -> Tensor:  # some of y x b c → y x b c
    return torch.cat(parts, 2) if len(parts) > 1 else parts[0]


def squares(x: Tensor, side: int) -> Tensor:  # y x b c → (y′ x′ b) (side side c)
    """Each square of tokens as one row; what no square covers is left out."""
    rows, columns = x.shape[0] // side, x.shape[1] // side
    whole = x[: rows * side, : columns * side].unflatten(0, (rows, side)).unflatten(2, (columns, side))
    return whole.permute(0, 2, 4, 1, 3, 5).reshape(rows * columns * x.shape[2], -1)


def evaluated(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:  # c, c
    """The scale and shift that a BatchNorm is when it is not trained."""
    found = scale_and_shift(norm)
    if found is None:
        raise EngineError("a BatchNorm of this model keeps no running statistics", hint='use backend="eager"')
    return found

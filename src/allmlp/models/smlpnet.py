"""sMLPNet: a depthwise convolution, then mixing along rows and columns apart (Tang et al., 2022; the release)."""

# axes: b batch, c channels, y x rows and columns of the grid

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.arguments import choice, hidden_width, image_size, number, ranks, whole, wholes
from allmlp.models.pyramid import Pyramid, Stage, grids
from allmlp.nn.fusion import SplitAttention
from allmlp.nn.lowrank import linear
from allmlp.nn.mixing import AlongColumns, AlongRows, linear_rates, stochastic_depth
from allmlp.nn.mlp import Mlp
from allmlp.registry import register

VARIANTS: dict[str, dict[str, Any]] = {
    "smlpnet_t": dict(dim=80, depths=(2, 8, 14, 2)),  # 24.1 M
    "smlpnet_s": dict(dim=96, depths=(2, 10, 24, 2)),  # 48.6 M
    "smlpnet_b": dict(dim=112, depths=(2, 10, 24, 2)),  # 65.9 M
    "smlpnet_xs": dict(patch_size=2, dim=32, depths=(1, 4), img_size=32),  # 0.2 M, for 28 to 64 pixels
}
PUBLISHED = {"smlpnet_t": 81.9, "smlpnet_s": 83.1, "smlpnet_b": 83.4}
LICENCES = dict.fromkeys(["smlpnet_s", "smlpnet_b"], "MIT")


class DepthwiseMix(nn.Module):
    """BatchNorm, GELU, then a 3 × 3 convolution of each channel by itself: the local part of token mixing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return self.conv(F.gelu(self.norm(x)))


class SparseMix(nn.Module):
    """BatchNorm, GELU, then a linear fusion of [identity, along the width, along the height] (section 3.2)."""

    def __init__(self, dim: int, grid: tuple[int, int], ranks: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)
        self.along_columns = linear(AlongColumns, grid[1], grid[1], ranks[0])
        self.along_rows = linear(AlongRows, grid[0], grid[0], ranks[1])
        self.fuse: nn.Module = nn.Conv2d(3 * dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        x = F.gelu(self.norm(x))
        return self.fused(x, self.along_columns(x), self.along_rows(x))

    def fused(self, *branches: Tensor) -> Tensor:  # 3 times b c y x → b c y x
        return self.fuse(torch.cat(branches, 1))


class SplitSparseMix(SparseMix):
    """The three branches weighed by split attention, as ViP does: an alternative that is not the release's."""

    def __init__(self, dim: int, grid: tuple[int, int], ranks: tuple[int, int] = (0, 0)) -> None:
        super().__init__(dim, grid, ranks)
        self.fuse = SplitAttention(dim)

    def fused(self, *branches: Tensor) -> Tensor:  # 3 times b c y x → b c y x
        return self.fuse(*branches)


FUSIONS = {"linear": SparseMix, "split_attention": SplitSparseMix}


class SparseMLPBlock(nn.Module):
    """One residual over depthwise convolution and sparse mixing, one over the channel MLP."""

    def __init__(
        self,
        *,
        dim: int,
        grid: tuple[int, int],
        hidden: int,
        drop_path: float,
        fusion: str = "linear",
        ranks: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.depthwise = DepthwiseMix(dim)
        self.sparse = FUSIONS[fusion](dim, grid, ranks)
        self.channel_norm = nn.LayerNorm(dim)
        self.channel_mlp = Mlp(dim, hidden)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        x = x + self.drop_path(self.sparse(self.depthwise(x)))
        channels_last = self.channel_mlp(self.channel_norm(x.permute(0, 2, 3, 1)))
        return x + self.drop_path(channels_last.permute(0, 3, 1, 2))


@register("smlpnet", variants=VARIANTS, published=PUBLISHED, licences=LICENCES, paper="arXiv:2109.05422")
class SMLPNet(Pyramid):
    """dim: channels of the first stage; each further stage doubles them and halves the grid (an odd
    grid loses its last row or column, as the release's strided convolution does).
    fusion: of the three branches of a sparse mix, "linear" as released, or "split_attention" as in ViP.
    drop_path grows linearly over the blocks of all stages.
    token_rank: of the mixing along columns and rows, two matrices a block; one number for all, or one for each, of which 0
    leaves it whole."""

    PREPROCESSING = {"crop_ratio": 0.875}
    CHANNELS_LAST = True  # a fifth faster in training: the channel MLP then needs no copy

    def __init__(
        self,
        *,
        dim: int,
        depths: Sequence[int],
        patch_size: int = 4,
        expansion: float = 3,
        fusion: str = "linear",
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
        token_rank: int | Sequence[int] | None = None,
    ) -> None:
        size = image_size(img_size, whole("patch_size", patch_size))
        depths, dim = wholes("depths", depths), whole("dim", dim)
        width = dim * 2 ** (len(depths) - 1)
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=width)
        sizes = grids(size, [patch_size] + [2] * (len(depths) - 1))
        if min(sizes[-1]) < 1:
            least = patch_size * 2 ** (len(depths) - 1)
            raise ModelError(
                f"img_size={img_size!r} leaves nothing for stage {len(depths)}",
                hint=f"use at least {least} pixels a side, a smaller patch_size, or fewer depths",
            )
        block: dict[str, Any] = dict(fusion=choice("fusion", fusion, list(FUSIONS)))
        rates = iter(linear_rates(number("drop_path", drop_path, below=1), sum(depths)))
        each = iter(ranks("token_rank", token_rank, count=2 * sum(depths)))
        self.stages = nn.ModuleList()
        chans, stride = in_chans, patch_size
        for s, (depth, grid) in enumerate(zip(depths, sizes, strict=True)):
            block |= dict(dim=dim * 2**s, grid=grid, hidden=hidden_width(dim * 2**s, expansion))
            blocks = [SparseMLPBlock(**block, drop_path=next(rates), ranks=(next(each), next(each))) for _ in range(depth)]
            embed = nn.Conv2d(chans, dim * 2**s, stride, stride=stride, bias=False)
            self.stages.append(Stage(embed=embed, blocks=blocks))
            chans, stride = dim * 2**s, 2
        self.norm = nn.BatchNorm2d(width)
        self.head = self.new_head(num_classes)

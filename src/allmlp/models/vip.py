"""Vision Permutator: height, width and channels mixed in three branches, then weighed (Hou et al., 2021)."""

# axes: b batch, c channels, y x rows and columns of the grid

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.arguments import check_divides, hidden_width, image_size, number, numbers, switches, whole, wholes
from allmlp.models.initial import truncated
from allmlp.models.pyramid import ChannelsLastStage, Pyramid, grids
from allmlp.nn.fusion import SplitAttention
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.nn.mlp import Mlp
from allmlp.nn.segments import SegmentsAlongColumns, SegmentsAlongRows
from allmlp.registry import register

EVEN, FIRST, SECOND = (False, False, False), (True, False, False), (False, True, False)
VARIANTS: dict[str, dict[str, Any]] = {
    "vip_s14": dict(
        patch_size=14, dims=(384, 384, 384, 384), depths=(4, 3, 8, 3), segments=(16, 16, 16, 16), transitions=EVEN
    ),  # 29.9 M
    "vip_s7": dict(
        patch_size=7, dims=(192, 384, 384, 384), depths=(4, 3, 8, 3), segments=(32, 16, 16, 16), transitions=FIRST
    ),  # 25.1 M
    "vip_m7": dict(
        patch_size=7, dims=(256, 256, 512, 512), depths=(4, 3, 14, 3), segments=(32, 32, 16, 16), transitions=SECOND
    ),  # 55.3 M
    "vip_l7": dict(
        patch_size=7, dims=(256, 512, 512, 512), depths=(8, 8, 16, 4), segments=(32, 16, 16, 16), transitions=FIRST
    ),  # 87.8 M
}
PUBLISHED = {"vip_s7": 81.5, "vip_m7": 82.7, "vip_l7": 83.2}
LICENCES = dict.fromkeys(["vip_s7", "vip_m7", "vip_l7"], "MIT")


class PermuteMix(nn.Module):
    """Along the height, along the width and along the channels, weighed by split attention ("Weighted Permute-MLP")."""

    def __init__(self, *, dim: int, segments: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.along_rows = SegmentsAlongRows(dim=dim, segments=segments, rows=grid[0])
        self.along_columns = SegmentsAlongColumns(dim=dim, segments=segments, columns=grid[1])
        self.along_channels = nn.Linear(dim, dim, bias=False)
        self.fuse = SplitAttention(dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # b y x c → b y x c
        branches = self.along_rows(x), self.along_columns(x), self.along_channels(x)
        fused = self.fuse(*(branch.permute(0, 3, 1, 2) for branch in branches))
        return self.proj(fused.permute(0, 2, 3, 1))


class PermutatorBlock(nn.Module):
    """LayerNorm, then permute mixing, with a residual; LayerNorm, then a channel MLP, with another."""

    def __init__(self, *, dim: int, segments: int, grid: tuple[int, int], hidden: int, drop_path: float) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(dim)
        self.token_mix = PermuteMix(dim=dim, segments=segments, grid=grid)
        self.channel_norm = nn.LayerNorm(dim)
        self.channel_mlp = Mlp(dim, hidden)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b y x c → b y x c
        x = x + self.drop_path(self.token_mix(self.token_norm(x)))
        return x + self.drop_path(self.channel_mlp(self.channel_norm(x)))


@register("vip", variants=VARIANTS, published=PUBLISHED, licences=LICENCES, paper="arXiv:2106.12368")
class ViP(Pyramid):
    """dims, depths, segments, expansions: of each stage; segments: into how many parts the channels are cut
    (the paper takes as many as the grid has rows); expansions: three unless given. transitions: between
    which stages the grid halves, one fewer than stages; nowhere unless given.
    drop_path grows linearly over the blocks of all stages."""

    def __init__(
        self,
        *,
        dims: Sequence[int],
        depths: Sequence[int],
        segments: Sequence[int],
        patch_size: int = 14,
        transitions: Sequence[bool] | None = None,
        expansions: Sequence[float] | None = None,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        size = image_size(img_size, whole("patch_size", patch_size))
        depths = wholes("depths", depths)
        count = len(depths)
        dims, segments = wholes("dims", dims, count=count), wholes("segments", segments, count=count)
        ratios = numbers("expansions", [3] * count if expansions is None else expansions, count=count)
        halved = switches("transitions", [False] * (count - 1) if transitions is None else transitions, count - 1)
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=dims[-1])
        rates = iter(linear_rates(number("drop_path", drop_path, below=1), sum(depths)))
        strides = [patch_size, *(2 if halve else 1 for halve in halved)]
        chans = in_chans
        self.stages = nn.ModuleList()
        for s, (dim, stride, grid) in enumerate(zip(dims, strides, grids(size, strides), strict=True)):
            _check_stage(s, dim, segments[s], grid, img_size)
            hidden = hidden_width(dim, ratios[s], name=f"expansions[{s}]")
            blocks = [
                PermutatorBlock(dim=dim, segments=segments[s], grid=grid, hidden=hidden, drop_path=next(rates))
                for _ in range(depths[s])
            ]
            changes = s == 0 or stride > 1 or dim != chans
            embed = nn.Conv2d(chans, dim, stride, stride=stride) if changes else nn.Identity()
            self.stages.append(ChannelsLastStage(embed=embed, blocks=blocks))
            chans = dim
        self.norm = nn.LayerNorm(dims[-1])
        self.apply(truncated)
        self.head = self.new_head(num_classes)

    def normed(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if x.shape[1] == self.num_features else x

    def start_head(self, head: nn.Linear) -> None:
        truncated(head)


def _check_stage(s: int, dim: int, segments: int, grid: tuple[int, int], img_size: object) -> None:
    check_divides(f"segments[{s}]", segments, dim, f"dims[{s}]={dim}")
    if min(grid) < 1:
        raise ModelError(
            f"img_size={img_size!r} leaves nothing for stage {s + 1}",
            hint="use a larger img_size, a smaller patch_size, or fewer transitions",
        )

"""AS-MLP: linear maps of the channels, between them shifts along the rows and along the columns (Lian et al., 2022)."""

# axes: b batch, c channels, h w pixels, y x rows and columns of the grid, i j row and column within a merged patch

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.arguments import hidden_width, image_size, number, whole, wholes
from allmlp.models.initial import truncated
from allmlp.models.pyramid import Pyramid, Stage
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.nn.mlp import GridMlp
from allmlp.nn.shift import shift_columns, shift_rows
from allmlp.registry import register

VARIANTS: dict[str, dict[str, Any]] = {
    "asmlp_t": dict(dim=96, depths=(2, 2, 6, 2)),  # 28.3 M
    "asmlp_s": dict(dim=96, depths=(2, 2, 18, 2)),  # 49.6 M
    "asmlp_b": dict(dim=128, depths=(2, 2, 18, 2)),  # 87.8 M
}
PUBLISHED = {"asmlp_t": 81.3, "asmlp_s": 83.1, "asmlp_b": 83.3}
LICENCES = dict.fromkeys(VARIANTS, "MIT")


def whole_norm(dim: int) -> nn.Module:
    """Normalise over channels and positions together, one scale and shift per channel."""
    return nn.GroupNorm(1, dim)


class AxialShift(nn.Module):
    """A projection, then shifts along the columns and along the rows side by side, each with a projection, then
    their sum and a last projection."""

    def __init__(self, dim: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.enter = nn.Conv2d(dim, dim, 1)
        self.enter_norm = whole_norm(dim)
        self.after_columns = nn.Conv2d(dim, dim, 1)
        self.after_rows = nn.Conv2d(dim, dim, 1)
        self.leave_norm = whole_norm(dim)
        self.leave = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        x = F.gelu(self.enter_norm(self.enter(x)))
        along_columns = F.gelu(self.after_columns(shift_columns(x, self.shift)))
        along_rows = F.gelu(self.after_rows(shift_rows(x, self.shift)))
        return self.leave(self.leave_norm(along_columns + along_rows))


class ASMLPBlock(nn.Module):
    """One residual over the axial shift, one over the channel MLP."""

    def __init__(self, *, dim: int, shift: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.token_norm = whole_norm(dim)
        self.token_mix = AxialShift(dim, shift)
        self.channel_norm = whole_norm(dim)
        self.channel_mlp = GridMlp(dim, hidden)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        x = x + self.drop_path(self.token_mix(self.token_norm(x)))
        return x + self.drop_path(self.channel_mlp(self.channel_norm(x)))


class PatchEmbedding(nn.Module):
    """Cut into patches, map each to `dim` channels, normalise."""

    def __init__(self, chans: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(chans, dim, patch_size, stride=patch_size)
        self.norm = whole_norm(dim)

    def forward(self, image: Tensor) -> Tensor:  # b c h w → b c y x
        return self.norm(self.proj(image))


class PatchMerging(nn.Module):
    """Join the channels of each 2 × 2 positions, normalise, map to `dim` channels (as in Swin)."""

    def __init__(self, chans: int, dim: int) -> None:
        super().__init__()
        self.norm = whole_norm(4 * chans)
        self.reduction = nn.Conv2d(4 * chans, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c′ y/2 x/2
        squares = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # b c y i x j
        return self.reduction(self.norm(squares.permute(0, 5, 3, 1, 2, 4).flatten(1, 3)))


@register("asmlp", variants=VARIANTS, published=PUBLISHED, licences=LICENCES, paper="arXiv:2107.08391")
class ASMLP(Pyramid):
    """dim: channels of the first stage; each further stage doubles them and halves the grid.
    shift: how many groups of channels move, an odd number: 5 moves them by -2 to 2 positions.
    drop_path grows linearly over the blocks of all stages."""

    PREPROCESSING = {"crop_ratio": 0.875}

    def __init__(
        self,
        *,
        dim: int,
        depths: Sequence[int],
        patch_size: int = 4,
        shift: int = 5,
        expansion: float = 4,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        depths, dim = wholes("depths", depths), whole("dim", dim)
        if not whole("shift", shift) % 2:
            raise ModelError(f"shift={shift} is even, so it has no middle group", hint=f"use shift={shift - 1} or {shift + 1}")
        cell = whole("patch_size", patch_size) * 2 ** (len(depths) - 1)
        size = image_size(img_size, cell, patch="the last stage's patch")
        width = dim * 2 ** (len(depths) - 1)
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=width)
        rates = iter(linear_rates(number("drop_path", drop_path, below=1), sum(depths)))
        self.stages = nn.ModuleList()
        for s, depth in enumerate(depths):
            wide = dim * 2**s
            hidden = hidden_width(wide, expansion)
            blocks = [ASMLPBlock(dim=wide, shift=shift, hidden=hidden, drop_path=next(rates)) for _ in range(depth)]
            embed = PatchMerging(wide // 2, wide) if s else PatchEmbedding(in_chans, wide, patch_size)
            self.stages.append(Stage(embed=embed, blocks=blocks))
        self.norm = whole_norm(width)
        self.head = self.new_head(num_classes)

    def start_head(self, head: nn.Linear) -> None:
        truncated(head)  # all else keeps torch's default, because it is made of convolutions in the release

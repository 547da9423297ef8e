"""EAMLP: external attention in place of self-attention, on overlapping patches (Guo et al., 2021; the release)."""

# axes: b batch, c channels, h w pixels, n patches, t = 1 + n tokens, y x rows and columns of a grid

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.arguments import check_divides, hidden_width, number, whole
from allmlp.models.initial import truncated
from allmlp.models.tokens import ClassTokenModel
from allmlp.nn.external import ExternalAttention, Memory
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.nn.mlp import Mlp
from allmlp.nn.patches import check_image, to_grid
from allmlp.registry import register

VARIANTS = {
    "eamlp_7": dict(dim=256, depth=7, heads=4, expansion=2),  # 6.1 M
    "eamlp_14": dict(dim=384, depth=14, heads=6, expansion=3),  # 29.8 M
    "eamlp_19": dict(dim=448, depth=19, heads=7, expansion=3),  # 54.5 M
}
PUBLISHED = {"eamlp_14": 78.9, "eamlp_19": 79.4}
REDUCED, UNITS = 64, 128
"""Channels between the soft splits, and units of the memory there."""


class ReducingBlock(nn.Module):
    """Narrow what a soft split has joined, with one head of external attention, then an MLP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(dim)
        self.reduce = nn.Linear(dim, REDUCED)
        self.memory = Memory(REDUCED, UNITS, bias=False)
        self.proj = nn.Linear(REDUCED, REDUCED)
        self.channel_norm = nn.LayerNorm(REDUCED)
        self.channel_mlp = Mlp(REDUCED, REDUCED)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n 64
        x = self.reduce(self.token_norm(x))
        x = x + self.proj(self.memory(x))
        return x + self.channel_mlp(self.channel_norm(x))


class TokensToToken(nn.Module):
    """Overlapping patches in three soft splits, with a reduction after the first and the second (T2T-ViT, section 3.1).

    The splits' strides are a quarter of `patch_size`, 2 and 2, so that the grid is that of plain patches.
    """

    def __init__(self, *, img_size: tuple[int, int], patch_size: int, in_chans: int, dim: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.in_chans = in_chans
        self.strides = (patch_size // 4, 2, 2)
        self.reductions = nn.ModuleList(
            [ReducingBlock(in_chans * _kernel(self.strides[0]) ** 2), ReducingBlock(REDUCED * _kernel(2) ** 2)]
        )
        self.proj = nn.Linear(REDUCED * _kernel(2) ** 2, dim)

    def forward(self, image: Tensor) -> Tensor:  # b c h w → b n c
        check_image(image, self.img_size, self.in_chans)
        height, width = self.img_size
        for reduce, stride in zip(self.reductions, self.strides[:2], strict=True):
            height, width = height // stride, width // stride
            image = to_grid(reduce(soft_split(image, stride)), (height, width))
        return self.proj(soft_split(image, self.strides[2]))


def _kernel(stride: int) -> int:
    """7 for a stride of 4, 3 for 2 and 1 for 1: a window reaches half a stride into its neighbours."""
    return 2 * stride - 1


def soft_split(grid: Tensor, stride: int) -> Tensor:  # b c y x → b n c·kernel²
    """Windows that overlap, each a token."""
    return F.unfold(grid, _kernel(stride), padding=stride // 2, stride=stride).transpose(1, 2)


class EAMLPBlock(nn.Module):
    """LayerNorm, then external attention, with a residual; LayerNorm, then a channel MLP, with another."""

    def __init__(self, *, dim: int, heads: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(dim)
        self.token_mix = ExternalAttention(dim, heads)
        self.channel_norm = nn.LayerNorm(dim)
        self.channel_mlp = Mlp(dim, hidden)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b t c → b t c
        x = x + self.drop_path(self.token_mix(self.token_norm(x)))
        return x + self.drop_path(self.channel_mlp(self.channel_norm(x)))


@register("eamlp", variants=VARIANTS, published=PUBLISHED, paper="arXiv:2105.02358")
class EAMLP(ClassTokenModel):
    """heads: of external attention, each four times as wide. patch_size: a multiple of 4.
    `forward_features` returns the class token as token 0; positions are sines that do not learn.
    drop_path grows linearly with depth. The release's dropout of 0.1 between the soft splits is left out."""

    PREPROCESSING = {"crop_ratio": 0.9}
    PATCHES = TokensToToken
    position: Tensor

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        heads: int,
        patch_size: int = 16,
        expansion: float = 3,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        if whole("patch_size", patch_size) % 4:
            raise ModelError(
                f"patch_size={patch_size!r} is not a multiple of 4, as three soft splits need",
                hint=f"use {patch_size - patch_size % 4 or 4} or {patch_size - patch_size % 4 + 4}",
            )
        super().__init__(img_size=img_size, in_chans=in_chans, num_classes=num_classes, patch_size=patch_size, dim=dim)
        check_divides("heads", whole("heads", heads), dim, f"dim={dim}")
        self.register_buffer("position", sinusoids(1 + self.tokens, dim))
        hidden = hidden_width(dim, expansion)
        rates = linear_rates(number("drop_path", drop_path, below=1), whole("depth", depth))
        self.blocks = nn.ModuleList(EAMLPBlock(dim=dim, heads=heads, hidden=hidden, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(dim)
        self.apply(_initialise)
        self.head = self.new_head(num_classes)

    def begin(self, image: Tensor) -> Tensor:  # b c h w → b t c
        return super().begin(image) + self.position

    def start_head(self, head: nn.Linear) -> None:
        truncated(head)


def sinusoids(tokens: int, dim: int) -> Tensor:  # → 1 t c
    """Sines in the even channels, cosines in the odd, from wavelength 2π to 10000 · 2π (Transformer, section 3.5)."""
    place = torch.arange(tokens, dtype=torch.float64)[:, None]
    angle = place / 10000 ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[None, :, :dim].float()


def _initialise(module: nn.Module) -> None:
    """The release's rule; between the soft splits, the memory's values start as its keys transposed."""
    truncated(module)
    if isinstance(module, ReducingBlock):
        with torch.no_grad():
            module.memory.values.weight.copy_(module.memory.keys.weight.T)

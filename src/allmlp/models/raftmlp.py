"""RaftMLP: mixing along the rows, then the columns, with a few channels aboard (Tatsunami & Taki, 2021)."""

# axes: b batch, c channels, h w pixels, y x rows and columns of the grid, n = y · x tokens
#       r rafts, o channels of a raft (c = r · o), d channels of the last stage

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.arguments import flag, hidden_width, image_size, number, wholes
from allmlp.models.pyramid import Pyramid, grids
from allmlp.nn.mixing import stochastic_depth
from allmlp.nn.mlp import GridMlp, Mlp
from allmlp.nn.norm import GridLayerNorm
from allmlp.nn.patches import check_image, to_tokens
from allmlp.registry import register

_SHARED: dict[str, Any] = dict(depths=(2, 2, 6, 2), kernels=((4, 8), (2, 4), (2, 4), (2,)))
VARIANTS: dict[str, dict[str, Any]] = {
    "raftmlp_s": dict(dims=(64, 128, 256, 512), **_SHARED),  # 9.9 M
    "raftmlp_m": dict(dims=(96, 192, 384, 768), **_SHARED),  # 21.4 M
    "raftmlp_l": dict(dims=(128, 192, 512, 1024), **_SHARED),  # 36.2 M
}
PUBLISHED = {"raftmlp_s": 76.1, "raftmlp_m": 78.8, "raftmlp_l": 79.4}


class VerticalMix(nn.Module):
    """LayerNorm, then an MLP along the rows of a column and the rafts together, with a residual.

    Channel o of every raft travels together; the norm's own parameters are in the order o, r, as released.
    """

    def __init__(self, *, dim: int, rafts: int, side: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.rafts = rafts
        self.norm = nn.LayerNorm(dim)
        self.mlp = Mlp(rafts * side, hidden)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        apart = x.unflatten(1, (self.rafts, -1)).permute(0, 3, 4, 2, 1)  # b y x o r
        apart = self.norm(apart.flatten(3)).unflatten(3, (-1, self.rafts))
        mixed = self.mlp(apart.permute(0, 2, 3, 4, 1).flatten(3))  # b x o (r y)
        mixed = mixed.unflatten(3, (self.rafts, -1)).permute(0, 3, 2, 4, 1)  # b r o y x
        return x + self.drop_path(mixed.flatten(1, 2))


class HorizontalMix(VerticalMix):
    """The same along the columns of a row."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return super().forward(x.transpose(2, 3)).transpose(2, 3)


class RaftBlock(nn.Module):
    """Mixing along the rows, along the columns and along the channels, each with a residual."""

    def __init__(
        self, *, dim: int, rafts: int, grid: tuple[int, int], token_hidden: Sequence[int], expansion: float, drop_path: float
    ) -> None:
        super().__init__()
        rows, columns = token_hidden
        self.vertical = VerticalMix(dim=dim, rafts=rafts, side=grid[0], hidden=rows, drop_path=drop_path)
        self.horizontal = HorizontalMix(dim=dim, rafts=rafts, side=grid[1], hidden=columns, drop_path=drop_path)
        self.channel_norm = GridLayerNorm(dim)
        self.channel_mlp = GridMlp(dim, hidden_width(dim, expansion))
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        x = self.horizontal(self.vertical(x))
        return x + self.drop_path(self.channel_mlp(self.channel_norm(x)))


class MultiScaleEmbedding(nn.Module):
    """Squares of several sizes around each patch, all mapped by one matrix: a sum of convolutions.

    kernels: sides of the squares; the smallest is the patch. Outside the image are zeros.
    """

    def __init__(self, *, chans: int, dim: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.chans, self.kernels, self.stride = chans, tuple(kernels), min(kernels)
        self.proj = nn.Linear(chans * sum(k * k for k in kernels), dim)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c′ y′ x′
        sizes = [self.chans * k * k for k in self.kernels]
        weights = self.proj.weight.split(sizes, 1) if len(sizes) > 1 else [self.proj.weight]  # LiteRT takes no split into one
        seen = [
            F.conv2d(x, w.unflatten(1, (self.chans, k, k)), stride=self.stride, padding=(k - self.stride) // 2)
            for w, k in zip(weights, self.kernels, strict=True)
        ]
        return sum(seen[1:], seen[0]) + self.proj.bias[:, None, None]


class Seen(NamedTuple):
    """What passes from stage to stage."""

    grid: Tensor
    """b c y x."""
    scale: Tensor | None = None
    shift: Tensor | None = None
    """b d: what the shortcuts of the stages so far do to the final features; None without shortcuts."""


class Shortcut(nn.Module):
    """A stage's pooled features, as a scale and a shift of whatever the later stages make."""

    def __init__(self, dim: int, last: int) -> None:
        super().__init__()
        self.norm = GridLayerNorm(dim)
        self.proj = nn.Linear(dim, 2 * last)

    def forward(self, grid: Tensor, seen: Seen) -> Seen:  # b c y x, the stages before → with this one
        scale, shift = self.proj(self.norm(grid).mean((2, 3))).chunk(2, 1)  # b d
        if seen.scale is None or seen.shift is None:
            return Seen(grid, scale, shift)
        return Seen(grid, seen.scale * scale, seen.scale * shift + seen.shift)


class Stage(nn.Module):
    """An embedding that shrinks the grid, then blocks, and perhaps a shortcut to the head."""

    def __init__(self, *, embed: nn.Module, blocks: list[RaftBlock], shortcut: Shortcut | None) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = nn.Sequential(*blocks)
        self.shortcut = shortcut

    def forward(self, seen: Seen) -> Seen:  # b c y x → b c′ y′ x′
        grid = self.blocks(self.embed(seen.grid))
        return self.shortcut(grid, seen) if self.shortcut is not None else seen._replace(grid=grid)


@register("raftmlp", variants=VARIANTS, published=PUBLISHED, paper="arXiv:2108.04384")
class RaftMLP(Pyramid):
    """dims, depths, patch_sizes, rafts, kernels: one for each stage. A stage shrinks the grid by its patch size;
    its channels form `rafts` rafts, whose like channels mix together along the rows and the columns.
    kernels: sides of the squares that the stage's embedding sees, each a multiple of its patch.
    token_hidden: for each stage the hidden widths of the two token MLPs, along the rows and along the columns, in place
    of token_expansion, for grids other than the one it was chosen for.
    shortcut: let every stage scale and shift the pooled features (no released model does).
    drop_path is the same in every block."""

    PREPROCESSING = {"crop_ratio": 0.875, "interpolation": "bilinear"}

    def __init__(
        self,
        *,
        dims: Sequence[int],
        depths: Sequence[int],
        patch_sizes: Sequence[int] = (4, 2, 2, 2),
        rafts: Sequence[int] = (2, 2, 2, 2),
        kernels: Sequence[Sequence[int]] | None = None,
        shortcut: bool = False,
        token_expansion: float = 2,
        token_hidden: Sequence[Sequence[int]] | None = None,
        expansion: float = 4,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        depths = wholes("depths", depths)
        dims, patch_sizes, rafts = (
            wholes(name, value, count=len(depths))
            for name, value in (("dims", dims), ("patch_sizes", patch_sizes), ("rafts", rafts))
        )
        sides = _kernels(kernels, patch_sizes)
        size = image_size(img_size, prod(patch_sizes), patch="the last stage's patch")
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=dims[-1])
        rate = number("drop_path", drop_path, below=1)
        last = len(depths) - 1 if flag("shortcut", shortcut) else 0
        sizes = grids(size, patch_sizes)
        hidden = _token_widths(token_hidden, token_expansion, rafts, sizes)
        self.stages = nn.ModuleList()
        chans = in_chans
        for s, (dim, depth, grid) in enumerate(zip(dims, depths, sizes, strict=True)):
            if dim % rafts[s]:
                raise ModelError(
                    f"dims[{s}]={dim} channels do not fit rafts[{s}]={rafts[s]} rafts", hint=f"use a multiple of {rafts[s]}"
                )
            blocks = [
                RaftBlock(dim=dim, rafts=rafts[s], grid=grid, token_hidden=hidden[s], expansion=expansion, drop_path=rate)
                for _ in range(depth)
            ]
            embed = MultiScaleEmbedding(chans=chans, dim=dim, kernels=sides[s])
            self.stages.append(Stage(embed=embed, blocks=blocks, shortcut=Shortcut(dim, dims[-1]) if s < last else None))
            chans = dim
        self.norm = GridLayerNorm(dims[-1])
        self.head = self.new_head(num_classes)

    def begin(self, image: Tensor) -> Any:  # b c h w → Seen
        check_image(image, self.img_size, self.in_chans)
        return Seen(image)

    def end(self, x: Any) -> Tensor:  # Seen → b n d
        tokens = to_tokens(self.norm(x.grid))
        return tokens if x.scale is None else tokens * x.scale[:, None] + x.shift[:, None]

    def normed(self, x: Any) -> Any:  # Seen → Seen
        return x._replace(grid=super().normed(x.grid))

    def grid_view(self, x: Any) -> Tensor:  # Seen → b c y x
        return x.grid


def _kernels(kernels: object, patch_sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The sides of each stage's squares; the patch alone unless given."""
    given: Any = [(patch,) for patch in patch_sizes] if kernels is None else kernels
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) != len(patch_sizes):
        raise ModelError(
            f"kernels={kernels!r} does not fit {len(patch_sizes)} stages", hint="give kernels as, say, ((4, 8), (2, 4))"
        )
    found = [wholes(f"kernels[{s}]", value) for s, value in enumerate(given)]
    for s, (sides, patch) in enumerate(zip(found, patch_sizes, strict=True)):
        if min(sides) != patch or any(k % patch or (k - patch) % 2 for k in sides):
            raise ModelError(
                f"kernels[{s}]={sides} do not lie evenly around patches of {patch}",
                hint=f"use {patch} and, say, {3 * patch}" + (f" or {2 * patch}" if patch % 2 == 0 else ""),
            )
    return found


def _token_widths(
    given: object, expansion: float, rafts: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> list[tuple[int, ...]]:
    """The hidden widths of each stage's two token MLPs, along the rows and along the columns."""
    if given is None:
        return [
            tuple(hidden_width(r * side, expansion, name="token_expansion") for side in grid)
            for r, grid in zip(rafts, sizes, strict=True)
        ]
    pairs = [wholes(f"token_hidden[{s}]", pair) for s, pair in enumerate(given)] if isinstance(given, Sequence) else []
    if len(pairs) != len(sizes) or any(len(pair) != 2 for pair in pairs):
        raise ModelError(
            f"token_hidden={given!r} does not fit {len(sizes)} stages", hint="give two widths a stage, as ((56, 56), (28, 28))"
        )
    return pairs

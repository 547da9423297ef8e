"""ResMLP: one matrix along the tokens, one MLP along the channels, no normalisation (Touvron et al., 2021)."""

# axes: b batch, n tokens, c channels

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.arguments import choice, hidden_width, number, ranks, whole
from allmlp.models.initial import trunc_normal, truncated
from allmlp.models.tokens import TokenModel
from allmlp.nn.affine import Affine, LayerScale
from allmlp.nn.lowrank import linear
from allmlp.nn.mixing import AlongTokens, stochastic_depth
from allmlp.nn.mlp import Mlp, TokenMlp
from allmlp.nn.patches import OnGrid
from allmlp.registry import register

VARIANTS: dict[str, dict[str, Any]] = {
    "resmlp_s12": dict(patch_size=16, dim=384, depth=12),  # 15.4 M
    "resmlp_s24": dict(patch_size=16, dim=384, depth=24),  # 30.0 M
    "resmlp_s36": dict(patch_size=16, dim=384, depth=36),  # 44.7 M
    "resmlp_b24": dict(patch_size=16, dim=768, depth=24, layer_scale=1e-6),  # 115.7 M
    "resmlp_b24_p8": dict(patch_size=8, dim=768, depth=24, layer_scale=1e-6),  # 129.1 M
    "resmlp_s12_p8": dict(patch_size=8, dim=384, depth=12),  # 22.1 M
    "resmlp_s12_p14": dict(patch_size=14, dim=384, depth=12),  # 15.6 M
    "resmlp_s12_class": dict(patch_size=16, dim=384, depth=12, head="class_mlp"),  # 17.7 M
    "resmlp_s24_class": dict(patch_size=16, dim=384, depth=24, head="class_mlp"),  # 32.4 M
    "resmlp_s36_class": dict(patch_size=16, dim=384, depth=36, head="class_mlp"),  # 47.1 M
    "resmlp_xs": dict(patch_size=4, dim=96, depth=6, layer_scale=1.0, img_size=32),  # 0.5 M, for 28 to 64 pixels
}
PUBLISHED = {
    "resmlp_s12": 76.6,
    "resmlp_s24": 79.4,
    "resmlp_s36": 79.7,
    "resmlp_b24": 81.0,
    "resmlp_b24_p8": 81.0,
    "resmlp_s12_p8": 79.1,
    "resmlp_s12_p14": 76.9,
    "resmlp_s12_class": 77.5,
    "resmlp_s24_class": 79.8,
    "resmlp_s36_class": 80.5,
}
LICENCES = dict.fromkeys(["resmlp_s12", "resmlp_s24", "resmlp_s36", "resmlp_b24_p8"], "Apache-2.0")
CLASS_LAYERS = 2


def default_layer_scale(depth: int) -> float:
    """The initial LayerScale by total depth: 0.1, 1e-5 and 1e-6 for 12, 24 and 36 blocks (CaiT, section 2)."""
    return 0.1 if depth <= 18 else 1e-5 if depth <= 24 else 1e-6


TOKEN_MIXERS: dict[str, Callable[[int, tuple[int, int], int], nn.Module]] = {
    "linear": lambda dim, grid, hidden: AlongTokens(prod(grid), prod(grid)),
    "none": lambda dim, grid, hidden: nn.Identity(),
    "mlp": lambda dim, grid, hidden: TokenMlp(prod(grid), hidden),
    "conv3x3": lambda dim, grid, hidden: OnGrid(grid, nn.Conv2d(dim, dim, 3, padding=1)),
    "depthwise3x3": lambda dim, grid, hidden: OnGrid(grid, nn.Conv2d(dim, dim, 3, padding=1, groups=dim)),
    "separable": lambda dim, grid, hidden: OnGrid(grid, nn.Conv2d(dim, dim, 3, padding=1, groups=dim), nn.Conv2d(dim, dim, 1)),
}
"""The paper's A, and what its ablation study puts in the place of A: channels, grid, hidden width → a map of b n c."""
NORMS: dict[str, Callable[[int], nn.Module]] = {"affine": Affine, "layernorm": partial(nn.LayerNorm, eps=1e-6)}


class ResMLPBlock(nn.Module):
    """x + γ A Aff(x), then x + γ MLP(Aff(x)) (equations 2 and 3; γ is the second Aff, without β as released)."""

    def __init__(
        self,
        *,
        grid: tuple[int, int],
        dim: int,
        hidden: int,
        layer_scale: float,
        token_mixing: str,
        token_hidden: int,
        norm: str,
        drop_path: float,
        rank: int,
    ) -> None:
        super().__init__()
        self.token_norm = NORMS[norm](dim)
        self.token_mix = TOKEN_MIXERS[token_mixing](dim, grid, token_hidden)
        if rank:
            self.token_mix = linear(AlongTokens, prod(grid), prod(grid), rank)
        self.token_scale = LayerScale(dim, layer_scale)
        self.channel_norm = NORMS[norm](dim)
        self.channel_mlp = Mlp(dim, hidden)
        self.channel_scale = LayerScale(dim, layer_scale)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c
        x = x + self.drop_path(self.token_scale(self.token_mix(self.token_norm(x))))
        return x + self.drop_path(self.channel_scale(self.channel_mlp(self.channel_norm(x))))


class ClassMLPBlock(nn.Module):
    """A class token gathers from itself and all patches, then passes an MLP (section 2, class-MLP).

    As CaiT's class attention, with one row of n + 1 weights in place of attention.
    """

    def __init__(
        self, *, grid: tuple[int, int], dim: int, hidden: int, layer_scale: float, norm: str, drop_path: float
    ) -> None:
        super().__init__()
        self.token_norm = NORMS[norm](dim)
        self.token_mix = AlongTokens(prod(grid) + 1, 1)
        self.token_scale = LayerScale(dim, layer_scale)
        self.channel_norm = NORMS[norm](dim)
        self.channel_mlp = Mlp(dim, hidden)
        self.channel_scale = LayerScale(dim, layer_scale)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, token: Tensor, patches: Tensor) -> Tensor:  # b 1 c, b n c → b 1 c
        gathered = self.token_mix(self.token_norm(torch.cat([token, patches], 1)))
        token = token + self.drop_path(self.token_scale(gathered))
        return token + self.drop_path(self.channel_scale(self.channel_mlp(self.channel_norm(token))))


@register("resmlp", variants=VARIANTS, published=PUBLISHED, licences=LICENCES, paper="arXiv:2105.03404")
class ResMLP(TokenModel):
    """layer_scale: initial γ, by depth unless given. head: "mean" of the tokens, or "class_mlp": two
    layers that gather into a class token, which `forward_features` then returns as token 0.
    token_mixing and norm: the paper's "linear" and "affine", or one of its ablations (TOKEN_MIXERS, NORMS);
    token_hidden: the hidden width of "mlp", four times the tokens unless given.
    drop_path is the same in every block. token_rank: of the "linear" A; one number for all blocks, or one for each, of which 0
    leaves it whole."""

    PREPROCESSING = {"crop_ratio": 0.9}

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        patch_size: int = 16,
        patch_margin: int | tuple[int, int] = 0,
        layer_scale: float | None = None,
        expansion: float = 4,
        head: str = "mean",
        token_mixing: str = "linear",
        token_hidden: int | None = None,
        norm: str = "affine",
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
        token_rank: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            img_size=img_size,
            in_chans=in_chans,
            num_classes=num_classes,
            patch_size=patch_size,
            dim=dim,
            patch_margin=patch_margin,
        )
        depth = whole("depth", depth)
        block: dict[str, Any] = dict(
            grid=self.grid,
            dim=dim,
            hidden=hidden_width(dim, expansion),
            layer_scale=number("layer_scale", default_layer_scale(depth) if layer_scale is None else layer_scale, below=1e30),
            norm=choice("norm", norm, list(NORMS)),
            drop_path=number("drop_path", drop_path, below=1),
        )
        self.token_mixing = choice("token_mixing", token_mixing, list(TOKEN_MIXERS))
        mixing: dict[str, Any] = dict(
            token_mixing=token_mixing,
            token_hidden=whole("token_hidden", 4 * self.tokens if token_hidden is None else token_hidden),
        )
        self.pooling = choice("head", head, ("mean", "class_mlp"))
        each = ranks("token_rank", token_rank, count=depth)
        if any(each) and token_mixing != "linear":
            raise ModelError(
                f"token_rank is for a matrix, not {token_mixing!r}", hint='leave it away, or token_mixing="linear"'
            )
        self.blocks = nn.ModuleList(ResMLPBlock(**mixing, **block, rank=rank) for rank in each)
        if head == "class_mlp":
            self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
            self.class_blocks = nn.ModuleList(ClassMLPBlock(**block) for _ in range(CLASS_LAYERS))
            trunc_normal(self.class_token, std=0.02)
        self.norm = NORMS[norm](dim)
        self.apply(truncated)
        self.head = self.new_head(num_classes)

    def end(self, x: Tensor) -> Tensor:  # b n c → b n c, or b (1 + n) c with the class token first
        if self.pooling == "mean":
            return self.norm(x)
        token = self.class_token.expand(x.shape[0], -1, -1)
        for block in self.class_blocks:
            token = block(token, x)
        return self.norm(torch.cat([token, x], 1))

    def pool(self, tokens: Tensor) -> Tensor:  # b n c → b c
        return tokens.mean(1) if self.pooling == "mean" else tokens[:, 0]

    def no_weight_decay(self) -> set[str]:
        return {"class_token"} if self.pooling == "class_mlp" else set()

    def start_head(self, head: nn.Linear) -> None:
        truncated(head)

"""FF-only: a vision transformer with a feed-forward layer in place of attention (Melas-Kyriazi, 2021; the release)."""

# axes: b batch, n patches, t = 1 + n tokens, c channels, y x rows and columns of the grid

import torch
from torch import Tensor, nn

from allmlp.models.arguments import hidden_width, number, whole
from allmlp.models.initial import trunc_normal, truncated
from allmlp.models.tokens import ClassTokenModel
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.nn.mlp import Mlp
from allmlp.nn.patches import to_tokens
from allmlp.registry import register

VARIANTS = {
    "ffonly_tiny": dict(patch_size=16, dim=192, depth=12),  # 7.7 M
    "ffonly_base": dict(patch_size=16, dim=768, depth=12),  # 61.9 M
    "ffonly_large": dict(patch_size=32, dim=1024, depth=24),  # 206.2 M
}
PUBLISHED = {"ffonly_tiny": 61.4, "ffonly_base": 74.9, "ffonly_large": 71.4}


class FFOnlyBlock(nn.Module):
    """An MLP along the channels, then one along the tokens, each after a LayerNorm of the axis that it mixes."""

    def __init__(
        self, *, tokens: int, dim: int, token_hidden: int, channel_hidden: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.channel_norm = nn.LayerNorm(dim, eps=1e-6)
        self.channel_mlp = Mlp(dim, channel_hidden, dropout=dropout)
        self.token_norm = nn.LayerNorm(tokens, eps=1e-6)
        self.token_mlp = Mlp(tokens, token_hidden, dropout=dropout)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b t c → b t c
        x = x + self.drop_path(self.channel_mlp(self.channel_norm(x)))
        mixed = self.token_mlp(self.token_norm(x.transpose(1, 2)))  # b c t
        return x + self.drop_path(mixed).transpose(1, 2)


@register("ffonly", variants=VARIANTS, published=PUBLISHED, paper="arXiv:2105.02723")
class FFOnly(ClassTokenModel):
    """expansion: hidden width of both MLPs, for each channel and for each token. token_hidden: that of the token
    MLP as a number, for grids other than the one it was chosen for.
    `forward_features` returns the class token as token 0. dropout: of what each map of both MLPs gives.
    drop_path grows linearly with depth."""

    PREPROCESSING = {"crop_ratio": 0.875}

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        patch_size: int = 16,
        patch_margin: int | tuple[int, int] = 0,
        expansion: float = 4,
        token_hidden: int | None = None,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            img_size=img_size,
            in_chans=in_chans,
            num_classes=num_classes,
            patch_size=patch_size,
            dim=dim,
            patch_margin=patch_margin,
        )
        tokens = 1 + self.tokens
        hidden = hidden_width(tokens, expansion) if token_hidden is None else whole("token_hidden", token_hidden)
        self.class_position = nn.Parameter(torch.empty(1, 1, dim))
        self.grid_position = nn.Parameter(torch.empty(1, dim, *self.grid))
        self.blocks = nn.ModuleList(
            FFOnlyBlock(
                tokens=tokens,
                dim=dim,
                token_hidden=hidden,
                channel_hidden=hidden_width(dim, expansion),
                dropout=number("dropout", dropout, below=1),
                drop_path=rate,
            )
            for rate in linear_rates(number("drop_path", drop_path, below=1), whole("depth", depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.apply(truncated)
        for position in (self.class_position, self.grid_position):
            trunc_normal(position, std=0.02)
        self.head = self.new_head(num_classes)

    def begin(self, image: Tensor) -> Tensor:  # b c h w → b t c
        return super().begin(image) + torch.cat([self.class_position, to_tokens(self.grid_position)], 1)

    def no_weight_decay(self) -> set[str]:
        return {"class_token", "class_position", "grid_position"}

    def start_head(self, head: nn.Linear) -> None:
        truncated(head)

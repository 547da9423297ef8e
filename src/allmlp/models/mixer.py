"""MLP-Mixer: token mixing and channel mixing by the same kind of MLP (Tolstikhin et al., 2021)."""

# axes: b batch, n tokens, c channels

from collections.abc import Sequence

from torch import Tensor, nn

from allmlp.models.arguments import activation, number, ranks, whole
from allmlp.models.initial import lecun_normal, zero
from allmlp.models.tokens import TokenModel
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.nn.mlp import Mlp, TokenMlp
from allmlp.pixels.preprocess import HALF
from allmlp.registry import register

VARIANTS = {
    "mixer_s32": dict(patch_size=32, dim=512, depth=8, token_hidden=256, channel_hidden=2048),  # 19.1 M
    "mixer_s16": dict(patch_size=16, dim=512, depth=8, token_hidden=256, channel_hidden=2048),  # 18.5 M
    "mixer_b32": dict(patch_size=32, dim=768, depth=12, token_hidden=384, channel_hidden=3072),  # 60.3 M
    "mixer_b16": dict(patch_size=16, dim=768, depth=12, token_hidden=384, channel_hidden=3072),  # 59.9 M
    "mixer_l32": dict(patch_size=32, dim=1024, depth=24, token_hidden=512, channel_hidden=4096),  # 206.9 M
    "mixer_l16": dict(patch_size=16, dim=1024, depth=24, token_hidden=512, channel_hidden=4096),  # 208.2 M
    "mixer_h14": dict(patch_size=14, dim=1280, depth=32, token_hidden=640, channel_hidden=5120),  # 432.4 M
    "mixer_xs": dict(patch_size=4, dim=96, depth=6, token_hidden=96, channel_hidden=384, img_size=32),  # 0.6 M, 28 to 64 pixels
}
PUBLISHED = {"mixer_b16": 76.44, "mixer_l16": 71.76}
LICENCES = dict.fromkeys(["mixer_s32", "mixer_s16", "mixer_b32", "mixer_b16", "mixer_l16"], "Apache-2.0")


class MixerBlock(nn.Module):
    """LayerNorm, then an MLP, with a residual: once along the tokens, once along the channels (equation 1)."""

    def __init__(
        self,
        *,
        tokens: int,
        dim: int,
        token_hidden: int,
        channel_hidden: int,
        act: str,
        drop_path: float,
        ranks: tuple[int, int],
    ) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(dim, eps=1e-6)
        self.token_mlp = TokenMlp(tokens, token_hidden, act=act, ranks=ranks)
        self.channel_norm = nn.LayerNorm(dim, eps=1e-6)
        self.channel_mlp = Mlp(dim, channel_hidden, act=act)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c
        x = x + self.drop_path(self.token_mlp(self.token_norm(x)))
        return x + self.drop_path(self.channel_mlp(self.channel_norm(x)))


@register("mixer", variants=VARIANTS, published=PUBLISHED, licences=LICENCES, paper="arXiv:2105.01601")
class Mixer(TokenModel):
    """token_hidden and channel_hidden are the widths D_S and D_C inside the two MLPs; half of and four
    times `dim` unless given. act: "gelu", or "gelu_tanh" as the released weights were trained.
    drop_path grows linearly with depth up to its value at the last block.
    token_rank: of the token MLPs' matrices, two a block; one number for all, or one for each, of which 0 leaves it whole."""

    PREPROCESSING = {"mean": HALF, "std": HALF, "crop_ratio": 0.875}

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        patch_size: int = 16,
        patch_margin: int | tuple[int, int] = 0,
        token_hidden: int | None = None,
        channel_hidden: int | None = None,
        act: str = "gelu",
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
        token_hidden = whole("token_hidden", max(dim // 2, 1) if token_hidden is None else token_hidden)
        channel_hidden = whole("channel_hidden", 4 * dim if channel_hidden is None else channel_hidden)
        rates = linear_rates(number("drop_path", drop_path, below=1), whole("depth", depth))
        both = ranks("token_rank", token_rank, count=2 * len(rates))
        self.blocks = nn.ModuleList(
            MixerBlock(
                tokens=self.tokens,
                dim=dim,
                token_hidden=token_hidden,
                channel_hidden=channel_hidden,
                act=activation(act),
                drop_path=rate,
                ranks=pair,
            )
            for rate, pair in zip(rates, zip(both[::2], both[1::2], strict=True), strict=True)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.apply(_lecun_normal)
        self.head = self.new_head(num_classes)

    def start_head(self, head: nn.Linear) -> None:
        zero(head)


def _lecun_normal(module: nn.Module) -> None:
    """Flax's default for dense layers and convolutions, with which the release was trained."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        lecun_normal(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""ResMLP on tokens × (images · channels): one product a token mix, two a channel mix."""

# axes: b images, n tokens, c channels

from typing import Any

from torch import Tensor

from allmlp.engine.plans.layout import ChannelMlp, Folded, Setup, Stem, TokensMajor, images_first
from allmlp.engine.plans.products import mix_rows


class TokenMix:
    """x += scale · (A x) + bias, in place."""

    def __init__(self, block: Folded, setup: Setup) -> None:
        scaled = block.token_scale
        self.matrix = block.token_mix.weight.detach().to(setup.dtype)
        self.scale, self.bias = scaled.scale.detach().to(setup.dtype), scaled.bias.detach().to(setup.dtype)[:, None]

    def __call__(self, x: Tensor, images: int) -> None:  # (n b) c
        n, c = self.bias.shape[0], x.shape[1]
        mixed = mix_rows(self.matrix, x.view(n, -1)).view(n, images, c)
        x.view(n, images, c).add_(mixed.mul_(self.scale)).add_(self.bias)


class ResMLPPlan(TokensMajor):
    """The folded blocks; the class-MLP head, if there is one, is the model's own."""

    def __init__(self, folded: Folded, setup: Setup) -> None:
        super().__init__(setup)
        self.folded = folded
        made: dict[str, Any] = dict(rows=self.chunk * folded.tokens, dtype=setup.dtype)
        self.count = folded.tokens
        self.stem = Stem(folded.patches, **made)
        self.steps = [(TokenMix(b, setup), ChannelMlp(b.channel_mlp, b.channel_norm, **made)) for b in folded.blocks]
        del folded.patches, folded.blocks

    def tokens(self, images: Tensor) -> Tensor:  # b c h w → b n c
        x = self.stem(images)
        for token_mix, channel_mlp in self.steps:
            token_mix(x, len(images))
            x = channel_mlp(x)
        return images_first(x, self.count)

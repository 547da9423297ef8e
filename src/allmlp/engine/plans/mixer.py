"""MLP-Mixer on tokens × (images · channels): the token MLP is two products, with GELU and residual inside them."""

# axes: b images, n tokens, c channels, s hidden width of the token MLP

import torch
from torch import Tensor

from allmlp.engine.plans.layout import ChannelMlp, Folded, Setup, Stem, TokensMajor, images_first
from allmlp.engine.plans.products import mix_rows_add, mix_rows_gelu


class TokenMix:
    """x + W2 GELU(W1 norm(x) + b1), along the tokens.

    b1 differs from row to row, for which oneDNN has no place: it becomes a column of W1, and a row of ones joins
    norm(x). b2 moves all channels of a token alike, which the LayerNorm that always follows takes away again.
    """

    def __init__(self, block: Folded, setup: Setup) -> None:
        norm, mlp = block.token_norm, block.token_mlp
        self.scale, self.shift, self.eps = norm.weight.to(setup.dtype), norm.bias.to(setup.dtype), norm.eps
        self.approximate = mlp.act.approximate
        self.enter = torch.cat([mlp.fc1.weight, mlp.fc1.bias[:, None]], 1).detach().to(setup.dtype)
        self.leave = mlp.fc2.weight.detach().to(setup.dtype).contiguous()

    def __call__(self, x: Tensor, normed: Tensor) -> Tensor:  # (n b) c, (n + 1) (b c) with ones in the last row → (n b) c
        n, c = len(normed) - 1, x.shape[1]
        mean, rstd = x.new_empty(2, len(x), 1)
        torch.ops.aten.native_layer_norm.out(
            x, [c], self.scale, self.shift, self.eps, out0=normed[:n].view(-1, c), out1=mean, out2=rstd
        )
        hidden = mix_rows_gelu(self.enter, normed, self.approximate)  # s (b c)
        return mix_rows_add(self.leave, hidden, x.view(n, -1)).view(-1, c)


class MixerPlan(TokensMajor):
    """The folded blocks; the final norm is the model's own."""

    def __init__(self, folded: Folded, setup: Setup) -> None:
        super().__init__(setup)
        self.folded = folded
        self.count = folded.tokens
        rows = self.chunk * self.count
        self.stem = Stem(folded.patches, rows=rows, dtype=setup.dtype)
        self.steps = [
            (TokenMix(b, setup), ChannelMlp(b.channel_mlp, b.channel_norm, rows=rows, dtype=setup.dtype)) for b in folded.blocks
        ]
        del folded.patches, folded.blocks

    def tokens(self, images: Tensor) -> Tensor:  # b c h w → b n c
        x = self.stem(images)
        normed = x.new_empty(self.count + 1, x.numel() // self.count)
        normed[-1] = 1
        for token_mix, channel_mlp in self.steps:
            x = token_mix(x, normed)
            x = channel_mlp(x)
        return images_first(x, self.count)

"""MLP-Mixer on b × n × c: LayerNorm happens inside the token MLP's first product, the residual inside its second."""

# axes: b images, n tokens, c channels, s hidden width of the token MLP, k classes

import torch
from torch import Tensor

from allmlp.engine.gpu.kit import Kit
from allmlp.engine.gpu.layout import GpuPlan, Stem, aligned
from allmlp.engine.gpu.plain import wide
from allmlp.engine.plans.layout import Folded


class Block:
    """x + B GELU(A norm(x) + a), along the tokens, then x + V GELU(U norm(x) + u) + v.

    The token norm's scale and shift stand after A, which does not see channels: A (γ · x + β) = γ · A x + A1 βᵀ. The bias
    of B moves all channels of a token alike, which the LayerNorm that always follows takes away again. v is added one step
    early, with the first residual, and taken away where the channel norm looks: the last product adds to x where it lies.
    """

    def __init__(self, block: Folded, kit: Kit, dtype: torch.dtype) -> None:
        norm, tokens, channels = block.token_norm, block.token_mlp, block.channel_mlp
        self.kit, self.eps, self.channel_eps = kit, norm.eps, block.channel_norm.eps
        self.gather, self.scale = aligned(tokens.fc1.weight, dtype), norm.weight.to(wide(dtype))
        moved = tokens.fc1.weight.double().sum(1, keepdim=True) * norm.bias.double()
        self.bias = (moved + tokens.fc1.bias.double()[:, None]).to(dtype)  # s c
        self.spread = aligned(tokens.fc2.weight, dtype)
        self.late = channels.fc2.bias.to(dtype)
        self.enter, self.shift = channels.fc1.weight.to(dtype), channels.fc1.bias.to(dtype)
        self.leave = channels.fc2.weight.to(dtype)
        self.approximate = dict(approximate=tokens.act.approximate), dict(approximate=channels.act.approximate)

    def __call__(self, x: Tensor) -> Tensor:  # b n c → b n c
        kit, (along_tokens, along_channels) = self.kit, self.approximate
        stats = kit.stats(x, self.eps)
        hidden = kit.mix(x, self.gather, scale=self.scale, bias=self.bias, stats=stats, **along_tokens)  # b s c
        x = kit.mix(hidden, self.spread, bias=self.late.expand(x.shape[1:]), residual=x)
        normed = kit.norm(x, self.late, self.channel_eps)
        return kit.add_linear(x, kit.linear_gelu(normed, self.enter, self.shift, **along_channels), self.leave)


class MixerOnGpu(GpuPlan):
    """The folded blocks; the final norm is the model's own."""

    def __init__(self, folded: Folded, dtype: torch.dtype, kit: Kit) -> None:
        super().__init__(folded.to(wide(dtype)), dtype)
        self.stem = Stem(folded.patches, dtype)
        self.blocks = [Block(block, kit, dtype) for block in folded.blocks]
        self.norm = folded.norm.to(dtype)
        del folded.patches, folded.blocks

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        return self.folded.head(self.norm(x).mean(1, dtype=wide(self.dtype)))

"""ResMLP on b × n × c: a token mix with its scale, bias and residual is one pass, a channel MLP two products."""

# axes: b images, n tokens, c channels, k classes

import torch
from torch import Tensor

from allmlp.engine.gpu.kit import Kit
from allmlp.engine.gpu.layout import GpuPlan, Stem, aligned
from allmlp.engine.gpu.plain import wide
from allmlp.engine.plans.layout import Folded


class Block:
    """x + scale · (A x) + bias, then x + V GELU(U x + u) + v.

    v is added one step early, to the bias of the token mix, and what U makes of it is taken from u again: the last product
    then adds to x where it lies.
    """

    def __init__(self, block: Folded, kit: Kit, dtype: torch.dtype) -> None:
        scaled, enter, leave = block.token_scale, block.channel_mlp.fc1, block.channel_mlp.fc2
        v = leave.bias.double()
        self.kit, self.matrix = kit, aligned(block.token_mix.weight, dtype)
        self.scale, self.bias = scaled.scale.to(wide(dtype)), (scaled.bias.double() + v).to(dtype)
        self.enter, self.shift = enter.weight.to(dtype), (enter.bias.double() - enter.weight.double() @ v).to(dtype)
        self.leave = leave.weight.to(dtype)
        self.approximate = block.channel_mlp.act.approximate

    def __call__(self, x: Tensor) -> Tensor:  # b n c → b n c
        x = self.kit.mix(x, self.matrix, scale=self.scale, bias=self.bias, residual=x)
        hidden = self.kit.linear_gelu(x, self.enter, self.shift, approximate=self.approximate)
        return self.kit.add_linear(x, hidden, self.leave)


class ResMLPOnGpu(GpuPlan):
    """The folded blocks; the class-MLP head, if there is one, is the model's own."""

    def __init__(self, folded: Folded, dtype: torch.dtype, kit: Kit) -> None:
        super().__init__(folded.to(wide(dtype)), dtype)
        self.stem = Stem(folded.patches, dtype)
        self.blocks = [Block(block, kit, dtype) for block in folded.blocks]
        del folded.patches, folded.blocks

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        if self.folded.pooling != "mean":
            return self.folded.forward_head(self.folded.end(x.to(wide(self.dtype))))
        return self.folded.head(self.folded.norm(x.mean(1, dtype=wide(self.dtype))))  # an affine norm of means is their mean

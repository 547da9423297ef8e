"""gMLP on tokens × (images · channels): the two halves that gate each other are two products, not a split of one."""

# axes: b images, n tokens, c channels, u hidden channels of one half

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from allmlp.engine.plans.layout import Folded, Setup, Stem, TokensMajor, images_first
from allmlp.engine.plans.products import Product, mix_rows


class Block:
    """x + V (kept · (A norm(gate) + a)), kept and gate = GELU(U norm(x))."""

    def __init__(self, block: Folded, made: dict[str, Any]) -> None:
        mix, dtype = block.gate.token_mix, made["dtype"]
        weights, biases = block.fc1.weight.chunk(2), block.fc1.bias.chunk(2)
        self.eps, self.gate_eps = block.norm.eps, block.gate.norm.eps
        self.kept, self.gate = (Product(w, b, **made) for w, b in zip(weights, biases, strict=True))
        self.scale, self.shift = block.gate.norm.weight.to(dtype), block.gate.norm.bias.to(dtype)
        self.matrix, self.bias = mix.weight.detach().to(dtype), mix.bias.detach().to(dtype)[:, None]
        self.leave = Product(block.fc2.weight, block.fc2.bias, **made)

    def __call__(self, x: Tensor) -> Tensor:  # (n b) c → (n b) c
        normed = F.layer_norm(x, x.shape[1:], eps=self.eps)
        kept, gate = self.kept.gelu(normed), self.gate.gelu(normed)  # (n b) u
        gate = F.layer_norm(gate, gate.shape[1:], self.scale, self.shift, self.gate_eps)
        mixed = mix_rows(self.matrix, gate.view(len(self.matrix), -1)).add_(self.bias)
        return self.leave.add(kept.mul_(mixed.view(kept.shape)), x)


class GMLPPlan(TokensMajor):
    """The folded blocks; the final norm is the model's own."""

    def __init__(self, folded: Folded, setup: Setup) -> None:
        super().__init__(setup)
        self.folded = folded
        self.count = folded.tokens
        made: dict[str, Any] = dict(rows=self.chunk * self.count, dtype=setup.dtype)
        self.stem = Stem(folded.patches, **made)
        self.blocks = [Block(block, made) for block in folded.blocks]
        del folded.patches, folded.blocks

    def tokens(self, images: Tensor) -> Tensor:  # b c h w → b n c
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        return images_first(x, self.count)

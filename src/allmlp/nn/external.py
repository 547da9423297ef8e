"""External attention: tokens meet in a small learnt memory, at a cost linear in their number (Guo et al., 2021)."""

# axes: b batch, n tokens, c channels, m units of the memory, o heads

from torch import Tensor, nn


class Memory(nn.Module):
    """Keys and values that every image shares, and the double normalisation between them (sections 3.1 and 3.2).

    A unit's attention sums to one over the tokens, then a token's over the units.
    """

    def __init__(self, dim: int, units: int, *, bias: bool = True) -> None:
        super().__init__()
        self.keys = nn.Linear(dim, units, bias=bias)
        self.values = nn.Linear(units, dim)

    def forward(self, x: Tensor) -> Tensor:  # … n c → … n c
        attention = self.keys(x).softmax(-2)  # … n m
        return self.values(attention / (attention.sum(-1, keepdim=True) + 1e-9))


class ExternalAttention(nn.Module):
    """Widen the channels, let each head read the one memory that all share, and project back (section 3.3)."""

    def __init__(self, dim: int, heads: int, *, widen: int = 4, units: int = 64) -> None:
        super().__init__()
        self.heads = heads * widen
        self.widen = nn.Linear(dim, dim * widen)
        self.memory = Memory(dim // heads, units)
        self.proj = nn.Linear(dim * widen, dim)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c
        by_head = self.widen(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # b o n c/heads
        return self.proj(self.memory(by_head).transpose(1, 2).flatten(2))

"""The layers of a translating ResMLP: mixing along a sentence, attention to another one, and their residual branches."""

# axes: b sentences, n positions, s positions of the source, c channels, h heads

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ShapeError
from allmlp.models.initial import truncated
from allmlp.nn.affine import Affine, LayerScale
from allmlp.nn.mlp import Mlp


def refuse_longer(n: int, longest: int) -> None:
    """Raises ShapeError for a sentence of n pieces that is longer than the longest."""
    if n > longest:
        raise ShapeError(
            f"a sentence of {n} pieces, and the model was made for {longest}",
            hint="split the sentence, or train with a larger translation.longest",
        )


class AlongSentence(nn.Module):
    """ResMLP's A along the positions of sentences that differ in length: of one matrix for the longest, the upper left part.

    What is padding counts as zero, so that a sentence's output does not depend on the others of its batch. ahead: whether a
    position takes of those after it; where it must not, the matrix is lower triangular and the rest of it never used.
    """

    def __init__(self, longest: int, *, ahead: bool) -> None:
        super().__init__()
        self.longest, self.ahead = longest, ahead
        held = nn.Linear(longest, longest)
        truncated(held)
        self.weight, self.bias = held.weight, held.bias

    def matrix(self, n: int) -> Tensor:  # → n n
        """Row m is what position m takes of each. Raises ShapeError beyond the longest sentence."""
        refuse_longer(n, self.longest)
        part = self.weight[:n, :n]
        return part if self.ahead else part.tril()

    def forward(self, x: Tensor, there: Tensor) -> Tensor:  # b n c, b n → b n c
        n = x.shape[1]
        return self.matrix(n) @ (x * there[..., None]) + self.bias[:n, None]

    def row(self, history: Tensor) -> Tensor:  # b n c → b c
        """What the last position takes of all up to it: one row of the matrix, not a new product."""
        n = history.shape[1]
        return self.matrix(n)[n - 1] @ history + self.bias[n - 1]


class CrossAttention(nn.Module):
    """Attention of the target's positions to the source's (Vaswani et al., 2017): what ResMLP keeps in the decoder."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.facts, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        for each in (self.queries, self.facts, self.out):
            nn.init.xavier_uniform_(each.weight)
            nn.init.zeros_(each.bias)

    def remember(self, memory: Tensor) -> Tensor:  # b s c → 2 b h s c/h
        """Keys and values of a source, which every step of a decoder needs again."""
        return self.facts(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, known: Tensor, there: Tensor) -> Tensor:  # b n c, 2 b h s c/h, b s → b n c
        asked = self.queries(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        found = F.scaled_dot_product_attention(asked, known[0], known[1], attn_mask=there[:, None, None])
        return self.out(found.transpose(1, 2).flatten(2))


class Branch(nn.Module):
    """What stands around each part: Affine before, dropout and LayerScale after."""

    def __init__(self, dim: int, layer_scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm, self.scale = Affine(dim), LayerScale(dim, layer_scale)
        self.dropout = nn.Dropout(dropout)

    def add(self, x: Tensor, change: Tensor) -> Tensor:  # b n c, b n c → b n c
        return x + self.dropout(self.scale(change))


class EncoderBlock(nn.Module):
    """Mixing along the sentence, then an MLP."""

    def __init__(self, dim: int, hidden: int, longest: int, layer_scale: float, dropout: float) -> None:
        super().__init__()
        self.mixing, self.thinking = Branch(dim, layer_scale, dropout), Branch(dim, layer_scale)
        self.mix, self.mlp = AlongSentence(longest, ahead=True), Mlp(dim, hidden, dropout=dropout)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:  # b n c, b n → b n c
        x = self.mixing.add(x, self.mix(self.mixing.norm(x), there))
        return self.thinking.add(x, self.mlp(self.thinking.norm(x)))


@dataclass(frozen=True)
class Past:
    """What a decoder block has seen of a sentence, and keeps for its next step."""

    taken: Tensor  # b n c
    """What its mixing was given so far."""
    known: Tensor  # 2 b h s c/h
    there: Tensor  # b s

    def of(self, rows: Tensor) -> "Past":
        """The same of other sentences: rows are indices of these."""
        return Past(self.taken[rows], self.known[:, rows], self.there[rows])


class DecoderBlock(nn.Module):
    """Mixing with what comes before, attention to the source, then an MLP."""

    def __init__(self, dim: int, hidden: int, heads: int, longest: int, layer_scale: float, dropout: float) -> None:
        super().__init__()
        self.mixing, self.asking = (Branch(dim, layer_scale, dropout) for _ in range(2))
        self.thinking = Branch(dim, layer_scale)  # the MLP drops by itself
        self.mix, self.mlp = AlongSentence(longest, ahead=False), Mlp(dim, hidden, dropout=dropout)
        self.attention = CrossAttention(dim, heads)

    def forward(self, x: Tensor, there: Tensor, memory: Tensor, source: Tensor) -> Tensor:  # b n c, b n, b s c, b s → b n c
        x = self.mixing.add(x, self.mix(self.mixing.norm(x), there))
        return self._rest(x, self.attention.remember(memory), source)

    def step(self, x: Tensor, past: Past) -> tuple[Tensor, Past]:  # b 1 c → b 1 c
        """One more position: the same numbers as `forward` has for it."""
        taken = torch.cat([past.taken, self.mixing.norm(x)], 1)
        x = self.mixing.add(x, self.mix.row(taken)[:, None])
        return self._rest(x, past.known, past.there), Past(taken, past.known, past.there)

    def _rest(self, x: Tensor, known: Tensor, source: Tensor) -> Tensor:
        x = self.asking.add(x, self.attention(self.asking.norm(x), known, source))
        return self.thinking.add(x, self.mlp(self.thinking.norm(x)))

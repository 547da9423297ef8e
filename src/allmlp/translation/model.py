"""Translators: ResMLP's, and a Transformer of the same size to compare it with."""

# axes: b sentences, s positions of the source, n positions of the target, c channels, v pieces of the vocabulary

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError, ShapeError, one_of
from allmlp.nn.affine import Affine
from allmlp.translation.layers import DecoderBlock, EncoderBlock, Past, refuse_longer

PAD, BEGIN, END, UNKNOWN = 0, 1, 2, 3
"""Numbers of the pieces that are no text."""

VARIANTS: dict[str, dict[str, Any]] = {
    "resmlp_mt_6": dict(dim=512, hidden=2048, depth=6, heads=8),
    "resmlp_mt_12": dict(dim=512, hidden=2048, depth=12, heads=8),
    "resmlp_mt_s": dict(dim=256, hidden=1024, depth=4, heads=4),  # for tens of thousands of sentences
    "resmlp_mt_xs": dict(dim=128, hidden=512, depth=3, heads=4),
    "transformer_mt_6": dict(dim=512, hidden=2048, depth=6, heads=8),
    "transformer_mt_s": dict(dim=256, hidden=1024, depth=4, heads=4),
    "transformer_mt_xs": dict(dim=128, hidden=512, depth=3, heads=4),
}


class Translator(nn.Module, ABC):
    """Source pieces and the target pieces so far → scores of the next piece; both languages share one vocabulary.

    vocabulary: number of pieces. longest: pieces of the longest sentence, with its begin or end.
    dropout: share of each branch's output that is zero in training.
    """

    def __init__(self, *, vocabulary: int, dim: int, longest: int, dropout: float) -> None:
        super().__init__()
        for name, value in (("vocabulary", vocabulary), ("dim", dim), ("longest", longest)):
            if value < 1:
                raise ModelError(f"{name} is {value}", hint="use a number from 1 on")
        self.dim, self.longest = dim, longest
        self.name = ""
        self.hyperparameters: dict[str, Any] = {}
        self.embedding = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def encode(self, source: Tensor) -> Tensor:  # b s → b s c
        """Raises ShapeError for sentences longer than `longest`."""

    @abstractmethod
    def decoded(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:  # b n, b s c, b s → b n c
        """What `scores` makes scores of the piece after each position of. Raises ShapeError as `encode` does."""

    @abstractmethod
    def begin(self, memory: Tensor, source: Tensor) -> "State":
        """What `step` needs of the sources, before the first piece."""

    @abstractmethod
    def step(self, pieces: Tensor, state: "State") -> tuple[Tensor, "State"]:  # b → b v
        """One more piece of each target: the scores that `decode` has for that position."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:  # b s, b n → b n v
        return self.decode(target, self.encode(source), source)

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:  # b n, b s c, b s → b n v
        """Scores of the piece after each position."""
        return self.scores(self.decoded(target, memory, source))

    def card(self) -> dict[str, Any]:
        """What the JSON beside its weights says: all that is needed to build it again."""
        return {"name": self.name, "task": "translation", "hyperparameters": self.hyperparameters}

    def embedded(self, pieces: Tensor) -> Tensor:  # b n → b n c
        refuse_longer(pieces.shape[1], self.longest)
        return self.embedding(pieces) * math.sqrt(self.dim)

    def scores(self, x: Tensor) -> Tensor:  # … c → … v
        """By likeness to the pieces' own embeddings."""
        return F.linear(x, self.embedding.weight)


class State(ABC):
    """Of sentences that are being translated, between two steps."""

    @abstractmethod
    def of(self, rows: Tensor) -> "State":
        """The same of other sentences: rows are indices of these."""


@dataclass(frozen=True)
class Pasts(State):
    """One for each block."""

    blocks: Sequence[Past]

    def of(self, rows: Tensor) -> "Pasts":
        return Pasts([past.of(rows) for past in self.blocks])


S = TypeVar("S", bound=State)


class ResMLPTranslator(Translator):
    """Encoder and decoder mix positions by ResMLP's A, the decoder's triangular, and the decoder attends to the encoder.

    No positions are added: each has its own row of A. layer_scale: as published, 0.2.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        dim: int,
        hidden: int,
        depth: int,
        heads: int,
        longest: int = 128,
        layer_scale: float = 0.2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(vocabulary=vocabulary, dim=dim, longest=longest, dropout=dropout)
        _divides(dim, heads)
        self.encoder = nn.ModuleList(EncoderBlock(dim, hidden, longest, layer_scale, dropout) for _ in range(depth))
        self.decoder = nn.ModuleList(DecoderBlock(dim, hidden, heads, longest, layer_scale, dropout) for _ in range(depth))
        self.encoder_norm, self.decoder_norm = Affine(dim), Affine(dim)
        nn.init.constant_(self.decoder_norm.alpha, dim**-0.25)  # or each piece begins by saying itself again, at √dim

    def encode(self, source: Tensor) -> Tensor:
        there, x = source != PAD, self.dropout(self.embedded(source))
        for block in self.encoder:
            x = block(x, there)
        return self.encoder_norm(x)

    def decoded(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        there, x = target != PAD, self.dropout(self.embedded(target))
        for block in self.decoder:
            x = block(x, there, memory, source != PAD)
        return self.decoder_norm(x)

    def begin(self, memory: Tensor, source: Tensor) -> Pasts:
        nothing, there = memory[:, :0], source != PAD
        return Pasts([Past(nothing, block.attention.remember(memory), there) for block in self._decoder])

    def step(self, pieces: Tensor, state: State) -> tuple[Tensor, State]:
        pasts = _own(state, Pasts)
        x, kept = self.embedded(pieces[:, None]), []
        for block, past in zip(self._decoder, pasts.blocks, strict=True):
            x, after = block.step(x, past)
            kept.append(after)
        return self.scores(self.decoder_norm(x))[:, 0], Pasts(kept)

    @property
    def _decoder(self) -> list[DecoderBlock]:
        return cast(list[DecoderBlock], list(self.decoder))


@dataclass(frozen=True)
class Prefix(State):
    """All that was said: torch's decoder keeps nothing between steps."""

    target: Tensor  # b n
    memory: Tensor  # b s c
    source: Tensor  # b s

    def of(self, rows: Tensor) -> "Prefix":
        return Prefix(self.target[rows], self.memory[rows], self.source[rows])


class TransformerTranslator(Translator):
    """torch.nn.Transformer with norms first and sine positions (Vaswani et al., 2017)."""

    def __init__(
        self, *, vocabulary: int, dim: int, hidden: int, depth: int, heads: int, longest: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__(vocabulary=vocabulary, dim=dim, longest=longest, dropout=dropout)
        _divides(dim, heads)
        layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout, "gelu", batch_first=True, norm_first=True)
        encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(dim), enable_nested_tensor=False)  # none with norms first
        words: dict[str, Any] = dict(activation="gelu", batch_first=True, norm_first=True, custom_encoder=encoder)
        self.transformer = nn.Transformer(dim, heads, depth, depth, hidden, dropout, **words)
        self.register_buffer("positions", _sines(longest, dim), persistent=False)

    def encode(self, source: Tensor) -> Tensor:
        return self.transformer.encoder(self._placed(source), src_key_padding_mask=source == PAD)

    def decoded(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        n = target.shape[1]
        future = torch.ones(n, n, dtype=torch.bool, device=target.device).triu(1)
        found: Tensor = self.transformer.decoder(
            self._placed(target),
            memory,
            tgt_mask=future,
            tgt_key_padding_mask=target == PAD,
            memory_key_padding_mask=source == PAD,
        )
        return found

    def begin(self, memory: Tensor, source: Tensor) -> Prefix:
        return Prefix(source[:, :0], memory, source)

    def step(self, pieces: Tensor, state: State) -> tuple[Tensor, State]:
        before = _own(state, Prefix)
        target = torch.cat([before.target, pieces[:, None]], 1)
        x = self.decoded(target, before.memory, before.source)[:, -1]
        return self.scores(x), Prefix(target, before.memory, before.source)

    def _placed(self, pieces: Tensor) -> Tensor:  # b n → b n c
        return self.dropout(self.embedded(pieces) + self.positions[: pieces.shape[1]])  # type: ignore[index]


def create_translator(name: str, *, vocabulary: int, **hyper: Any) -> Translator:
    """A variant of VARIANTS, with other hyper-parameters where they are given. Raises ModelError."""
    if name not in VARIANTS:
        raise ModelError(f"there is no translator {name!r}", hint=one_of(VARIANTS, name))
    made: Callable[..., Translator] = ResMLPTranslator if name.startswith("resmlp") else TransformerTranslator
    words = {**VARIANTS[name], **hyper, "vocabulary": vocabulary}
    try:
        model = made(**words)
    except TypeError as error:
        raise ModelError(f"{name}: {error}", hint="see the names in allmlp.translation.model") from None
    model.name, model.hyperparameters = name, words
    return model


def _sines(longest: int, dim: int) -> Tensor:  # → n c
    place = torch.arange(longest)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    return torch.stack([place.sin(), place.cos()], 2).flatten(1)[:, :dim]


def _divides(dim: int, heads: int) -> None:
    if heads < 1 or dim % heads:
        raise ModelError(f"{heads} heads do not share {dim} channels equally", hint="choose dim a multiple of heads")


def _own(state: State, kind: type[S]) -> S:
    if not isinstance(state, kind):
        raise ShapeError("this state is another model's", hint="take it from begin or step of the same model")
    return state

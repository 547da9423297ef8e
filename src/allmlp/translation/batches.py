"""Batches of sentence pairs with about as many pieces each, in an order that depends on (seed, epoch) alone."""

# axes: b sentences, s pieces of the source, n pieces of the target, t pieces of all targets

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from allmlp.data.keys import generator
from allmlp.data.workers import EpochOrder
from allmlp.errors import DataError
from allmlp.translation.model import BEGIN, END, PAD
from allmlp.translation.pairs import Pairs
from allmlp.translation.vocabulary import Vocabulary

Encoded = tuple[list[int], list[int]]
"""Pieces of a sentence, with its end, and of its translation, without begin and end."""


@dataclass(frozen=True)
class TextBatch:
    """Padded to the longest sentence of each side."""

    source: Tensor  # b s
    given: Tensor  # b n
    """What the decoder sees: begin, then the translation."""
    due: Tensor  # b n
    """What it is to say: the translation, then the end."""
    unreadable: list[tuple[str, str]]
    """None: text that cannot be read is refused when it is opened."""

    @property
    def labels(self) -> Tensor:  # → t
        """All pieces that are to be said: what the training loop counts."""
        return self.due[self.due != PAD]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is kept of a step that went wrong."""
        return {"source": self.source, "given": self.given, "due": self.due}


@dataclass(frozen=True)
class Sentences(Dataset[Encoded]):
    """Pairs as pieces."""

    encoded: Sequence[Encoded]
    left_out: int
    """Pairs that were too long for the model."""

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> Encoded:
        return self.encoded[index]

    def described(self) -> dict[str, int]:
        """How many sentences, pairs that were too long, and pieces to be said."""
        return {"sentences": len(self), "left_out": self.left_out, "pieces": sum(len(due) + 1 for _, due in self.encoded)}

    @property
    def lengths(self) -> list[int]:
        """Of the longer side, in pieces, begin or end counted."""
        return [max(len(source), len(target) + 1) for source, target in self.encoded]


def digest(*splits: Sentences) -> str:
    """Of all pieces in their order: whether these are the sentences a run began with."""
    found = sha256()
    for split in splits:
        for pair in split.encoded:
            found.update(repr(pair).encode())
        found.update(b"\n")
    return found.hexdigest()


def sentences(pairs: Pairs, vocabulary: Vocabulary, longest: int) -> Sentences:
    """Raises DataError where no pair fits into `longest` pieces."""
    encoded = [
        ([*vocabulary.encode(one), END], vocabulary.encode(two)) for one, two in zip(pairs.source, pairs.target, strict=True)
    ]
    kept = [(source, target) for source, target in encoded if max(len(source), len(target) + 1) <= longest]
    if not kept:
        raise DataError(f"no sentence of {pairs.name} has at most {longest} pieces", hint="use a larger translation.longest")
    return Sentences(kept, len(encoded) - len(kept))


class TokenOrder(EpochOrder):
    """The batches of one epoch, from batch `start` on; of each, the share of process `rank` out of `world`.

    Sentences of like length stand together, so that little is padding; which of a length stand together, and the order of the
    batches, are drawn for each epoch, but how many batches there are is not. tokens: pieces of a batch's longer side, padding
    counted, over all processes. seed: None for the sentences by length, always in the same order.
    """

    def __init__(self, lengths: Sequence[int], tokens: int, *, seed: int | None, rank: int = 0, world: int = 1) -> None:
        if tokens < max(lengths) * world:
            raise DataError(
                f"a batch of {tokens} pieces has no room for {world} sentence{'s' * (world > 1)} of {max(lengths)}",
                hint=f"use --translation.tokens {max(lengths) * world} or more",
            )
        self.lengths, self.seed, self.rank, self.world = np.asarray(lengths), seed, rank, world
        self.cuts = _cuts(np.sort(self.lengths), tokens)

    @property
    def steps(self) -> int:
        """Batches in a whole epoch."""
        return len(self.cuts) - 1

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        batches = np.arange(self.steps)
        ties = np.zeros(len(self.lengths))
        if self.seed is not None:
            draw = generator(self.seed, "order", self.epoch)
            ties, batches = draw.random(len(self.lengths)), draw.permutation(self.steps)
        by_length = np.lexsort((ties, self.lengths))
        for number in batches[self.start :]:
            whole = by_length[self.cuts[number] : self.cuts[number + 1]]
            yield whole[self.rank :: self.world].tolist()


def _cuts(lengths: np.ndarray, tokens: int) -> list[int]:
    """Where each batch begins, and the last one ends; lengths are sorted, and a batch is padded to its last."""
    cuts = [0]
    for place, length in enumerate(lengths.tolist()):
        if (place + 1 - cuts[-1]) * length > tokens:
            cuts.append(place)
    return [*cuts, len(lengths)]


def padded(pairs: Sequence[Encoded]) -> TextBatch:
    """Of at least one pair."""
    source = _rows([source for source, _ in pairs])
    given = _rows([[BEGIN, *target] for _, target in pairs])
    due = _rows([[*target, END] for _, target in pairs])
    return TextBatch(source, given, due, unreadable=[])


def _rows(pieces: Sequence[Sequence[int]]) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in pieces], batch_first=True, padding_value=PAD)


def text_batches(found: Sentences, tokens: int, *, seed: int | None, rank: int = 0, world: int = 1) -> DataLoader[TextBatch]:
    """See `TokenOrder`."""
    order = TokenOrder(found.lengths, tokens, seed=seed, rank=rank, world=world)
    batches: Any = DataLoader(found, batch_sampler=order, collate_fn=padded)
    return batches

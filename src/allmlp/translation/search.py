"""The most probable translation, by beam search."""

# axes: b sentences, k beams of each, s positions of the source, v pieces

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.translation.model import BEGIN, END, PAD, State, Translator

BEAMS = 4
"""As published."""
LENGTH_PENALTY = 0.6
EXTRA = 50
"""Pieces by which a translation may be longer than its source (Vaswani et al., 2017, section 6.1)."""


@dataclass(frozen=True)
class Found:
    """One translation."""

    pieces: list[int]
    """Without begin and end."""
    log_probability: float
    ended: bool
    """False where the longest sentence was reached first."""

    def score(self, penalty: float) -> float:
        """log p / ((5 + n) / 6)^penalty, n pieces with the end (Wu et al., 2016, equation 14)."""
        return self.log_probability / ((5 + len(self.pieces) + self.ended) / 6) ** penalty


@torch.inference_mode()
def translate(
    model: Translator, source: Tensor, *, beams: int = BEAMS, penalty: float = LENGTH_PENALTY, incremental: bool = True
) -> list[Found]:  # b s
    """The best of `beams` translations of each sentence; the greedy one for a single beam.

    penalty: of length, see `Found.score`; 0 prefers short ones. incremental: by `step`, one row a piece; otherwise by a whole
    pass for each piece, which finds the same and is here to be compared with. Raises ModelError, and ShapeError for sentences
    that are too long. The model must be in evaluation mode.
    """
    if beams < 1:
        raise ModelError(f"{beams} beams", hint="use 1 or more")
    if model.training:
        raise ModelError("the model is in training mode", hint="call model.eval() first")
    sentences = len(source)
    most = min(model.longest - 1, source.shape[1] + EXTRA)
    memory = model.encode(source)
    rows = torch.arange(sentences, device=source.device).repeat_interleave(beams)
    memory, source = memory[rows], source[rows]
    state = model.begin(memory, source)
    said = torch.full((len(rows), 1), BEGIN, device=source.device)  # (b k) n
    total = torch.full((sentences, beams), float("-inf"), device=source.device)
    total[:, 0] = 0.0  # all beams are alike at first: only one of them counts
    done: list[list[Found]] = [[] for _ in range(sentences)]
    for length in range(1, most + 1):
        scores, state = _next(model, said, memory, source, state, incremental)
        total, beam, piece = _best(total, scores)
        chosen = (torch.arange(sentences, device=source.device)[:, None] * beams + beam).flatten()
        said, state = torch.cat([said[chosen], piece.flatten()[:, None]], 1), state.of(chosen)
        _collect(done, said, total, piece, length, last=length == most)
        total = total.masked_fill(piece == END, float("-inf"))
        if all(
            _settled(found, best, beams, penalty, length)
            for found, best in zip(done, total.max(1).values.tolist(), strict=True)
        ):
            break
    return [max(found, key=lambda one: one.score(penalty)) for found in done]


def _next(
    model: Translator, said: Tensor, memory: Tensor, source: Tensor, state: State, incremental: bool
) -> tuple[Tensor, State]:
    """Log-probabilities of the next piece of each beam."""
    if incremental:
        scores, state = model.step(said[:, -1], state)
    else:
        scores = model.scores(model.decoded(said, memory, source)[:, -1])
    scores = scores.float()
    scores[:, [PAD, BEGIN]] = float("-inf")  # are never said
    return F.log_softmax(scores, 1), state


def _best(total: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # b k, (b k) v → each b k
    """(sum of log-probabilities, beam it goes on from, its next piece) of the best continuations."""
    beams, pieces = total.shape[1], scores.shape[1]
    best = (total[:, :, None] + scores.unflatten(0, (-1, beams))).flatten(1).topk(beams, 1)
    return best.values, best.indices // pieces, best.indices % pieces


def _collect(
    done: Sequence[list[Found]], said: Tensor, total: Tensor, piece: Tensor, length: int, *, last: bool
) -> None:  # (b k) n, b k, b k
    """Keep the beams that have come to their end, and all of them at the last step."""
    beams = total.shape[1]
    ended, values = (piece == END).tolist(), total.tolist()
    for i, found in enumerate(done):
        for k in range(beams):
            if values[i][k] > float("-inf") and (ended[i][k] or last):
                words = said[i * beams + k, 1 : length + 1 - ended[i][k]].tolist()
                found.append(Found(words, values[i][k], ended[i][k]))


def _settled(found: Sequence[Found], best: float, beams: int, penalty: float, most: int) -> bool:
    """Whether no beam that is still open could come before what was found: log p only falls, and is divided by the most for
    the longest sentence. best: log p of the best one that is open."""
    if best == float("-inf"):
        return True
    if len(found) < beams:
        return False
    return max(one.score(penalty) for one in found) >= best / ((5 + most) / 6) ** penalty

"""Losses and right answers of all processes, counted a few steps at a time."""

import math
from collections import deque
from typing import NamedTuple

import torch

from allmlp.training.checkpoint import Position
from allmlp.training.distributed import Team, unsharded
from allmlp.training.step import Outcome

WINDOW = 50
"""Steps over which a loss must be out of bounds before the run is called off."""
FAR = 10.0
"""How many times as much as knowing nothing costs is out of bounds."""


class Bad(NamedTuple):
    """A step that left all bounds."""

    step: int
    """Of the epoch, from 0."""
    loss: float
    norm: float
    """Of the gradient; 0 where it says nothing."""
    broken: bool = False
    """Whether it shows in weights alone."""


class Tally:
    """Adds what steps found to the position. On an accelerator every look waits for the device, so that it looks seldom."""

    def __init__(self, position: Position, team: Team, *, every: int, scaled: bool = False) -> None:
        """scaled: gradients may overflow, and such a step was left out."""
        self.position, self.team, self.every, self.scaled = position, team, every, scaled
        self.waiting: list[tuple[int, Outcome, int]] = []
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.loss: float | None = None
        """Of the last step that was looked at, over the images of all processes."""

    def add(self, step: int, outcome: Outcome, images: int) -> None:
        """step: of the epoch, from 0. images: of this process. Every process adds every step."""
        self.waiting.append((step, outcome, images))

    @property
    def due(self) -> bool:
        return len(self.waiting) >= self.every

    def settle(self) -> Bad | None:
        """Count what waits. Returns the first step whose loss or gradient was out of bounds."""
        waiting, self.waiting = self.waiting, []
        for (step, outcome, _), (images, loss_sum, chance_sum, hits, norm) in zip(waiting, self._sums(waiting), strict=True):
            self.loss = loss_sum / images
            self.recent.append(loss_sum / max(chance_sum, 1e-12))
            far = len(self.recent) == WINDOW and sum(self.recent) > FAR * WINDOW
            if far or not math.isfinite(loss_sum) or not math.isfinite(norm):
                return Bad(step, self.loss, norm)
            self.position.weighed += int(images)
            self.position.loss_sum += loss_sum
            if outcome.hits is not None:
                self.position.hits += int(hits)
                self.position.judged += int(images)
        return None

    def _sums(self, waiting: list[tuple[int, Outcome, int]]) -> list[list[float]]:
        """(images, loss, chance, hits) of each step, over all images of all processes; and whether all norms are finite: the
        sum of what they say."""
        if not waiting:
            return []
        found = torch.stack([torch.stack([o.loss, o.chance, *self._rest(o)]) for _, o, _ in waiting]).tolist()
        counts = [images for _, _, images in waiting]
        rows = zip(counts, found, strict=True)
        mine = [[n, n * loss, n * chance, hits * (n > 0), norm] for n, (loss, chance, hits, norm) in rows]
        flat = self.team.sum([value for row in mine for value in row])
        return [flat[i : i + 5] for i in range(0, len(flat), 5)]

    def _rest(self, outcome: Outcome) -> tuple[torch.Tensor, torch.Tensor]:
        """(hits, norm), 0 where there is none."""
        zero = torch.zeros_like(outcome.loss)
        hits = zero if outcome.hits is None else outcome.hits.to(outcome.loss)
        norm = zero if outcome.norm is None or self.scaled else unsharded(outcome.norm).to(outcome.loss)
        return hits, norm

"""Losses and right answers of all processes, counted a few steps at a time."""

import math
from collections import deque

import torch

from allmlp.training.checkpoint import Position
from allmlp.training.distributed import Team
from allmlp.training.step import Outcome

WINDOW = 50
"""Steps over which a loss must be out of bounds before the run is called off."""
FAR = 10.0
"""How many times as much as knowing nothing costs is out of bounds."""


class Tally:
    """Adds what steps found to the position. On an accelerator every look waits for the device, so that it looks seldom."""

    def __init__(self, position: Position, team: Team, *, every: int) -> None:
        self.position, self.team, self.every = position, team, every
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

    def settle(self) -> tuple[int, float] | None:
        """Count what waits. Returns the first step after which the loss was out of bounds, and that loss."""
        waiting, self.waiting = self.waiting, []
        for (step, outcome, _), (images, loss_sum, chance_sum, hits) in zip(waiting, self._sums(waiting), strict=True):
            self.loss = loss_sum / images
            self.recent.append(loss_sum / max(chance_sum, 1e-12))
            far = len(self.recent) == WINDOW and sum(self.recent) > FAR * WINDOW
            if far or not math.isfinite(loss_sum):
                return step, self.loss
            self.position.weighed += int(images)
            self.position.loss_sum += loss_sum
            if outcome.hits is not None:
                self.position.hits += int(hits)
                self.position.judged += int(images)
        return None

    def _sums(self, waiting: list[tuple[int, Outcome, int]]) -> list[list[float]]:
        """(images, loss, chance, hits) of each step, over all images of all processes."""
        if not waiting:
            return []
        found = torch.stack([torch.stack([o.loss, o.chance, _or_zero(o)]) for _, o, _ in waiting]).tolist()
        counts = [images for _, _, images in waiting]
        mine = [[n, n * loss, n * chance, hits * (n > 0)] for n, (loss, chance, hits) in zip(counts, found, strict=True)]
        flat = self.team.sum([value for row in mine for value in row])
        return [flat[i : i + 4] for i in range(0, len(flat), 4)]


def _or_zero(outcome: Outcome) -> torch.Tensor:
    return torch.zeros_like(outcome.loss) if outcome.hits is None else outcome.hits.to(outcome.loss)

"""Random numbers by key for a whole batch: each image's depend on (seed, epoch, index), not on its neighbours.

SplitMix64 (Steele, Lea, Flood, 2014) as a counter: number k of an image is a hash of its key and k. A generator for each
image would give the same law at fifty times the cost (docs/decisions/0001).
"""

# axes: b batch

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data.keys import generator

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Draws:
    """Numbers for each image of a batch; every call gives new ones."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self.keys, self.used = keys, 0

    @classmethod
    def keyed(cls, seed: int, passes: int | Sequence[int], indices: Tensor) -> "Draws":  # b → b keys
        """The numbers of these images in this pass through the data, or of each in its own; a batch has few of them."""
        passes = [passes] * len(indices) if isinstance(passes, int) else passes
        starts = {p: generator(seed, "batch", p).integers(2**64, dtype=np.uint64) for p in set(passes)}
        start = np.array([starts[p] for p in passes], dtype=np.uint64)
        return cls(_mixed(start + indices.numpy().astype(np.uint64) * _GOLDEN))

    def uniform(self, *shape: int) -> Tensor:  # → b *shape
        """Uniform in (0, 1), float64."""
        count = math.prod(shape)
        places = np.arange(self.used + 1, self.used + 1 + count, dtype=np.uint64)
        self.used += count
        bits = _mixed(self.keys[:, None] + places * _GOLDEN) >> np.uint64(12)
        return torch.from_numpy((bits + 0.5) * 2.0**-52).reshape(len(self.keys), *shape)

    def between(self, low: float, high: float, *shape: int) -> Tensor:  # → b *shape
        """Uniform in (low, high), float64."""
        return low + (high - low) * self.uniform(*shape)

    def below(self, end: int | Tensor, *shape: int) -> Tensor:  # → b *shape
        """Whole numbers in [0, end); end may differ from image to image."""
        return (self.uniform(*shape) * end).long()

    def normal(self, *shape: int) -> Tensor:  # → b *shape
        """Standard normal, float32."""
        return (math.sqrt(2) * torch.special.erfinv(2 * self.uniform(*shape) - 1)).float()

    def chance(self, probability: float) -> Tensor:  # → b
        """True with this probability."""
        return self.uniform() < probability

    def of(self, chosen: Tensor) -> "Draws":  # b of bool, or places → as many as chosen
        """Numbers for some of the images, apart from all others of theirs."""
        self.used += 1
        return Draws(_mixed(self.keys[chosen.numpy()] + np.array([self.used], dtype=np.uint64) * _SECOND))

    def split(self, counts: list[int]) -> list["Draws"]:
        """For the first so many images, the next so many, and so on."""
        return [Draws(keys) for keys in np.split(self.keys, np.cumsum(counts)[:-1])]


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: every bit of the answer depends on every bit given."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))

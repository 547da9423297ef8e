"""Where all random numbers of a run begin: each choice has a key, and no two purposes share one (decision 1)."""

import random
from typing import Literal

import numpy as np
import torch

Purpose = Literal["split", "limit", "tie", "weights", "order", "image", "batch", "step", "corruption", "probe"]
"""What a key is for. None is the beginning of another, so that no counts can make two keys alike."""


def generator(seed: int, purpose: Purpose, *counts: int) -> np.random.Generator:
    """A generator of its own. seed and counts: whole numbers ≥ 0, as many counts for a purpose every time."""
    return np.random.default_rng(_key(seed, purpose, counts))


def seed_everything(seed: int, purpose: Purpose, *counts: int) -> None:
    """Python's, NumPy's and torch's global generators, for parts that draw from those."""
    words = np.random.SeedSequence(_key(seed, purpose, counts)).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.default_generator.manual_seed(int(words[2]))  # torch.manual_seed also walks through absent accelerators


def _key(seed: int, purpose: Purpose, counts: tuple[int, ...]) -> list[int]:
    return [seed, *purpose.encode(), *counts]

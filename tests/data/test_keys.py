"""Random numbers by key: the same key, the same numbers; another purpose or count, others."""

import random
from itertools import permutations
from typing import get_args

import numpy as np
import torch

from allmlp.data.keys import Purpose, generator, seed_everything

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_a_key_decides_every_generator() -> None:
    draws = []
    for seed, *counts in ((1, 2, 3), (1, 2, 3), (1, 3, 2), (2, 2, 3), (1, 2, 2**62)):
        seed_everything(seed, "image", *counts)
        draws.append(draw())
    assert draws[0] == draws[1]
    for values in zip(*draws[1:], strict=True):
        assert len(set(values)) == 4


def test_no_two_purposes_draw_the_same() -> None:
    draws = []
    for purpose in PURPOSES:
        seed_everything(7, purpose, 3, 1)
        draws.append((*draw(), float(generator(7, purpose, 3, 1).random())))
    for values in zip(*draws, strict=True):
        assert len(set(values)) == len(PURPOSES)


def test_no_purpose_begins_another_so_that_no_count_can_stand_for_its_letters() -> None:
    assert not [(a, b) for a, b in permutations(PURPOSES, 2) if b.startswith(a)]


def test_a_step_and_an_image_of_the_same_numbers_differ() -> None:
    """Step 5 of the run, and sample 1 of epoch 5, once shared a key."""
    seed_everything(0, "step", 5)
    step = draw()
    seed_everything(0, "image", 5, 1)
    assert draw() != step

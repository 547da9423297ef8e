"""Which candidate is the fastest here: all take turns for a moment."""

# axes: b images, c channels, h w pixels

import time
from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from allmlp.engine.backends.base import Runner
from allmlp.engine.parity import in_parts

Key = TypeVar("Key")

ROUNDS, LEAST = 6, 3
"""Turns of each candidate, and of those that are never left out."""
SECONDS = 2.0
"""After so long no further round begins, once there were LEAST."""
HOPELESS = 1.5
"""Who takes so many times as long as the fastest, after two turns, does not take part in the next round."""


def seconds_per_image(
    candidates: Mapping[Key, Runner], images: Tensor, batch: int, *, threads: int
) -> dict[Key, float]:  # b c h w
    """The fastest of up to ROUNDS turns of each: what else the machine does only ever makes one slower.

    Every second round goes backwards, so that what disturbs every second turn disturbs all candidates alike. One thread is
    timed by the time it had the processor, which does not count others' turns; several by the clock. A GPU is timed by the
    clock too, from when it has nothing to do until it has nothing to do, and gets whole batches: some candidates fill them
    up, and work no less for fewer.
    """
    on_gpu = images.device.type == "cuda"
    clock = partial(_settled, images.device) if on_gpu else time.process_time if threads == 1 else time.perf_counter
    images = images[torch.arange(batch) % len(images)] if on_gpu else images
    best = dict.fromkeys(candidates, float("inf"))
    began = time.perf_counter()
    for number in range(ROUNDS):
        least = min(best.values())
        turns = list(candidates.items())
        for key, run in reversed(turns) if number % 2 else turns:
            if number < 2 or best[key] <= HOPELESS * least:
                started = clock()
                in_parts(run, images, batch)
                best[key] = min(best[key], (clock() - started) / len(images))
        if number + 1 >= LEAST and time.perf_counter() - began > SECONDS:
            break
    return best


def _settled(device: torch.device) -> float:
    """The clock, once the GPU has done all it was given."""
    torch.cuda.synchronize(device)
    return time.perf_counter()

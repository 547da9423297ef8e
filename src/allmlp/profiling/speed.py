"""How long a model takes."""

# axes: b batch, c channels, h w pixels

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

PROBE = 4
"""Images with which the faster memory order is found."""


def typical_seconds(call: Callable[[], object], *, least: float, device: torch.device) -> float:
    """The median time of calls made one after another until `least` seconds have passed, of one call at least."""
    times: list[float] = []
    _wait(device)
    began = time.perf_counter()
    while not times or time.perf_counter() - began < least:
        started = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def faster_order(run: Callable[[Tensor], object], model: nn.Module, images: Tensor) -> torch.memory_format:  # b c h w
    """The memory order in which the model answers sooner; leaves it in that order.

    Each order has an untimed call before its timed ones: the first call also chooses and compiles kernels.
    """
    few, times = images[:PROBE], {}
    for order in (torch.contiguous_format, torch.channels_last):
        model.to(memory_format=order)
        placed = few.contiguous(memory_format=order)
        run(placed)
        times[order] = min(typical_seconds(partial(run, placed), least=0, device=images.device) for _ in range(3))
    best = min(times, key=lambda order: times[order])
    model.to(memory_format=best)
    return best


def _wait(device: torch.device) -> None:
    """A GPU answers before it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

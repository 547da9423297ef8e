"""Bytes and images per second, as they are and not as they should be."""

# axes: b images, c channels, h w pixels

import gzip
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from allmlp.data.progress import watched
from allmlp.engine.compiled import compile  # noqa: A004 - the verb the rest of the world has for it
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.weights.files import read_tensors

ROUNDS = 9
SECONDS = 0.3
"""For so long each answers in each round."""
BATCH = 32


def size(model: ImageModel, weights: Path) -> dict[str, int]:
    """parameters, nonzero (of them), macs (of one image), bytes (of the file), gzip_bytes (of it through gzip), and
    packed_bytes: of a file that keeps, of each tensor for which that is less, its non-zero values and a bit for each value."""
    content = weights.read_bytes()
    return {
        "parameters": parameters(model),
        "nonzero": sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        "macs": multiply_adds(model),
        "bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, mtime=0)),
        "packed_bytes": len(save(packed(read_tensors(weights)))),
    }


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name.values and name.places (bits) in place of every tensor that is then smaller."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        places = tensor != 0
        bits = torch.from_numpy(np.packbits(places.numpy()))
        values = tensor[places]
        if values.nbytes + bits.nbytes < tensor.nbytes:
            found |= {f"{name}.values": values, f"{name}.places": bits}
        else:
            found[name] = tensor.contiguous()
    return found


def speed(models: Mapping[str, ImageModel], *, quiet: bool = True) -> dict[str, dict[str, Any]]:
    """Images per second of each model on this CPU, in float32, BATCH at a time, all in turns: {"median", "low", "high"} over
    the rounds (low and high are quartiles), as it is ("eager") and laid out anew ("torch", where that is to be had).

    One thread is timed by the time it had the processor, several by the clock.
    """
    runs: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {}
    for name, model in models.items():
        runs[name, "eager"] = model.cpu().float().eval()
        try:
            runs[name, "torch"] = compile(model, backend="torch", precision="fp32", batch=BATCH, keep=False)
        except EngineError:
            continue
    model = next(iter(models.values()))
    images = torch.randn(BATCH, model.in_chans, *model.img_size, generator=torch.Generator().manual_seed(0))
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    rates: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for number in watched(range(ROUNDS + 1), total=ROUNDS + 1, what="measuring", quiet=quiet):
        for key, run in runs.items():
            rate = _rate(run, images, clock)
            if number:  # the first one prepares
                rates[key].append(rate)
    found: dict[str, dict[str, Any]] = {name: {} for name in models}
    for (name, how), values in rates.items():
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        found[name][how] = {"median": median, "low": low, "high": high}
    return found


def _rate(run: Callable[[Tensor], Tensor], images: Tensor, clock: Callable[[], float]) -> float:
    started, done = clock(), 0
    with torch.inference_mode():
        while not done or clock() - started < SECONDS:
            run(images)
            done += len(images)
    return done / (clock() - started)

"""Where and in what precision a model runs."""

import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.models.base import ImageModel

BF16_WIDTH = 256
"""Below this many channels the casts around bf16 products cost more than the products save, on every CPU measured."""
BF16_GAIN = 1.5
"""How much faster bf16 products must be than float32 ones before they are used on a CPU."""


def best_device() -> torch.device:
    """The accelerator when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device, model: ImageModel) -> str:
    """ "fp32" or "bf16"; "auto" takes bf16 where it pays. Training records the answer, and resumes with it."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    wide = model.num_features >= BF16_WIDTH
    return "bf16" if wide and bf16_gain() >= BF16_GAIN else "fp32"


@lru_cache
def bf16_gain() -> float:
    """How many times faster than in float32 this CPU multiplies in bf16, timed in under a second.

    Flags do not tell: of two processors that have avx512_bf16, one gained 2.9 times and one lost half.
    """
    products = [
        (torch.ones(1024, 384, dtype=kind), torch.ones(1536, 384, dtype=kind)) for kind in (torch.float32, torch.bfloat16)
    ]
    times: list[list[float]] = [[], []]
    with torch.inference_mode():
        for _ in range(9):
            for spent, (x, weight) in zip(times, products, strict=True):
                started = time.perf_counter()
                F.linear(x, weight)
                spent.append(time.perf_counter() - started)
    return statistics.median(times[0]) / statistics.median(times[1])


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass is computed."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def placed(images: Tensor, model: ImageModel, device: torch.device) -> Tensor:  # b c h w, values kept
    """Images where the model is, in the memory order it is fastest with."""
    order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
    return images.to(device, non_blocking=True, memory_format=order)


def prepared(model: ImageModel, device: torch.device) -> ImageModel:
    """The model on its device, in the memory order it is fastest with; in place."""
    order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
    return model.to(device).to(memory_format=order)

"""Where and in what precision a model runs."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import RecipeError
from allmlp.models.base import ImageModel

BF16_WIDTH = 256
"""Below this many channels the casts around bf16 products cost more than the products save, on every CPU measured."""
BF16_GAIN = 1.5
"""How much faster bf16 products must be than float32 ones before they are used on a CPU."""

FASTER, TIMED = 1.2, 5
"""How much faster a whole network must be in bf16, and how often each is timed. Of answers alone: gradients cost more casts."""


def best_device() -> torch.device:
    """The accelerator when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device, model: nn.Module) -> str:
    """ "fp32", "bf16" or "fp16"; "auto" takes bf16 where it pays. Training records the answer, and resumes with it.

    Raises RecipeError for fp16 on a CPU.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise RecipeError("fp16 is for GPUs, and there is none here", hint='use precision "auto", "fp32" or "bf16"')
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    wide = getattr(model, "num_features", 0) >= BF16_WIDTH
    return "bf16" if wide and bf16_gain() >= BF16_GAIN else "fp32"


@lru_cache
def bf16_gain() -> float:
    """How many times faster than in float32 this CPU multiplies in bf16, timed in under a second.

    On one thread, by the time that thread had the processor: the answer must not hang on what else runs.

    Flags do not tell: of two processors that have avx512_bf16, one gained 2.9 times and one lost half.
    """
    products = [
        (torch.ones(1024, 384, dtype=kind), torch.ones(1536, 384, dtype=kind)) for kind in (torch.float32, torch.bfloat16)
    ]
    times: list[list[float]] = [[], []]
    with torch.inference_mode(), threads_used(1):
        for _ in range(9):
            for spent, (x, weight) in zip(times, products, strict=True):
                started = time.thread_time()
                F.linear(x, weight)
                spent.append(time.thread_time() - started)
    return min(times[0]) / min(times[1])


def faster_precision(run: Callable[[], object], device: torch.device) -> str:
    """ "bf16" where `run`, a pass through a network in autocast, is then clearly faster than in "fp32", timed here and now."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    times: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for attempt in range(TIMED + 1):
        for precision, spent in times.items():
            started = time.perf_counter()
            with torch.inference_mode(), autocast(device, precision):
                run()
            if attempt:  # the first one prepares
                spent.append(time.perf_counter() - started)
    medians = {precision: statistics.median(spent) for precision, spent in times.items()}
    return "bf16" if medians["fp32"] / medians["bf16"] >= FASTER else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass is computed."""
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.type, dtype=kinds[precision]) if precision in kinds else nullcontext()


_ONE_AT_A_TIME = threading.Lock()
_inside: list[Callable[[], None]] = []
"""One entry for each `exact_products` that is open in any thread: what the last to leave does."""


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Products of float32 numbers on a GPU are made of float32 numbers inside, not of TF32, which has 11 bits.

    Nothing changes on a CPU. The settings belong to the whole process: with several threads inside, the last one to leave puts
    them back.
    """
    if device.type != "cuda":
        yield
        return
    with _ONE_AT_A_TIME:
        _inside.append(_inside[0] if _inside else _float32_alone())
    try:
        yield
    finally:
        with _ONE_AT_A_TIME:
            back = _inside.pop()
            if not _inside:
                back()


def _float32_alone() -> Callable[[], None]:
    """Switches TF32 off; what comes back switches it to what it was."""
    libraries: Any = torch.backends  # whose stubs lack some names
    products, convolutions = libraries.cuda.matmul, libraries.cudnn
    try:
        before, allowed, _ = torch.get_float32_matmul_precision(), convolutions.allow_tf32, products.allow_tf32
    except RuntimeError:  # the program set them by torch's newer names, after which the older ones are not to be touched
        places = [(place, place.fp32_precision) for place in (products, convolutions.conv)]
        for place, named in places:
            place.fp32_precision = "ieee" if named == "tf32" else named

        def renamed() -> None:
            for place, named in places:
                place.fp32_precision = named

        return renamed
    if before != "highest":
        torch.set_float32_matmul_precision("highest")
    if allowed:
        convolutions.allow_tf32 = False

    def back() -> None:
        if before != "highest":
            torch.set_float32_matmul_precision(before)
        if allowed:
            convolutions.allow_tf32 = True

    return back


def placed(images: Tensor, model: ImageModel, device: torch.device) -> Tensor:  # b c h w, values kept
    """Images where the model is, in the memory order it is fastest with."""
    order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
    return images.to(device, non_blocking=True, memory_format=order)


def prepared(model: ImageModel, device: torch.device) -> ImageModel:
    """The model on its device, in the memory order it is fastest with; in place."""
    order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
    return model.to(device).to(memory_format=order)


@contextmanager
def threads_used(count: int | None) -> Iterator[None]:
    """torch works with so many threads of the CPU inside; None leaves their number as it is."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

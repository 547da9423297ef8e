"""Where and in what precision a model runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.engine.abilities import abilities
from allmlp.errors import RecipeError
from allmlp.models.base import ImageModel

BF16_WIDTH, BF16_WIDTH_TRAINING = 256, 96
"""Below so many channels the casts around bf16 matmuls cost more than they save; a training step has more to save."""


def best_device() -> torch.device:
    """The accelerator when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device, model: nn.Module, *, width: int = BF16_WIDTH) -> str:
    """ "fp32", "bf16" or "fp16"; "auto" takes bf16 where the processor is fast in it and the model is wide enough.

    The choice follows from the processor's abilities and the model alone, so that it is the same every time.

    Args:
        wanted: "auto", or a precision, which is then the answer.
        width: channels that a model needs for bf16 on a CPU.

    Raises:
        RecipeError: for fp16 on a CPU.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise RecipeError("fp16 is for GPUs, and there is none here", hint='use precision "auto", "fp32" or "bf16"')
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if getattr(model, "num_features", 0) >= width and abilities().fast_bf16 else "fp32"


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

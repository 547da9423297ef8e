"""Where and in what precision a model runs."""

from contextlib import AbstractContextManager, nullcontext

import torch

from allmlp.models.base import ImageModel

BF16_WIDTH = 256
"""From this many channels on, bf16 products save more on a CPU than the casts around them cost."""


def best_device() -> torch.device:
    """The accelerator when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device, model: ImageModel) -> str:
    """ "fp32" or "bf16"; "auto" decides by rule, not by timing, so that a run can be repeated."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _multiplies_bf16()
    return "bf16" if fast and model.num_features >= BF16_WIDTH else "fp32"


def _multiplies_bf16() -> bool:
    """Whether the processor has bf16 dot products, not merely an emulation of them."""
    try:
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    except AttributeError:  # names inside torch.cpu have moved before
        return False


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass is computed."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()

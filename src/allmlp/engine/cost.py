"""Parameters and multiply-adds, counted rather than estimated."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from allmlp.models.base import ImageModel


def parameters(model: ImageModel) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: ImageModel) -> int:
    """Multiply-adds of one image in matrix products and convolutions (the papers' "FLOPs"), without computing them."""
    with torch.device("meta"):
        twin = model.twin().eval().requires_grad_(False)
        image = torch.empty(1, model.in_chans, *model.img_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(image)
    return int(counter.get_total_flops()) // 2

"""Parameters, multiply-adds and activations, counted rather than estimated."""

# axes: c channels, h w pixels

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from allmlp.models.base import ImageModel


@dataclass(frozen=True)
class Cost:
    """What one image costs."""

    macs: int
    """Multiply-adds of convolutions and matrix products (the papers' "FLOPs")."""
    activations: int
    """Numbers those same operations put out, attention's two products among them, as fvcore and timm count them
    (RegNet, arXiv:2003.13678, counts convolutions, which is the same where there is no attention)."""


def parameters(model: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in model.parameters())


def cost(model: nn.Module, image: Tensor) -> Cost:  # 1 c h w
    """Run the model once, in evaluation mode, and count; on the meta device nothing is computed.

    Attention counts the same however it is computed: here it is made to write its products out.
    """
    counter = _Counter()
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model(image)
    finally:
        model.train(was_training)
    return Cost(counter.macs, counter.activations)


def multiply_adds(model: ImageModel) -> int:
    """Multiply-adds of one image, without computing them."""
    with torch.device("meta"):
        twin = model.twin()
        image = torch.empty(1, model.in_chans, *model.img_size)
    return cost(twin, image).macs


class _Counter(TorchDispatchMode):
    """Sees every operation that reaches a kernel; torch's own formulas say which of them multiply, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = self.activations = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operation(*args, **(kwargs or {}))
        flops = flop_registry.get(operation._overloadpacket)
        if flops is not None:
            self.macs += flops(*args, **(kwargs or {}), out_val=out) // 2
            self.activations += out.numel()
        return out

"""Initial weights that several releases share."""

from timm.layers import trunc_normal_
from torch import nn


def truncated(module: nn.Module) -> None:
    """DeiT's rule for linear layers: normal with a deviation of 0.02, no bias. All else keeps torch's default."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def zero(head: nn.Linear) -> None:
    """Training starts from equal probabilities."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)

"""Initial weights that several releases share.

The two distributions are timm's to the bit. They are here because importing timm takes twice as long as importing torch, and
whoever classifies a picture needs none of the rest of it.
"""

import math

import torch
from torch import Tensor, nn

CUT_AT_TWO = 0.87962566103423978
"""Standard deviation of a standard normal distribution cut off at -2 and 2."""


def truncated(module: nn.Module) -> None:
    """DeiT's rule for linear layers: normal with a deviation of 0.02, no bias. All else keeps torch's default."""
    if isinstance(module, nn.Linear):
        trunc_normal(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def zero(head: nn.Linear) -> None:
    """Training starts from equal probabilities."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


@torch.no_grad()
def trunc_normal(weight: Tensor, *, std: float = 1.0) -> None:
    """Fill with normal numbers of this deviation, cut off at -2 and 2."""
    if weight.is_meta:  # has no numbers, and for their erfinv_ torch would load its whole compiler
        return
    share = (1 + math.erf(2 / std / math.sqrt(2))) / 2  # of the distribution that is below 2
    weight.uniform_(2 * (1 - share) - 1, 2 * share - 1).erfinv_().mul_(std * math.sqrt(2)).clamp_(-2, 2)


@torch.no_grad()
def lecun_normal(weight: Tensor) -> None:
    """Fill with truncated normal numbers of variance 1 / inputs, as JAX's layers start (Klambauer et al., 2017)."""
    trunc_normal(weight)
    weight.mul_(math.sqrt(1 / weight[0].numel()) / CUT_AT_TWO)

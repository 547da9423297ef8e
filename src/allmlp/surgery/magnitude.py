"""Magnitude pruning: which weights stay when the smallest become zero."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["layer", "global"]
"""Whether each matrix keeps its own share, or all of them one together."""


def kept(weights: Mapping[str, Tensor], share: float, scope: Scope = "layer") -> dict[str, Tensor]:
    """Of each tensor, true where it stays: the largest in magnitude, of which `share`, in [0, 1], is kept, rounded."""
    if scope == "global":
        together = _largest(torch.cat([weight.flatten() for weight in weights.values()]), share)
        parts = together.split([weight.numel() for weight in weights.values()])
        return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}
    return {name: _largest(weight, share) for name, weight in weights.items()}


def largest(weight: Tensor, share: float) -> Tensor:
    """The same with zeros for all but the largest entries, of which `share` are kept, rounded to a whole number."""
    return weight.where(_largest(weight, share), 0)


def _largest(weight: Tensor, share: float) -> Tensor:
    stays = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    stays[weight.abs().flatten().topk(round(share * weight.numel())).indices] = True
    return stays.view_as(weight)

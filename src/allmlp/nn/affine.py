"""Per-channel scales: what ResMLP has in place of normalisation."""

# axes: c channels, last

import torch
from torch import Tensor, nn


class Affine(nn.Module):
    """α · x + β per channel, no statistics (ResMLP, equation 1)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(dim))
        self.beta = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:  # … c → … c
        return self.alpha * x + self.beta


class LayerScale(nn.Module):
    """γ · x per channel at the end of a residual branch, starting near zero (CaiT, section 2)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Tensor) -> Tensor:  # … c → … c
        return self.gamma * x

"""DINO's head (Caron et al., 2021, appendix C)."""

# axes: b batch, c channels, d bottleneck, k outputs

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.models.initial import truncated


class Projection(nn.Module):
    """Three linear layers with GELU between them, to unit vectors; then the cosine of each with k directions.

    That is the article's weight-normalised last layer whose lengths stay 1. Initial weights are its code's: how long the
    directions are decides how fast they turn.
    """

    def __init__(self, channels: int, *, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.apply(truncated)
        self.directions = nn.Parameter(torch.empty(outputs, bottleneck).uniform_(-1, 1) / sqrt(bottleneck))  # k d

    def forward(self, x: Tensor) -> Tensor:  # b c → b k, each in [-1, 1]
        return F.linear(F.normalize(self.mlp(x)), F.normalize(self.directions))

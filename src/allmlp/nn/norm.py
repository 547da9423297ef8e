"""Normalisation on a grid."""

# axes: b batch, c channels, y x rows and columns of the grid

from torch import Tensor, nn


class GridLayerNorm(nn.LayerNorm):
    """LayerNorm of the channels, at every position of a grid by itself."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

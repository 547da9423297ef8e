"""A linear map along one named axis, and the residual branch around it."""

# axes: b batch, n tokens in, m tokens out, c channels, y rows, x columns

import torch
from torch import Tensor, nn


class AlongTokens(nn.Linear):
    """Mix the token axis: the same n × n matrix for every channel (ResMLP, equation 1).

    `weight[m, n]` is what output token m takes of input token n: rows gather.
    """

    def forward(self, x: Tensor) -> Tensor:  # b n c → b m c
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class AlongRows(nn.Linear):
    """Mix the height axis: each column of the grid by itself (sMLPNet, section 3.2)."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x, lying as x does
        if _channels_innermost(x):
            rows = x.permute(0, 2, 3, 1)  # b y x c
            mixed = torch.matmul(self.weight, rows.flatten(2)).unflatten(2, rows.shape[2:])
            return (mixed if self.bias is None else mixed + self.bias.to(mixed.dtype)[:, None, None]).permute(0, 3, 1, 2)
        mixed = torch.matmul(self.weight, x)
        return mixed if self.bias is None else mixed + self.bias[:, None]


class AlongColumns(nn.Linear):
    """Mix the width axis: each row of the grid by itself (sMLPNet, section 3.2)."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x, lying as x does
        if _channels_innermost(x):
            mixed = torch.matmul(self.weight, x.permute(0, 2, 3, 1))  # b y x c
            return (mixed if self.bias is None else mixed + self.bias.to(mixed.dtype)[:, None]).permute(0, 3, 1, 2)
        return super().forward(x)


def _channels_innermost(x: Tensor) -> bool:  # b c y x
    """Then the layers around need no copy, if this one keeps the order. By strides, which every transform of torch's knows."""
    channels, columns = x.shape[-3], x.shape[-1]
    return x.ndim == 4 and channels > 1 and x.stride()[1:] == (1, channels * columns, channels)


def stochastic_depth(rate: float) -> nn.Module:
    """Drop a residual branch for whole images in training; nothing at rate 0 (Huang et al., 2016)."""
    if rate <= 0:
        return nn.Identity()
    from timm.layers import DropPath  # here, because importing timm makes the models known, which import this file

    return DropPath(rate)


def linear_rates(rate: float, depth: int) -> list[float]:
    """Stochastic-depth rates that grow linearly from 0 at the first block to `rate` at the last."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]

"""A linear map as the product of two narrow ones, along one named axis."""

# axes: b batch, n tokens in, m tokens out, r rank, c channels, y rows, x columns

import torch
from torch import Tensor, nn

from allmlp.nn.mixing import AlongColumns, AlongRows, AlongTokens


class LowRank(nn.Module):
    """U (V x) + b along the last axis, with `rank` numbers between V and U."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features)

    @property
    def weight(self) -> Tensor:  # m n
        """The matrix that both are together."""
        return self.up.weight @ self.down.weight

    @property
    def bias(self) -> Tensor:  # m
        return self.up.bias

    def forward(self, x: Tensor) -> Tensor:  # … n → … m
        return self.up(self.down(x))


class LowRankAlongTokens(LowRank):
    """The token axis, as AlongTokens."""

    def forward(self, x: Tensor) -> Tensor:  # b n c → b m c
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class LowRankAlongRows(LowRank):
    """The height axis, as AlongRows."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return torch.matmul(self.up.weight, torch.matmul(self.down.weight, x)) + self.up.bias[:, None]


class LowRankAlongColumns(LowRank):
    """The width axis, as AlongColumns."""


LOW_RANK: dict[type[nn.Linear], type[LowRank]] = {
    nn.Linear: LowRank,
    AlongTokens: LowRankAlongTokens,
    AlongRows: LowRankAlongRows,
    AlongColumns: LowRankAlongColumns,
}
"""A linear map → the same in two factors."""


def linear(kind: type[nn.Linear], in_features: int, out_features: int, rank: int = 0) -> nn.Linear | LowRank:
    """A map of a kind in LOW_RANK, whole for rank 0."""
    return LOW_RANK[kind](in_features, out_features, rank) if rank else kind(in_features, out_features)

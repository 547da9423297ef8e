"""linear → GELU → linear, along the last axis, along the tokens, or along the channels of a grid."""

# axes: b batch, n tokens, c channels, y x rows and columns of the grid

from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.nn.lowrank import LowRank, linear

ACTIVATIONS = {"gelu": "none", "gelu_tanh": "tanh"}
"""Name → `approximate` of torch's GELU. Mixer's released weights were trained with the tanh form."""


class Mlp(nn.Module):
    """Two linear maps of the last axis with a GELU between; in training a share `dropout` of what each gives is zero."""

    def __init__(self, dim: int, hidden: int, *, act: str = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1: nn.Linear | LowRank = nn.Linear(dim, hidden)
        self.act = nn.GELU(approximate=ACTIVATIONS[act])
        self.fc2: nn.Linear | LowRank = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:  # … c → … c
        if not (self.training and self.dropout):
            return self.fc2(self.act(self.fc1(x)))
        return F.dropout(self.fc2(F.dropout(self.act(self.fc1(x)), self.dropout)), self.dropout)


class TokenMlp(Mlp):
    """The same along the token axis, shared by all channels (MLP-Mixer, equation 1).

    ranks: of both maps; 0 leaves one whole.
    """

    def __init__(self, dim: int, hidden: int, *, act: str = "gelu", ranks: tuple[int, int] = (0, 0)) -> None:
        super().__init__(dim, hidden, act=act)
        if ranks[0]:
            self.fc1 = linear(nn.Linear, dim, hidden, ranks[0])
        if ranks[1]:
            self.fc2 = linear(nn.Linear, hidden, dim, ranks[1])

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class GridMlp(Mlp):
    """The same at every position of a grid: 1 × 1 convolutions, in other words."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

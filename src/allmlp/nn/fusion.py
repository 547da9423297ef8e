"""Several views of the same image, joined into one."""

# axes: b batch, c channels, y x rows and columns of the grid, k branches

from torch import Tensor, nn
from torch.nn import functional as F


class SplitAttention(nn.Module):
    """A sum of branches whose weights, one a channel and branch, sum to one over the branches.

    They follow from the channels' means over the grid and all branches, by an MLP that narrows to a
    quarter (ViP, "Weighted Permute-MLP", after ResNeSt, section 3).
    """

    def __init__(self, dim: int, *, branches: int = 3) -> None:
        super().__init__()
        self.branches = branches
        self.fc1 = nn.Linear(dim, max(dim // 4, 1))
        self.fc2 = nn.Linear(max(dim // 4, 1), dim * branches)

    def forward(self, *branches: Tensor) -> Tensor:  # k times b c y x → b c y x
        means = sum(branches[1:], branches[0]).mean((2, 3))
        weights = self.fc2(F.gelu(self.fc1(means))).unflatten(1, (-1, self.branches)).softmax(-1)  # b c k
        weighed = [branch * weights[:, :, k, None, None] for k, branch in enumerate(branches)]
        return sum(weighed[1:], weighed[0])

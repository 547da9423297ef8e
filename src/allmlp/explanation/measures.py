"""Numbers that say what a token-mixing matrix does. Pure functions of a matrix whose rows gather."""

# axes: n places in, m places out = n, r singular values

import torch
from torch import Tensor

from allmlp.errors import ShapeError
from allmlp.operators import Grid

FAINT = 0.05
"""An entry below this share of the largest counts as none (ResMLP, section 3)."""


def mixing_radius(matrix: Tensor, grid: Grid) -> Tensor:  # n n → n
    """Mean distance, in patches, from which each place gathers: small is convolution-like, large is global.

    matrix: what place m takes of place n. grid: (rows, columns), rows · columns = n. Distances are Euclidean, and weighed
    by the size of the entries. Returns n distances ≥ 0; 0 for a row of zeros. Raises ShapeError when the grid does not fit.
    """
    return _weighed(matrix, distances(grid))


def locality(matrix: Tensor, grid: Grid, reach: int = 1) -> Tensor:  # n n → n
    """Share, in [0, 1], of each row's weight that lies at most `reach` rows and columns away; 0 for a row of zeros.

    With a reach of 1 that is what a 3 × 3 convolution could hold. Raises ShapeError when the grid does not fit.
    """
    offsets = _places(grid)[:, None] - _places(grid)[None]
    return _weighed(matrix, (offsets.abs().amax(-1) <= reach).double())


def symmetry(matrix: Tensor) -> float:  # n n
    """⟨A, Aᵀ⟩ / ⟨A, A⟩ in [-1, 1]: 1 symmetric, -1 antisymmetric, 0 when neither prevails, or for zeros alone."""
    size = float((matrix * matrix).sum())
    return float((matrix * matrix.T).sum()) / size if size else 0.0


def sparsity(matrix: Tensor, share: float = FAINT) -> float:
    """Share, in [0, 1], of the entries that are smaller than `share` of the largest; 1 for zeros alone (ResMLP, section 3)."""
    largest = matrix.abs().max()
    return float((matrix.abs() < share * largest).double().mean()) if largest else 1.0


def rank(matrix: Tensor) -> int:
    """Singular values above what rounding to float32 makes of zeros."""
    values = torch.linalg.svdvals(matrix.double())
    return int((values > values[0] * max(matrix.shape) * torch.finfo(torch.float32).eps).sum())


def effective_rank(matrix: Tensor) -> float:
    """exp of the entropy of the singular values' shares, in [1, n]: how many directions matter; 0 for zeros alone.

    After Roy & Vetterli, 2007.
    """
    values = torch.linalg.svdvals(matrix.double())
    if not values.sum():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def distances(grid: Grid) -> Tensor:  # → n n
    """Between the places of a grid, in patches."""
    places = _places(grid)
    return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


def _places(grid: Grid) -> Tensor:  # → n 2
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], 1)


def _weighed(matrix: Tensor, values: Tensor) -> Tensor:  # n n, n n → n
    """The mean of the values along each row, weighed by the size of the entries."""
    if matrix.shape != values.shape:
        raise ShapeError(
            f"a matrix of {' × '.join(map(str, matrix.shape))} does not fit a grid of {len(values)} places",
            hint="give the grid (rows, columns) whose places are the matrix's rows",
        )
    size = matrix.abs().double()
    return (size * values).sum(1) / size.sum(1).clamp(min=torch.finfo(torch.float64).tiny)

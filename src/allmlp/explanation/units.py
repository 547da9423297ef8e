"""Hidden units of token-mixing MLPs, put in the order of Mixer's figure: opposing pairs, slow ones first."""

# axes: u units, p pairs, n places, y x rows and columns of the grid

import torch
from torch import Tensor

from allmlp.operators import Grid


def opposing_pairs(units: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:  # u n → p 2 unit numbers, p frequencies
    """Pair each unit with the one most unlike it, and sort the pairs by mean frequency (MLP-Mixer, Figure 5).

    The pair with the most negative correlation is taken first, then the next among the units left; of an odd number the
    last unit is left out. Frequencies are in cycles per patch, in [0, √½], the mean of both units'.
    """
    centred = units - units.mean(1, keepdim=True)
    directions = centred / centred.norm(dim=1, keepdim=True).clamp(min=torch.finfo(units.dtype).tiny)
    alike = directions @ directions.T
    first, second = torch.triu_indices(len(units), len(units), 1)
    order = alike[first, second].argsort(stable=True)
    free, pairs = set(range(len(units))), []
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if i in free and j in free:
            pairs.append((i, j))
            free -= {i, j}
    found = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    frequencies = mean_frequency(units, grid)[found].mean(1)
    slow_first = frequencies.argsort(stable=True)
    return found[slow_first], frequencies[slow_first]


def mean_frequency(units: Tensor, grid: Grid) -> Tensor:  # u n → u, cycles per patch
    """The mean of the spatial frequencies in each unit's weights, weighed by their power; 0 for constant ones."""
    centred = (units - units.mean(1, keepdim=True)).unflatten(1, grid)
    power = torch.fft.fft2(centred).abs().square()
    frequency = torch.hypot(*torch.meshgrid(*(torch.fft.fftfreq(side, dtype=units.dtype) for side in grid), indexing="ij"))
    total = power.sum((1, 2))
    floor = torch.finfo(units.dtype).eps * units.square().sum(1) * units.shape[1]
    return torch.where(total > floor, (power * frequency).sum((1, 2)) / total.clamp(min=torch.finfo(units.dtype).tiny), 0.0)

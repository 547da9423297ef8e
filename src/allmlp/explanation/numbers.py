"""The numbers beside the maps: one row for each token-mixing layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from allmlp.explanation.measures import effective_rank, locality, mixing_radius, rank, sparsity, symmetry
from allmlp.operators import Grid, Mixing


@dataclass(frozen=True, kw_only=True)
class MixingNumbers:
    """What `allmlp.explanation.measures` says of a layer, means over its rows and sets; None where it has no places."""

    name: str
    kind: str
    axis: str
    grid: Grid
    sets: int
    radius: float | None
    """Mean distance from which places gather, in patches."""
    even_radius: float
    """The same if all weights were alike."""
    locality: float | None
    """Share of the weight within one row and column, in [0, 1]."""
    symmetry: float | None
    """In [-1, 1]; None for layers without sign as well."""
    sparsity: float
    """Share of the entries below 5 % of the largest, in [0, 1]."""
    rank: float
    effective_rank: float
    largest: float
    """The largest weight without its sign."""


def mixing_numbers(mixing: Mixing) -> MixingNumbers:
    """All measures of one layer."""
    matrices, grid = list(mixing.matrices), mixing.grid
    places = grid[0] * grid[1]
    placed = mixing.kind != "class"

    def average(measure: Callable[[Tensor], float]) -> float:
        return mean(measure(matrix) for matrix in matrices)

    return MixingNumbers(
        name=mixing.name,
        kind=mixing.kind,
        axis=mixing.axis,
        grid=grid,
        sets=len(matrices),
        radius=average(lambda a: float(mixing_radius(a, grid).mean())) if placed else None,
        even_radius=float(mixing_radius(torch.ones(places, places), grid).mean()),
        locality=average(lambda a: float(locality(a, grid).mean())) if placed else None,
        symmetry=average(symmetry) if placed and mixing.kind != "pairs" else None,
        sparsity=average(sparsity),
        rank=average(rank),
        effective_rank=average(effective_rank),
        largest=float(mixing.matrices.abs().max()),
    )


def by_axis(rows: Sequence[MixingNumbers]) -> dict[str, list[MixingNumbers]]:
    """Axis → the layers that mix along it, in order, the height first; layers of a class token are left out."""
    placed = [row for row in rows if row.radius is not None]
    axes = [axis for axis in ("grid", "rows", "columns") if any(row.axis == axis for row in placed)]
    return {axis: [row for row in placed if row.axis == axis] for axis in axes}

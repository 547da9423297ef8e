"""Rows, units and matrices as one picture each, laid out as in the papers' figures. Gaps are not-a-number."""

# axes: l layers, n places, u units, p pairs, t tiles, f channels, y x rows and columns of the grid, h w of the whole picture

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from allmlp.explanation.units import opposing_pairs
from allmlp.operators import Grid, Mixing

Values = NDArray[np.float64]
CENTRAL = 6
"""Tiles a side at most: the rows of the central patches (ResMLP, Figure 2)."""
PAIRS, PAIRS_ACROSS = 48, 6
"""Pairs of units at most, of more as many at even distances; and pairs side by side."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Values to be tinted."""

    title: str
    note: str
    """What the tiles are."""
    values: Values  # h w
    marks: Values  # t 2
    """(row, column) of the place that each tile is about; none where tiles are about no place."""


def panels(mixings: list[Mixing]) -> list[Panel]:
    """One for each layer: units in opposing pairs where a layer is an MLP over the grid, rows on the grid where it is a
    matrix, and the matrices of both axes side by side where it mixes along them. Of several sets the first is shown."""
    by_name: dict[str, list[Mixing]] = {}
    for mixing in mixings:
        by_name.setdefault(mixing.name, []).append(mixing)
    return [_panel(name, layers) for name, layers in by_name.items()]


def _panel(name: str, layers: list[Mixing]) -> Panel:
    first = layers[0]
    none = np.empty((0, 2))
    if first.axis != "grid":
        ordered = sorted(layers, key=lambda mixing: mixing.axis, reverse=True)
        note = ", ".join(f"along the {'height' if mixing.axis == 'rows' else 'width'}" for mixing in ordered)
        return Panel(title=name, note=note, values=side_by_side([m.matrix.numpy() for m in ordered]), marks=none)
    if first.kind == "class":
        return Panel(
            title=name, note="what the class token gathers", values=first.matrix.numpy().reshape(first.grid), marks=none
        )
    if first.units is not None:
        pairs, _ = opposing_pairs(first.units, first.grid)
        shown = pairs[np.linspace(0, len(pairs) - 1, min(len(pairs), PAIRS)).round().astype(np.int64)]
        note = f"{len(shown)} of {len(pairs)} pairs of units, slow ones first"
        return Panel(title=name, note=note, values=in_pairs(first.units.numpy(), shown.numpy(), first.grid), marks=none)
    values, marks = rows_on_grid(first.matrix.numpy(), first.grid)
    sets = f", set 1 of {len(first.matrices)}" if len(first.matrices) > 1 else ""
    tiles = " × ".join(str(min(side, CENTRAL)) for side in first.grid)
    central = "central " if max(first.grid) > CENTRAL else ""
    return Panel(title=name, note=f"what the {central}{tiles} patches gather{sets}", values=values, marks=marks)


def rows_on_grid(matrix: Values, grid: Grid, most: int = CENTRAL) -> tuple[Values, Values]:  # n n → h w, t 2
    """Each row of the matrix as a tile of the grid's shape, where its patch lies; the central `most` rows and columns
    of patches. With the place of each tile's own patch in the picture."""
    rows, columns = grid
    counts = min(rows, most), min(columns, most)
    starts = (rows - counts[0]) // 2, (columns - counts[1]) // 2
    tiles, own = [], []
    for y in range(starts[0], starts[0] + counts[0]):
        for x in range(starts[1], starts[1] + counts[1]):
            tiles.append(matrix[y * columns + x].reshape(grid))
            own.append(((y - starts[0]) * (rows + 1) + y, (x - starts[1]) * (columns + 1) + x))
    return mosaic(tiles, counts[1]), np.array(own, dtype=np.float64)


def in_pairs(units: Values, pairs: NDArray[np.int64], grid: Grid, across: int = PAIRS_ACROSS) -> Values:  # u n, p 2 → h w
    """The two units of a pair side by side, pairs in reading order."""
    return mosaic([side_by_side([units[unit].reshape(grid) for unit in pair]) for pair in pairs], across, gap=2)


def side_by_side(matrices: list[Values]) -> Values:
    """Matrices from left to right, the lower ones filled up below."""
    height = max(len(matrix) for matrix in matrices)
    filled = [np.pad(matrix, ((0, height - len(matrix)), (0, 0)), constant_values=np.nan) for matrix in matrices]
    gap = np.full((height, 1), np.nan)
    return np.hstack([part for matrix in filled for part in (gap, matrix)][1:])


def mosaic(tiles: list[Values], across: int, gap: int = 1) -> Values:
    """Tiles of one shape in reading order, `gap` cells apart."""
    (rows, columns), down = tiles[0].shape, -(-len(tiles) // across)
    whole = np.full((down * (rows + gap) - gap, min(across, len(tiles)) * (columns + gap) - gap), np.nan)
    for number, tile in enumerate(tiles):
        y, x = (rows + gap) * (number // across), (columns + gap) * (number % across)
        whole[y : y + rows, x : x + columns] = tile
    return whole


def path_panels(path: Tensor, grid: Grid, layers: list[int]) -> list[Panel]:  # l n n
    """What patches have gathered after some of the layers along ResMLP's linear path, less the 1 of each patch's own that
    residual connections carry along."""
    found = []
    own = np.eye(path.shape[1])
    for layer in layers:
        values, marks = rows_on_grid(path[layer].numpy() - own, grid)
        found.append(Panel(title=f"after block {layer + 1}", note="gathered beside what was there", values=values, marks=marks))
    return found


def feature_panel(name: str, maps: Tensor) -> Panel:  # f y x
    """Feature maps of one step, side by side."""
    values = mosaic(list(maps.numpy()), across=4)
    return Panel(title=name, note=f"its {len(maps)} liveliest channels", values=values, marks=np.empty((0, 2)))


def common_limit(shown: list[Panel]) -> float:
    """Where the one colour scale of all panels ends: all but the largest half per cent of the values lie below."""
    values = np.concatenate([panel.values[np.isfinite(panel.values)] for panel in shown])
    return float(np.quantile(np.abs(values), 0.995)) or 1.0

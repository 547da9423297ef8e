"""Figures of several models at once: curves overlaid, and estimates with their intervals."""

# axes: m models

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.figures import sheet
from allmlp.reporting.words import columns, shortened, signed

ROLES = ("accent", "contrast", "ink", "muted")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.4, 1.8))
LABEL = 18
"""Longest name on an axis, in columns."""
ROW = 24
"""Height of a model's row in pixels."""


@dataclass(frozen=True)
class Curve:
    """Values of one model; what is not finite is left out."""

    x: Sequence[float]
    y: Sequence[float]


def stroke(number: int) -> tuple[str, tuple[float, ...]]:
    """(colour's role, dashes) of a model, twelve of them different."""
    return ROLES[number % len(ROLES)], DASHES[number // len(ROLES) % len(DASHES)]


@Drawing
def overlaid(palette: Palette, curves: Sequence[Curve | None], *, along: str, share: bool) -> Figure:
    """A line for each model, a dot at its end. None: a model without a curve, whose colour stays its own.

    along: what the horizontal axis is. share: values in [0, 1], written as percentages.
    """
    figure, axes = sheet(top=12)
    for number, curve in enumerate(curves):
        if curve is None or not len(curve.x):
            continue
        role, dashes = stroke(number)
        colour, y = getattr(palette, role), np.array(curve.y, dtype=float)
        y[~np.isfinite(y)] = np.nan
        axes.plot(curve.x, y, color=colour, linewidth=1.6, linestyle=(0, dashes) if dashes else "-")
        axes.plot(curve.x[-1:], y[-1:], "o", color=colour, markersize=4.5, clip_on=False)
    axes.set_xlabel(along)
    axes.xaxis.set_major_locator(MaxNLocator(6, min_n_ticks=1, integer=along == "epoch"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if share:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")
    return figure


@Drawing
def intervals(
    palette: Palette,
    names: Sequence[str],
    values: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    *,
    numbers: Sequence[int],
    zero: bool = False,
) -> Figure:
    """A row for each model: a dot at its share and a line over its interval, the first on top.

    numbers: place of each among all models, which gives its colour. zero: shares are differences, in points, and a dashed
    line is where there is none.
    """
    labels = [shortened(name, LABEL) for name in names]
    left = 14 + 6.4 * max(map(columns, labels))
    height = 46 + ROW * len(names)
    figure, axes = sheet(height=height, left=left, right=14, top=6)
    if zero:
        axes.axvline(0, color=palette.muted, linewidth=1, dashes=(3, 3))
    for row, (value, bound, number) in enumerate(zip(values, bounds, numbers, strict=True)):
        colour = getattr(palette, stroke(number)[0])
        axes.plot(bound, (row, row), color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([value], [row], "o", color=colour, markersize=6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), labels, color=palette.ink)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    wide = np.ptp(axes.get_xlim()) > 0.05
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _place: signed(100 * x, 0 if wide else 1))
        if zero
        else PercentFormatter(1, decimals=0 if wide else 1)
    )
    axes.set_xlabel("points" if zero else "top-1 accuracy")
    return figure

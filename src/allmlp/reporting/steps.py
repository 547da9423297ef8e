"""What happened from step to step, as a band and its middle."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.figures import sheet
from allmlp.reporting.words import compact

BINS = 150
"""Stretches of steps that are told apart."""


@Drawing
def by_step(palette: Palette, steps: Sequence[int], values: Sequence[float | None], *, floor: bool = False) -> Figure:
    """The median over stretches of steps, and around it where nine of ten values lie. What is not finite is left out.

    floor: the vertical axis begins at 0.
    """
    figure, axes = sheet(top=12)
    x, y = np.array(steps, dtype=float), np.array(values, dtype=float)
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    parts = [part for part in np.array_split(np.arange(len(x)), min(BINS, max(len(x), 1))) if len(part)]
    middle = [float(np.median(x[part])) for part in parts]
    low, mid, high = np.array([np.quantile(y[part], (0.05, 0.5, 0.95)) for part in parts]).reshape(-1, 3).T
    axes.fill_between(middle, low, high, color=palette.accent, alpha=0.18, linewidth=0)
    axes.plot(middle, mid, color=palette.accent, linewidth=1.5, marker="o" if len(parts) == 1 else "", markersize=4.5)
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0 if floor else None)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: compact(value)))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")
    return figure

"""Accuracy against the strength of a corruption."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.figures import sheet
from allmlp.reporting.words import wilson_interval


@Drawing
def by_strength(palette: Palette, clean: float, accuracy: Sequence[float], images: int, *, chance: float) -> Figure:
    """Top-1 accuracy without corruption (0) and at strengths from 1 on, with 95 % intervals; dashed, chance."""
    figure, axes = sheet(width=250, height=150, left=44, right=8, top=8, bottom=34)
    values = [clean, *accuracy]
    low, high = np.array([wilson_interval(value, images) for value in values]).T
    axes.axhline(clean, color=palette.muted, linewidth=0.8, dashes=(1, 2))
    axes.axhline(chance, color=palette.muted, linewidth=0.8, dashes=(3, 3))
    axes.fill_between(range(len(values)), low, high, color=palette.accent, alpha=0.16, linewidth=0)
    axes.plot(range(len(values)), values, "o-", color=palette.accent, markersize=4, linewidth=1.6, clip_on=False)
    axes.set(xlim=(0, len(values) - 1), ylim=(0, 1), xlabel="strength", xticks=range(len(values)))
    axes.set_yticks((0, 0.5, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")
    return figure

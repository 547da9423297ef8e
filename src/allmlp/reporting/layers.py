"""Numbers layer by layer, and accuracy against the share of weights kept."""

# axes: l layers

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.figures import sheet
from allmlp.reporting.words import wilson_interval

ALONG = {"grid": "over the grid", "rows": "along the height", "columns": "along the width"}


@Drawing
def by_layer(
    palette: Palette,
    series: Mapping[str, Sequence[float]],
    *,
    unit: str,
    reference: Mapping[str, Sequence[float]] | None = None,
    reference_name: str = "all weights alike",
    share: bool = False,
    title: str = "",
) -> Figure:
    """A line for each axis over the layers that mix along it, numbered from 1; dashed, what it is compared with.

    unit: of the vertical axis. share: values in [0, 1], written as percentages.
    """
    figure, axes = sheet(height=240, top=48 if title else 26)
    for colour, (axis, values) in zip((palette.accent, palette.contrast), series.items(), strict=False):
        layers = np.arange(1, len(values) + 1)
        axes.plot(layers, values, "o-", color=colour, markersize=4.5, label=ALONG[axis], clip_on=False)
        if reference is not None:
            name = reference_name if len(axes.lines) < 2 else None
            axes.plot(layers, reference[axis], color=palette.muted, linewidth=1.1, dashes=(3, 3), label=name)
    axes.set_xlabel("layer")
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if share:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")
    if len(series) > 1 or reference is not None:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1),
            borderaxespad=0.2,
            ncols=3,
            handlelength=1.1,
            columnspacing=0.8,
            fontsize=9,
        )
    if title:
        figure.text(10 / 340, 1 - 14 / 240, title, size=12, weight="bold", color=palette.ink, va="center")
    return figure


@Drawing
def pruning(
    palette: Palette, kept: Sequence[float], top1: Sequence[float], images: int, *, chance: float, title: str = ""
) -> Figure:
    """Top-1 accuracy, with its 95 % interval, against the share of token-mixing weights kept; dashed, chance."""
    figure, axes = sheet(width=420, height=280, top=40 if title else 16, right=20)
    if title:
        figure.text(10 / 420, 1 - 16 / 280, title, size=12, weight="bold", color=palette.ink, va="center")
    order = np.argsort(kept)
    x, y = np.asarray(kept)[order], np.asarray(top1)[order]
    low, high = np.array([wilson_interval(float(value), images) for value in y]).T
    axes.fill_between(x, low, high, color=palette.accent, alpha=0.16, linewidth=0)
    axes.plot(x, y, "o-", color=palette.accent, markersize=4.5, clip_on=False)
    axes.axhline(chance, color=palette.muted, linewidth=1, dashes=(3, 3))
    axes.annotate(
        "chance", (1, chance), (0, 4), xycoords="data", textcoords="offset pixels", ha="right", va="bottom", color=palette.muted
    )
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="token-mixing weights kept", ylabel="top-1 accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")
    return figure

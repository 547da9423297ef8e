"""A map of features: a dot for each image, a colour and a name for each class."""

# axes: n images

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.figures import sheet
from allmlp.reporting.ink import ALONE
from allmlp.reporting.labels import Label, place
from allmlp.reporting.words import percent, shortened

COLOURS = ("#4b7fee", "#dd7420", "#3f9b57", "#c9516f", "#8a63c9", "#a8862b", "#2f9aa8", "#c465b8", "#7a8a3c", "#8b6f5c")
"""Half way between black and white, so that all stand out from light pages and from dark ones."""
NAMED = 20
"""Classes with the most images whose names are written."""
LABEL = 18


@Drawing
def feature_map(
    palette: Palette,
    coordinates: NDArray[np.float64],
    labels: NDArray[np.int64],
    names: Sequence[str],
    *,
    variance: Sequence[float],
    title: str = "",
) -> Figure:
    """coordinates: n × 2. labels: n class numbers. variance: share of each axis, which is written along it.

    A class's name stands beside the median of its dots. Of more than ten classes some share a colour.
    """
    figure, axes = sheet(width=560, height=440 + (26 if title else 0), left=28, right=8, top=36 if title else 8, bottom=30)
    size = float(np.clip(16000 / max(len(labels), 1), 3, 24))
    order = np.random.default_rng(0).permutation(len(labels))  # so that no class lies on top of all others
    x, y = coordinates[order].T
    colours = [COLOURS[label % len(COLOURS)] for label in labels[order]]
    axes.scatter(x, y, s=size, c=colours, alpha=0.6, linewidths=0, rasterized=True)
    counts = np.bincount(labels, minlength=len(names))
    named = []
    for number in [int(i) for i in np.argsort(-counts, kind="stable")[:NAMED] if counts[i]]:
        x, y = np.median(coordinates[labels == number], axis=0)
        named.append(Label(shortened(names[number], LABEL), float(x), float(y), palette.ink))
        axes.plot([x], [y], "o", markersize=8, color=COLOURS[number % len(COLOURS)], markeredgecolor=palette.ink)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # final, as placing names asks
    place(axes, named, [], halo=ALONE["figure.facecolor"] if title else None, size=11)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(f"first direction, {percent(variance[0])} of the variance")
    axes.set_ylabel(f"second direction, {percent(variance[1])}")
    axes.spines[:].set_visible(True)
    if title:
        figure.text(28 / 560, 1 - 18 / 466, title, size=12, weight="bold", color=palette.ink, va="center")
    return figure

"""One function per figure: numbers in, a matplotlib Figure out. Sizes are in pixels of a phone's page."""

# axes: k classes

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from allmlp.reporting.ink import ACCENT, CONTRAST, INK, MUTED, ON_ACCENT, PIXELS, STYLE
from allmlp.reporting.words import columns, shortened, wilson_interval

Numbers = Sequence[float | None]
Arguments = ParamSpec("Arguments")

WIDTH, HEIGHT = 340, 232
"""Of a figure with curves."""
LABEL = 18
"""Longest class name on an axis, in columns."""


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw with the report's settings and leave matplotlib's own alone."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@styled
def loss_curves(epochs: Sequence[int], training: Numbers, validation: Numbers, *, best: int | None) -> Figure:
    """Cross-entropy by epoch: what training minimised, and the same model on validation images."""
    return _curves(epochs, best, ("training", MUTED, training), ("validation", ACCENT, validation))[0]


@styled
def accuracy_curves(epochs: Sequence[int], training: Numbers, validation: Numbers, ema: Numbers, *, best: int | None) -> Figure:
    """Top-1 accuracy by epoch: on training images, on validation images, and there with averaged weights."""
    figure, axes = _curves(
        epochs, best, ("training", MUTED, training), ("validation", ACCENT, validation), ("validation, EMA", CONTRAST, ema)
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


@styled
def neighbour_curve(epochs: Sequence[int], top1: Numbers, *, best: int | None) -> Figure:
    """Top-1 accuracy of nearest neighbours by epoch, where it was measured."""
    measured = [(epoch, value) for epoch, value in zip(epochs, top1, strict=True) if value is not None]
    places = [epoch for epoch, _ in measured] or list(epochs)
    figure, axes = _curves(places, best, ("k-NN", ACCENT, [value for _, value in measured] or list(top1)))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


@styled
def teacher_curves(epochs: Sequence[int], entropy: Numbers, information: Numbers, *, best: int | None) -> Figure:
    """The teacher's answers by epoch: how spread out one is, and how much they say of the images; 0 of this is collapse."""
    figure, axes = _curves(epochs, best, ("entropy", MUTED, entropy), ("information", ACCENT, information), floor=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


@styled
def learning_rate(epochs: Sequence[int], rates: Sequence[float], *, best: int | None) -> Figure:
    """The learning rate at the end of each epoch."""
    figure, axes = _curves(epochs, best, ("learning rate", INK, rates), floor=0)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _place: np.format_float_positional(value, 3, fractional=False, trim="-"))
    )
    return figure


@styled
def image_sizes(epochs: Sequence[int], heights: Numbers, widths: Numbers) -> Figure:
    """Height and width of the model's input in each epoch, in pixels; one line where they are equal."""
    sides = [("side", INK, heights)] if heights == widths else [("height", INK, heights), ("width", ACCENT, widths)]
    figure, axes = _curves(epochs, None, *sides, floor=0)
    for line in axes.lines:
        line.set_drawstyle("steps-mid")
    axes.set_ylabel("pixels")
    return figure


@styled
def confusion_map(
    counts: NDArray[np.int64], names: Sequence[str], *, numbers: bool, links: Collection[tuple[int, int]] = ()
) -> Figure:  # k k
    """Where each class's images went: a row per true class, tinted by the share of the row.

    Right answers have one colour and mistakes another, so that mistakes show while they are few.
    numbers: write the counts into the cells. links: (row, column) of the cells that lead to `#pair-ROW-COLUMN`.
    """
    k = len(names)
    labels = [shortened(name, LABEL) for name in names]
    cell = 28 if numbers else max(10, min(20, 480 // k))
    font = 9.5 if numbers else 8.5
    margin = 22 + max(columns(label) for label in labels) * font * 0.58
    below = margin * (0.85 if numbers else 1)
    figure, axes = sheet(width=margin + k * cell + 4, height=k * cell + below + 4, left=margin, bottom=below, right=4, top=4)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    strength = np.sqrt(shares)
    rows, places = np.nonzero(counts)
    corners = np.array([(0.03, 0.03), (0.97, 0.03), (0.97, 0.97), (0.03, 0.97)])
    squares = np.stack([places, rows], 1)[:, None] + corners
    tints = [to_rgba(ACCENT if i == j else CONTRAST, strength[i, j]) for i, j in zip(rows, places, strict=True)]
    urls = [f"#pair-{i}-{j}" if (i, j) in links else None for i, j in zip(rows.tolist(), places.tolist(), strict=True)]
    axes.add_collection(PolyCollection(list(squares), facecolors=tints, edgecolors="none", urls=urls))
    for i, j, url in zip(rows, places, urls, strict=True) if numbers else ():
        colour = ON_ACCENT if strength[i, j] > 0.72 else INK
        axes.text(j + 0.5, i + 0.54, str(counts[i, j]), color=colour, size=font, ha="center", va="center", url=url)
    axes.set(xlim=(0, k), ylim=(k, 0), xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(True)
    slanted = dict(rotation=45, ha="right", rotation_mode="anchor") if numbers else dict(rotation=90)
    axes.set_xticks(np.arange(k) + 0.5, labels, size=font, color=INK, **slanted)
    axes.set_yticks(np.arange(k) + 0.5, labels, size=font, color=INK)
    axes.tick_params(length=0)
    return figure


@styled
def reliability(
    confidence: Sequence[float], accuracy: Sequence[float], images: Sequence[int], edges: Sequence[tuple[float, float]]
) -> Figure:
    """Accuracy against confidence, a dot per bin with its 95 % interval, and below how many images each bin has.

    On the dashed line a model is right as often as it says; below it, it is too sure of itself.
    """
    figure, axes = sheet(height=330, top=8, right=20, bottom=112)
    low, high = np.array(edges).reshape(-1, 2).T
    interval = np.array([wilson_interval(a, n) for a, n in zip(accuracy, images, strict=True)]).reshape(-1, 2).T
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(3, 3))
    fill, edge = to_rgba(ACCENT, 0.16), to_rgba(ACCENT, 0.5)
    axes.bar(low, accuracy, high - low, align="edge", color=fill, edgecolor=edge, linewidth=0.6)
    axes.vlines(confidence, *interval, color=ACCENT, linewidth=1.2)
    axes.plot(confidence, accuracy, "o", color=ACCENT, markersize=4.5, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    axes.grid(axis="y")
    many = figure.add_axes((axes.get_position().x0, 40 / 330, axes.get_position().width, 52 / 330), sharex=axes)
    many.bar(low, images, high - low, align="edge", color=to_rgba(MUTED, 0.55), edgecolor="none")
    many.set(xlabel="confidence", ylabel="images")
    many.yaxis.set_major_locator(MaxNLocator(2, integer=True, min_n_ticks=1))
    axes.tick_params(labelbottom=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def sheet(
    *, width: float = WIDTH, height: float = HEIGHT, left: float = 50, right: float = 12, top: float = 26, bottom: float = 40
) -> tuple[Figure, Axes]:
    """An empty figure with axes that leave the given margins, all in pixels."""
    figure = Figure(figsize=(width / PIXELS, height / PIXELS), dpi=PIXELS)
    axes = figure.add_axes((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))
    return figure, axes


def _curves(
    epochs: Sequence[int], best: int | None, *series: tuple[str, str, Numbers], floor: float | None = None
) -> tuple[Figure, Axes]:
    """Lines by epoch, each (label, colour, values), with a mark at the best epoch. A series without values is left out.

    floor: where the vertical axis begins; below the values unless given.
    """
    figure, axes = sheet()
    first, last = min(epochs), max(epochs)
    marked = np.array([epoch == best or first == last for epoch in epochs])
    for label, colour, values in series:
        heights = np.array(values, dtype=float)
        heights[~np.isfinite(heights)] = np.nan
        if not np.isnan(heights).all():
            axes.plot(epochs, heights, color=colour, label=label)
            axes.plot(np.array(epochs)[marked], heights[marked], "o", color=colour, markersize=5, clip_on=False)
    axes.set_xlabel("epoch")
    axes.set_xlim(first - 0.5 * (first == last), last + 0.5 * (first == last))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(bottom=floor)
    axes.grid(axis="y")
    if len(series) > 1 and axes.get_legend_handles_labels()[0]:  # none where nothing was finite
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1), borderaxespad=0.2, ncols=3, handlelength=1.1, columnspacing=1.2
        )
    if best is not None:
        _mark(axes, best, late=best > (first + last) / 2)
    return figure, axes


def _mark(axes: Axes, best: int, *, late: bool) -> None:
    """A dotted line at an epoch, named on its emptier side, where no curve runs."""
    left, right = axes.get_xlim()
    reach = (right - left) / 4  # of the name and some air
    height = _emptiest(axes, best - reach if late else best, best if late else best + reach)
    axes.axvline(best, color=MUTED, linewidth=1, dashes=(1, 2))
    axes.annotate(
        f"best: {best}",
        (best, height),
        (-5 if late else 5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset pixels",
        ha="right" if late else "left",
        va="center",
        color=MUTED,
    )


def _emptiest(axes: Axes, low: float, high: float) -> float:
    """The height, as a share of the axes, that is farthest from every curve between two epochs."""
    bottom, top = axes.get_ylim()
    taken = [np.empty(0)]
    for line in axes.lines:
        x, y = np.asarray(line.get_xydata(), dtype=float).T
        known = np.isfinite(y)
        if known.any():
            taken.append((np.interp(np.linspace(low, high, 40), x[known], y[known]) - bottom) / (top - bottom))
    heights = np.linspace(0.06, 0.94, 45)
    gaps = np.abs(heights[:, None] - np.append(np.concatenate(taken), [-1.0, 2.0])).min(1)
    return float(heights[gaps.argmax()])

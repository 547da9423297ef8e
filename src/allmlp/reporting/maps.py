"""Token-mixing maps: weights as tints, all panels on one colour scale."""

# axes: h w of a panel's picture

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from allmlp.explanation.arrange import Panel
from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.ink import PIXELS, inline_svg
from allmlp.reporting.tints import signed

WIDTH, TALLEST = 316, 316
"""Of one panel's picture, in pixels."""
HEAD, SCALE, GAP = 38, 42, 20
FRAMED = 0.8


@Drawing
def mixing_maps(
    palette: Palette, shown: Sequence[Panel], *, limit: float, across: int = 3, scale: bool = True, title: str = ""
) -> Figure:
    """Panels in reading order, each with its name and what its tiles are; below them the scale, from -limit to limit.

    A small ring marks the patch that a tile is about. title: above all, for a file of its own.
    """
    across = min(across, len(shown))
    rows = [shown[start : start + across] for start in range(0, len(shown), across)]
    heights = [max(_height(panel) for panel in row) for row in rows]
    head = 34 if title else 0
    edge = GAP if title else 0
    width = across * WIDTH + (across - 1) * GAP + 2 * edge
    height = head + sum(heights) + len(rows) * HEAD + (len(rows) - 1) * GAP + (SCALE if scale else 0) + 2 * edge
    figure = Figure(figsize=(width / PIXELS, height / PIXELS), dpi=PIXELS)
    if title:
        figure.text(edge / width, 1 - (edge + 12) / height, title, size=14, weight="bold", color=palette.ink, va="center")
    top = float(edge + head)
    for row, tall in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            left = edge + column * (WIDTH + GAP)
            place = (left / width, 1 - (top + HEAD + _height(panel)) / height, WIDTH / width, _height(panel) / height)
            figure.text(left / width, 1 - (top + 8) / height, panel.title, size=11, weight="bold", va="center")
            figure.text(left / width, 1 - (top + 24) / height, panel.note, size=9.5, color=palette.muted, va="center")
            _tint(figure.add_axes(place), panel, limit, palette)
        top += HEAD + tall + GAP
    if scale:
        _scale(figure, palette, limit, left=edge, top=top - GAP + 16)
    return figure


def inline_panels(shown: Sequence[Panel], name: str, limit: float) -> list[Markup]:
    """Each panel as a figure of its own for a page, which can stack them where it is narrow."""
    return [
        inline_svg(mixing_maps([panel], limit=limit, scale=False), f"{name}-{i}", f"{panel.title}: {panel.note}.")
        for i, panel in enumerate(shown)
    ]


def _height(panel: Panel) -> float:
    """In pixels, so that cells are squares."""
    rows, columns = panel.values.shape
    return min(WIDTH * rows / columns, TALLEST)


def _tint(axes: Axes, panel: Panel, limit: float, palette: Palette) -> None:
    axes.imshow(signed(panel.values, limit), interpolation="none")
    axes.set_anchor("NW")
    axes.set_axis_off()
    for y, x, rows, columns in _tiles(panel):
        frame = [
            (x - 0.5, y - 0.5),
            (x + columns - 0.5, y - 0.5),
            (x + columns - 0.5, y + rows - 0.5),
            (x - 0.5, y + rows - 0.5),
        ]
        axes.plot(*zip(*frame, frame[0], strict=True), color=palette.rule, linewidth=FRAMED, clip_on=False)
    if len(panel.marks):
        size = min(0.45 * WIDTH / max(panel.values.shape), 5)
        axes.plot(
            panel.marks[:, 1], panel.marks[:, 0], "o", markersize=size, markerfacecolor="none", markeredgecolor=palette.ink,
            markeredgewidth=0.7,
        )  # fmt: skip


def _tiles(panel: Panel) -> list[tuple[int, int, int, int]]:
    """(row, column, rows, columns) of each block of values between the gaps."""
    known: NDArray[np.bool_] = np.isfinite(panel.values)
    found = []
    for y, rows in _spans(np.asarray(known.any(axis=1))):
        for x, columns in _spans(np.asarray(known[y : y + rows].any(axis=0))):
            inside = known[y : y + rows, x : x + columns].any(axis=1)
            found.append((y, x, int(inside.sum()), columns))
    return found


def _spans(taken: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, length) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], taken, [False]]).astype(int)))
    return [(int(start), int(end - start)) for start, end in edges.reshape(-1, 2)]


@Drawing
def colour_scale(palette: Palette, *, limit: float) -> Figure:
    """The scale by itself, for a page with many panels."""
    figure = Figure(figsize=(WIDTH / PIXELS, 30 / PIXELS), dpi=PIXELS)
    _scale(figure, palette, limit, left=1, top=2)
    return figure


def _scale(figure: Figure, palette: Palette, limit: float, *, left: float, top: float) -> None:
    """A bar from orange through nothing to blue, with its ends in numbers."""
    width, height = (inches * PIXELS for inches in figure.get_size_inches())
    axes = figure.add_axes((left / width, 1 - (top + 9) / height, 220 / width, 9 / height))
    axes.imshow(signed(np.linspace(-limit, limit, 221)[None], limit), aspect="auto", extent=(-limit, limit, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([])
    for at, text, side in ((-limit, f"−{limit:.2g}", "left"), (0, "0", "center"), (limit, f"{limit:.2g}", "right")):
        axes.annotate(text, (at, 0), (0, -4), textcoords="offset pixels", ha=side, va="top", size=9.5, color=palette.muted)
    axes.spines[:].set_visible(True)
    axes.text(limit * 1.14, 0.5, "weight", size=9.5, color=palette.muted, va="center")

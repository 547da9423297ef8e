"""Direct labels: names beside their dots, none on top of another where there is room."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

DOT = 6
"""Half the room of a dot, in pixels; a figure has 72 to the inch, as it has points."""
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""The best first: a name to the right of its dot reads on from it."""
RADII = (8, 15, 26, 40, 56)
"""Pixels from a dot's centre to its name; beyond the second a thin line leads there."""
ON_NAME, ON_DOT, OUTSIDE, ON_LINE, PER_PIXEL = 12.0, 10.0, 20.0, 0.6, 0.05
"""What a place costs: per thing it covers, and for its distance."""


@dataclass(frozen=True)
class Label:
    """A name for the dot at (x, y), in the axes' units."""

    text: str
    x: float
    y: float
    colour: str


def place(
    axes: Axes, labels: Sequence[Label], lines: Sequence[NDArray[np.float64]], *, halo: str | None, size: float
) -> list[Bbox]:
    """Write each name where it covers least, near its dot; those with the most neighbours choose first.

    lines: points along what a name should rather not cover, n × 2 in the axes' units. halo: the background's colour,
    drawn around the letters; None where a page's stylesheet does that. The axes' limits and the figure's size must be final.
    Returns the boxes, in pixels.
    """
    renderer = FigureCanvasAgg(axes.figure).get_renderer()  # type: ignore[arg-type]
    dots = axes.transData.transform(np.array([(label.x, label.y) for label in labels], dtype=float))
    strokes = axes.transData.transform(np.concatenate([np.empty((0, 2)), *lines]))
    frame = axes.get_window_extent(renderer)
    neighbours = [sum(math.dist(a, b) < 90 for b in dots) for a in dots]
    boxes: dict[int, Bbox] = {}
    for i in sorted(range(len(labels)), key=lambda i: -neighbours[i]):
        note = axes.text(0, 0, labels[i].text, size=size)
        extent = note.get_window_extent(renderer)
        note.remove()
        places = _places(dots[i], extent.width, extent.height)
        far, boxes[i] = min(places, key=lambda it: PER_PIXEL * it[0] + _covered(it[1], boxes.values(), dots, strokes, frame))
        _write(axes, labels[i], boxes[i], dots[i], size=size, halo=halo, lead=far > RADII[1])
    return [boxes[i] for i in range(len(labels))]


def _places(dot: NDArray[np.float64], width: float, height: float) -> list[tuple[int, Bbox]]:
    """Distance and box of every place around a dot, the best first."""
    found = []
    for radius in RADII:
        for x, y in DIRECTIONS:
            reach = radius / math.hypot(x, y)
            left, below = dot[0] + reach * x - width * (1 - x) / 2, dot[1] + reach * y - height * (1 - y) / 2
            found.append((radius, Bbox.from_bounds(left, below, width, height)))
    return found


def _covered(box: Bbox, names: Iterable[Bbox], dots: NDArray[np.float64], strokes: NDArray[np.float64], frame: Bbox) -> float:
    """What a name in this box would hide, as a cost."""
    outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
    return (
        ON_NAME * sum(box.overlaps(other) for other in names)
        + ON_DOT * _inside(dots, box.padded(DOT - 2))
        + ON_LINE * _inside(strokes, box)
        + OUTSIDE * outside
    )


def _inside(points: NDArray[np.float64], box: Bbox) -> int:
    return int(((points >= box.min) & (points <= box.max)).all(1).sum())


def _write(axes: Axes, label: Label, box: Bbox, dot: NDArray[np.float64], *, size: float, halo: str | None, lead: bool) -> None:
    line = dict(arrowstyle="-", color=label.colour, linewidth=0.6, alpha=0.6, shrinkA=1, shrinkB=DOT - 1)
    note = axes.annotate(
        label.text,
        (label.x, label.y),
        tuple(box.min - dot),
        textcoords="offset points",
        size=size,
        color=label.colour,
        ha="left",
        va="bottom",
        arrowprops=line if lead else None,
    )
    if halo is not None:
        note.set_path_effects([withStroke(linewidth=2.5, foreground=halo)])

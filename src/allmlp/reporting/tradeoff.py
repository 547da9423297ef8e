"""Accuracy against cost: what `allmlp profile` measured, with what the papers report, in one figure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from allmlp.errors import AllmlpError, one_of
from allmlp.profiling.rows import Profile, Row
from allmlp.reporting.figures import sheet
from allmlp.reporting.ink import ALONE, LIGHT, check_figure_file, write_figure
from allmlp.reporting.labels import Label, place

SIZES = {20: (780, 512), 10**9: (1080, 720)}
"""Most dots → width and height in pixels."""
FAMILIES = (
    LIGHT["accent"],
    "#b04e08",
    "#1a7f4b",
    "#8a3fb0",
    "#c0285a",
    "#0b7285",
    "#7a6200",
    "#8a4b2d",
    "#4a5a78",
    "#b0389c",
)
"""One colour a family, dark enough for small letters on the page's background; a plot of more families begins anew."""
HOLLOW = "timm"
"""The kind of row whose dots are hollow."""


@dataclass(frozen=True)
class Cost:
    """A quantity for the horizontal axis."""

    title: str
    axis: str
    of: Callable[[Row], float | None]


COSTS = {
    "images": Cost("images per second", "images per second at batch {batch}  (faster →)", lambda row: row.images_per_s),
    "latency": Cost("latency", "milliseconds for one image  (← faster)", lambda row: row.ms),
    "macs": Cost("multiply-adds", "GMACs of one image  (← cheaper)", lambda row: _over(row.macs, 1e9)),
    "parameters": Cost("parameters", "parameters, millions  (← smaller)", lambda row: _over(row.parameters, 1e6)),
    "memory": Cost("peak memory", "peak memory at batch {batch}, MiB  (← less)", lambda row: _over(row.peak_bytes, 2**20)),
}
"""Word → what is drawn."""


@dataclass(frozen=True)
class Point:
    """One model in the figure. hollow: it is no all-MLP."""

    label: str
    family: str
    cost: float
    top1: float
    hollow: bool = False


def check_plot(path: Path, cost: str) -> None:
    """Raises AllmlpError, before anything is measured, for a file or a cost that cannot be drawn."""
    if cost not in COSTS:
        raise AllmlpError(f"there is no cost {cost!r}", hint=one_of(COSTS, cost))
    check_figure_file(path)


def write_tradeoff(profile: Profile, path: Path, *, cost: str = "images") -> int:
    """Draw every row that has a published top-1 and was measured, and return how many those are.

    path: a .png or .svg file. cost: a word of `COSTS`.
    Raises AllmlpError when there is nothing to draw or the file cannot be written.
    """
    check_plot(path, cost)
    found = points(profile.rows, cost)
    if not found:
        raise AllmlpError("there is nothing to plot", hint="name models whose published top-1 allmlp knows (--published)")
    about = profile.environment
    measured = cost in ("images", "latency", "memory")
    where = f"on a CPU (threads: {about['threads']})" if about["device"] == "cpu" else f"on {about['device']}"
    note = f"measured {where}, {about['precision']}" if measured else "counted"
    figure = accuracy_against_cost(
        found,
        title=f"Accuracy against {COSTS[cost].title}",
        note=f"Top-1 on ImageNet-1k as published; {COSTS[cost].title} {note}.",
        axis=COSTS[cost].axis.format(batch=about["batch"]),
    )
    try:
        write_figure(figure, path)
    except OSError as error:
        raise AllmlpError(f"{path} cannot be written: {error.strerror}", hint="choose another file") from None
    return len(found)


def points(rows: Sequence[Row], cost: str) -> list[Point]:
    """The rows that can be drawn."""
    pairs = [(row, row.published, COSTS[cost].of(row)) for row in rows]
    return [
        Point(said.label, said.family, value, said.top1, hollow=row.kind == HOLLOW)
        for row, said, value in pairs
        if said is not None and said.top1 is not None and value is not None
    ]


def accuracy_against_cost(found: Sequence[Point], *, title: str, note: str, axis: str) -> Figure:
    """A dot for each model, a line through each family, names beside the dots; the cost is logarithmic."""
    width, height = next(size for most, size in SIZES.items() if len(found) <= most)
    with matplotlib.rc_context(ALONE):
        figure, axes = sheet(width=width, height=height, left=56, right=24, top=90, bottom=52)
        _frame(axes, found, axis)
        figure.text(56 / width, 1 - 30 / height, title, size=14.5, weight="bold", color=LIGHT["ink"])
        kinds = {point.hollow for point in found}
        key = "Filled dots are all-MLP networks, hollow ones are not." if len(kinds) == 2 else ""
        for line, text in enumerate((note, key)):
            figure.text(56 / width, 1 - (51 + 16 * line) / height, text, size=10, color=LIGHT["muted"])
        families = list(dict.fromkeys(point.family for point in found))
        lines, labels = [], []
        for i, family in enumerate(families):
            members = sorted((p for p in found if p.family == family), key=lambda p: (p.cost, p.top1))
            colour = FAMILIES[i % len(FAMILIES)]
            lines.append(_draw(axes, members, colour))
            labels += _labels(members, colour, short=len(found) > min(SIZES))
        place(axes, labels, lines, halo=LIGHT["page"], size=9.5)
    return figure


def _frame(axes: Axes, found: Sequence[Point], axis: str) -> None:
    """Limits with room for names, and a few round ticks."""
    low, high = min(p.cost for p in found), max(p.cost for p in found)
    room = max(math.log(high / low) * 0.09, 0.15)
    worst, best = min(p.top1 for p in found), max(p.top1 for p in found)
    above = max((best - worst) * 0.09, 0.4)
    axes.set_xscale("log")
    axes.set(xlim=(low * math.exp(-room), high * math.exp(1.3 * room)), ylim=(worst - above, best + above), xlabel=axis)
    axes.xaxis.set_major_locator(FixedLocator(round_ticks(*axes.get_xlim())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,g}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g} %"))
    axes.xaxis.labelpad = 8
    axes.grid(axis="both")


def round_ticks(low: float, high: float) -> list[float]:
    """Between three and about ten round numbers from low to high, both positive, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 4:
            break
    return ticks


def _draw(axes: Axes, members: Sequence[Point], colour: str) -> NDArray[np.float64]:
    """A family's line and dots; returns points along the line."""
    x, y = np.array([p.cost for p in members]), np.array([p.top1 for p in members])
    axes.plot(x, y, color=colour, linewidth=1.4, alpha=0.35, zorder=2)
    face = [LIGHT["page"] if p.hollow else colour for p in members]
    axes.scatter(x, y, s=38, facecolors=face, edgecolors=colour, linewidths=1.6, zorder=3)
    steps = np.linspace(0, len(members) - 1, 24 * (len(members) - 1))
    along = np.arange(len(members))
    return np.stack([np.exp(np.interp(steps, along, np.log(x))), np.interp(steps, along, y)], 1)


def _labels(members: Sequence[Point], colour: str, *, short: bool) -> list[Label]:
    """short: only the family's best has its whole name; the others leave out the family's."""
    best = max(members, key=lambda p: p.top1)
    return [
        Label(
            p.label.removeprefix(p.family).strip("-") or p.label if short and p is not best else p.label, p.cost, p.top1, colour
        )
        for p in members
    ]


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit

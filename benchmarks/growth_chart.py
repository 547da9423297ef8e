"""The figure of `benchmarks/growth.py`."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from spread import median_and_spread

COLOURS = ("#767676", "#0072b2", "#d55e00")
LABELS = {"batch": "images at once", "side": "side of the picture, pixels", "depth": "blocks", "threads": "threads"}


def chart(points: Sequence[dict[str, Any]], contenders: Sequence[str], path: Path) -> None:
    """A row a model; time over each axis, then memory over the batch."""
    models = list(dict.fromkeys(point["model"] for point in points))
    axes = list(dict.fromkeys(point["axis"] for point in points))
    wide = len(axes) + any(point["memory"] for point in points)
    figure, panels = plt.subplots(len(models), wide, figsize=(3.1 * wide, 2.5 * len(models)), squeeze=False)
    for row, model in zip(panels, models, strict=True):
        for panel, axis in zip(row, axes, strict=False):
            chosen = [point for point in points if (point["model"], point["axis"]) == (model, axis)]
            for key, colour in zip(contenders, COLOURS, strict=False):
                times = [median_and_spread(point["seconds"][key])[0] * 1e3 for point in chosen]
                _line(panel, [point["value"] for point in chosen], times, key, colour)
            _label(panel, axis, [point["value"] for point in chosen], "ms an image")
        row[0].set_title(model, loc="left", fontweight="bold")
        held = [point for point in points if point["model"] == model and point["memory"]]
        if wide > len(axes):
            for key, colour in zip(contenders, COLOURS, strict=False):
                sizes = [point["memory"][key] / 2**20 for point in held]
                _line(row[-1], [point["value"] for point in held], sizes, key, colour)
            _label(row[-1], "batch", [point["value"] for point in held], "MiB held at most")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.25 / figure.get_figheight()))
    figure.legend(handles, names, loc="upper right", ncols=len(names), fontsize="small", frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _line(panel: Axes, values: Sequence[int], heights: Sequence[float], key: str, colour: str) -> None:
    panel.plot(values, heights, marker="o", markersize=4, color=colour, label=key)


def _label(panel: Axes, axis: str, values: Sequence[int], what: str) -> None:
    if axis == "batch":
        panel.set_xscale("log", base=2)
    near = (values[-1] - values[0]) / 6  # two numbers nearer than that would touch
    crowded = [axis != "batch" and 0 < value - before < near for before, value in pairwise((values[0], *values))]
    panel.set_xticks(values, ["" if hidden else str(value) for value, hidden in zip(values, crowded, strict=True)])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)
    panel.set_xlabel(LABELS[axis])
    panel.set_ylabel(what)
    panel.spines[["top", "right"]].set_visible(False)

"""Accuracy by how much of a model is left, and where a short fine-tune brought it back to."""

from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from allmlp.reporting.figures import sheet
from allmlp.reporting.ink import ALONE, LIGHT

WIDTH, HEIGHT = 620, 400
LEFT = {
    "token_sparsity": "token-mixing weights that are left",
    "token_rank": "of each matrix's full rank that is left, on average",
    "token_energy": "of each matrix's full rank that is left, on average",
    "channel_sparsity": "hidden units of the channel MLPs that are left",
}
"""Way to shrink → what the horizontal axis counts."""


def shrink_curve(report: dict[str, Any]) -> Figure:
    """report: what `allmlp.shrink` returns."""
    way = next(name for name in LEFT if report["asked"][name] is not None)
    original, result, left = report["original"], report["shrunk"], report["left"]
    curve = report["curve"]
    with matplotlib.rc_context(ALONE):
        figure, axes = sheet(width=WIDTH, height=HEIGHT, left=56, right=24, top=70, bottom=50)
        figure.text(
            56 / WIDTH, 1 - 30 / HEIGHT, f"{report['model']}: {report['way']}", size=14, weight="bold", color=LIGHT["ink"]
        )
        figure.text(56 / WIDTH, 1 - 51 / HEIGHT, _note(report), size=10, color=LIGHT["muted"])
        axes.axhline(original["top1"], color=LIGHT["muted"], linewidth=1.2, dashes=(3, 2), label="original")
        axes.plot(
            [row["left"] for row in curve],
            [row["top1"] for row in curve],
            "o-",
            color=LIGHT["muted"],
            markersize=3.5,
            label=f"not trained further ({curve[0]['images']:,} of the images)",
        )
        axes.plot([left], [result["before_tuning"]["top1"]], "o", color=LIGHT["contrast"], label="shrunk", clip_on=False)
        if report["epochs"]:
            what = f"and trained {report['epochs']} more epoch{'s' * (report['epochs'] > 1)}"
            axes.plot([left], [result["top1"]], "o", color=LIGHT["accent"], markersize=8, label=what, clip_on=False)
        axes.set(xlim=(1.02, -0.02), xlabel=LEFT[way], ylabel="top-1")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="y")
        axes.legend(loc="lower left", labelcolor=LIGHT["ink"])
    return figure


def _note(report: dict[str, Any]) -> str:
    before, after = report["original"]["top1"], report["shrunk"]["top1"]
    return f"{report['data']}: {before:.2%} before, {after:.2%} after."

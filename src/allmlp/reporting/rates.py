"""The curve of a learning-rate range test: loss against rate."""

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from allmlp.reporting.figures import sheet
from allmlp.reporting.ink import ALONE, LIGHT
from allmlp.training.finding.rates import RateTest

WIDTH, HEIGHT = 620, 400
ABOVE = 1.12
"""How far above the first losses the axis goes: what lies beyond says only that the loss has left."""
MOST_TICKS = 12


def rate_curve(found: RateTest, *, title: str) -> Figure:
    """Each step's loss, the smoothed curve, and the rate that is suggested."""
    low, high = min(found.losses), max(found.smoothed)
    top = low + ABOVE * (high - low)
    with matplotlib.rc_context(ALONE):
        figure, axes = sheet(width=WIDTH, height=HEIGHT, left=56, right=24, top=70, bottom=50)
        figure.text(56 / WIDTH, 1 - 30 / HEIGHT, title, size=14, weight="bold", color=LIGHT["ink"])
        figure.text(56 / WIDTH, 1 - 51 / HEIGHT, _note(found), size=10, color=LIGHT["muted"])
        axes.set_xscale("log")
        axes.scatter(found.rates, found.losses, s=9, color=LIGHT["muted"], alpha=0.5, linewidths=0)
        axes.plot(found.rates, found.smoothed, color=LIGHT["accent"])
        axes.axvline(found.suggested, color=LIGHT["contrast"], linewidth=1.2, dashes=(3, 2))
        axes.annotate(
            f"{found.suggested:.2g}",
            (found.suggested, 1),
            (-5, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset pixels",
            ha="right",
            va="top",
            color=LIGHT["contrast"],
        )
        axes.set(xlim=(found.rates[0], found.rates[-1]), ylim=(low - 0.06 * (high - low), top))
        axes.set(xlabel="learning rate (optim.lr)", ylabel="training loss")
        axes.xaxis.set_major_locator(LogLocator(numticks=MOST_TICKS))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="y")
    return figure


def _note(found: RateTest) -> str:
    rule = "where the loss falls fastest" if found.rule == "steepest" else "a tenth of where the loss is least"
    return f"Suggested: {found.suggested:.2g}, {rule}. Dots are single steps of {found.batch} images."

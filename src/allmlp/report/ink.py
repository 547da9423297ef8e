"""Colours by role, and figures as SVG that takes its colours and its font from the page around it."""

import re
import warnings
from io import StringIO
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK, MUTED, RULE = "#0000a1", "#0000a2", "#0000a3"
ACCENT, CONTRAST, ON_ACCENT = "#0000a4", "#0000a5", "#0000a6"
ROLES = {INK: "ink", MUTED: "muted", RULE: "rule", ACCENT: "accent", CONTRAST: "contrast", ON_ACCENT: "on-accent"}
"""Placeholder → the page's CSS variable, which has a light and a dark value."""

PIXELS = 72
"""Pixels in an inch of a figure; an SVG has as many units."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "allmlp",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.dpi": PIXELS,
}
"""matplotlib's settings while a figure is built and written."""

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """An <svg> element for the middle of a page: the same bytes each time, no ids but those that begin with `name`.

    description: what a screen reader says in its place.
    """
    file = StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's font has it
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    width, height = (round(inches * PIXELS) for inches in figure.get_size_inches())
    content = re.sub(r"^.*?<svg[^>]*>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)
    content = re.sub(r'<g id="[^"]*"', "<g", content)
    content = re.sub(r' id="', f' id="{name}-', content)
    content = re.sub(r'xlink:href="#|url\(#', lambda found: found[0].removeprefix("xlink:") + f"{name}-", content)
    content = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", content)
    content = re.sub("|".join(ROLES), lambda found: f"var(--{ROLES[found[0]]})", content)
    opening = f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(description)}">'
    # matplotlib has escaped the texts
    return Markup(opening + re.sub(r">\s+<", "><", content).strip())

"""Colours by role, figures as SVG that takes its colours and its font from the page around it, and figures as files."""

import re
import warnings
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from allmlp.errors import AllmlpError
from allmlp.files import whole_file, writing

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

STYLESHEET = files("allmlp.reporting").joinpath("page.css").read_text(encoding="utf-8")
LIGHT = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", STYLESHEET.partition("@media")[0]))
"""Role → the page's colour on a light background, for figures that stand alone."""
ALONE: Any = {key: LIGHT[ROLES[value]] if isinstance(value, str) and value in ROLES else value for key, value in STYLE.items()}
"""matplotlib's settings for a figure that stands alone: light, and in SVG with letters as shapes, for any machine's fonts."""
ALONE |= {"svg.fonttype": "path", "figure.facecolor": LIGHT["page"]}

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """An <svg> element for the middle of a page: the same bytes each time, no ids but those that begin with `name`.

    description: what a screen reader says in its place.
    """
    file = StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's font has it
        figure.savefig(file, format="svg", transparent=True, dpi=2 * PIXELS, metadata=_NO_METADATA)
    content = re.sub(r"^.*?<svg[^>]*>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)
    content = re.sub(r"<[^>]+>", lambda tag: _rewritten(tag[0], name), content)
    width, height = (round(inches * PIXELS) for inches in figure.get_size_inches())
    size = f'viewBox="0 0 {width} {height}" width="{width}" style="min-width:{0.8 * width:.0f}px"'
    opening = f'<svg {size} role="img" aria-label="{escape(description)}">'
    return Markup(opening + re.sub(r">\s+<", "><", content).strip())  # matplotlib has escaped the texts


def check_figure_file(path: Path) -> None:
    """Raises AllmlpError, before anything is measured, for a file that no figure can be written to."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise AllmlpError(f"{path} is neither a .png nor an .svg file", hint=f"use {path.with_suffix('.png')}, say")
    if not path.parent.is_dir():
        raise AllmlpError(f"there is no folder {path.parent}", hint="make it, or choose another")


def write_figure(figure: Figure, path: Path) -> None:
    """A .png, at two dots per pixel, or an .svg; whole or not at all. The figure was drawn with `ALONE`."""
    svg = path.suffix.lower() == ".svg"
    with matplotlib.rc_context(ALONE), writing(path), whole_file(path) as temporary:
        figure.savefig(temporary, format="svg" if svg else "png", dpi=2 * PIXELS, metadata=_NO_METADATA if svg else None)


def _rewritten(tag: str, name: str) -> str:
    """A tag of matplotlib's with ids of the figure's own, the page's font and the page's colours; links lead into the page."""
    if tag.startswith("<a "):
        return re.sub(r"<a xlink:(href=\"[^\"]*\").*", r"<a \1>", tag)
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    tag = re.sub(r' id="', f' id="{name}-', tag)
    tag = re.sub(r'xlink:href="#', f'href="#{name}-', tag)
    tag = re.sub(r"url\(#", f"url(#{name}-", tag)
    tag = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", tag)  # matplotlib before 3.11
    tag = re.sub(r"font-family:[^;\"]*;? ?", "", tag)
    return re.sub("|".join(ROLES), lambda found: f"var(--{ROLES[found[0]]})", tag)

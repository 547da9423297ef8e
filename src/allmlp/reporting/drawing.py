"""A figure that is drawn for the middle of a page, or alone for a file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Concatenate, Generic, ParamSpec

import matplotlib
from matplotlib.figure import Figure

from allmlp.reporting.ink import ACCENT, ALONE, CONTRAST, INK, LIGHT, MUTED, ROLES, RULE, STYLE

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Palette:
    """The colours of a figure, by role."""

    ink: str
    muted: str
    rule: str
    accent: str
    contrast: str


ON_PAGE = Palette(INK, MUTED, RULE, ACCENT, CONTRAST)
"""Placeholders, for `inline_svg`."""
BY_ITSELF = Palette(*(LIGHT[ROLES[role]] for role in (INK, MUTED, RULE, ACCENT, CONTRAST)))


class Drawing(Generic[Arguments]):
    """Decorates a function of a palette and numbers; leaves matplotlib's own settings alone."""

    def __init__(self, draw: Callable[Concatenate[Palette, Arguments], Figure]) -> None:
        self._draw = draw
        update_wrapper(self, draw)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        """The figure for `inline_svg`."""
        with matplotlib.rc_context(STYLE):
            return self._draw(ON_PAGE, *args, **kwargs)

    def alone(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        """The figure for `write_figure`."""
        with matplotlib.rc_context(ALONE):
            return self._draw(BY_ITSELF, *args, **kwargs)

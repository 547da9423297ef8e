"""Evidence laid on the picture, and other maps that lie on its pixels."""

# axes: h w pixels, y x rows and columns of a grid, f channels

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.ink import PIXELS
from allmlp.reporting.tints import largest, signed

Values = NDArray[np.float64]
SIDE, HEAD, GAP = 150, 36, 14
"""Longest side of a picture, room for its words, and between pictures, in pixels."""
OPAQUE = 0.8
"""Of the strongest tint on a picture, so that the picture shows through."""
FADED = 0.35
"""How much of the picture's contrast is left under the tints."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A picture, and what is laid on it; without values the picture as it is."""

    title: str
    note: str
    pixels: NDArray[np.uint8] | None  # h w 3
    values: Values | None = None  # y x


@Drawing
def overlays(palette: Palette, shown: Sequence[Overlay], *, across: int = 4, title: str = "") -> Figure:
    """Pictures in reading order, each under its title and note; blue speaks for, orange against."""
    across, head, edge = min(across, len(shown)), 34 if title else 0, GAP if title else 0
    first = shown[0].pixels if shown[0].pixels is not None else shown[0].values
    assert first is not None
    scale = SIDE / max(first.shape[:2])
    high, wide = first.shape[0] * scale, first.shape[1] * scale
    rows = -(-len(shown) // across)
    width = across * wide + (across - 1) * GAP + 2 * edge
    height = head + rows * (HEAD + high) + (rows - 1) * GAP + 2 * edge
    figure = Figure(figsize=(width / PIXELS, height / PIXELS), dpi=PIXELS)
    if title:
        figure.text(edge / width, 1 - (edge + 10) / height, title, size=12, weight="bold", va="center")
    for number, overlay in enumerate(shown):
        left = edge + number % across * (wide + GAP)
        top = edge + head + number // across * (HEAD + high + GAP)
        figure.text(left / width, 1 - (top + 8) / height, overlay.title, size=9.5, weight="bold", va="center")
        figure.text(left / width, 1 - (top + 22) / height, overlay.note, size=8.5, color=palette.muted, va="center")
        axes = figure.add_axes((left / width, 1 - (top + HEAD + high) / height, wide / width, high / height))
        extent = (0.0, 1.0, 0.0, 1.0)
        if overlay.pixels is not None:
            pixels = overlay.pixels if overlay.values is None else faded(overlay.pixels)
            axes.imshow(pixels, extent=extent, aspect="auto", interpolation="none")
        if overlay.values is not None:
            limit = largest(overlay.values) / (1 if overlay.pixels is None else OPAQUE)
            axes.imshow(signed(overlay.values, limit), extent=extent, aspect="auto", interpolation="none")
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
    return figure


def faded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:  # h w 3 → h w 3
    """Grey, and so light that tints show."""
    grey = pixels.astype(np.float64) @ (0.299, 0.587, 0.114)
    return np.repeat((255 - FADED * (255 - grey))[..., None], 3, 2).round().astype(np.uint8)

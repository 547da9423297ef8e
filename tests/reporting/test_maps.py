"""Tints, maps, overlays and lines, read back from the drawing."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from allmlp.explanation.arrange import Panel
from allmlp.reporting.ink import ROLES, inline_svg
from allmlp.reporting.layers import by_layer, pruning
from allmlp.reporting.maps import colour_scale, mixing_maps
from allmlp.reporting.overlays import Overlay, faded, overlays
from allmlp.reporting.tints import NEGATIVE, POSITIVE, largest, signed


def panel(values: list[list[float]], marks: list[list[float]] | None = None) -> Panel:
    return Panel(title="blocks.0", note="rows", values=np.array(values), marks=np.array(marks or []).reshape(-1, 2))


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def test_a_tint_shows_sign_by_its_colour_and_size_by_its_strength() -> None:
    tints = signed(np.array([[2.0, -1.0, 0.0, np.nan, -9.0]]), 2)[0]
    assert tuple(tints[0]) == (*POSITIVE, 255)
    assert tuple(tints[1]) == (*NEGATIVE, 128)
    assert tuple(tints[4]) == (*NEGATIVE, 255)
    assert tints[2, 3] == tints[3, 3] == 0
    assert largest(np.array([1.0, -3.0]), np.array([np.nan, 2.0])) == 3
    assert largest(np.zeros(2)) == 1


def test_all_panels_share_one_scale_and_marks_lie_on_their_cells() -> None:
    shown = [panel([[1.0, np.nan, 0.5]], [[0, 2]]), panel([[-2.0]])]
    figure = mixing_maps(shown, limit=2.0)
    first, second, _scale = pictures(figure)
    assert first[0, :, 3].tolist() == [128, 0, 64]
    assert second[0, 0].tolist() == [*NEGATIVE, 255]
    *frames, mark = figure.axes[0].lines
    assert len(frames) == 2  # a frame around each tile
    assert np.asarray(mark.get_xydata()).tolist() == [[2, 0]]
    said = re.findall(r"<text[^>]*>([^<]*)</text>", inline_svg(figure, "f", ""))
    assert {"blocks.0", "rows", "−2", "0", "2", "weight"} <= set(said)


FIGURES = {
    "maps": lambda: mixing_maps([panel([[1.0, 2.0]])], limit=2.0),
    "scale": lambda: colour_scale(limit=0.5),
    "overlays": lambda: overlays([Overlay(title="a", note="b", pixels=np.zeros((4, 6, 3), np.uint8), values=np.eye(2))]),
    "lines": lambda: by_layer({"rows": [1.0, 2.0], "columns": [1.0, 3.0]}, unit="patches"),
    "pruning": lambda: pruning([1.0, 0.5], [0.9, 0.8], 100, chance=0.1),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_an_explanation_takes_its_colours_from_the_page(name: str) -> None:
    svg = inline_svg(FIGURES[name](), "f", "what it shows")
    outside = re.sub(r'xlink:href="data:[^"]*"', "", svg)
    assert not re.findall(r"#[0-9a-f]{6}|font-family|DejaVu", outside)
    assert set(re.findall(r"var\(--([a-z-]+)\)", svg)) <= set(ROLES.values())
    assert inline_svg(FIGURES[name](), "f", "what it shows") == svg


def test_an_overlay_keeps_the_picture_and_what_lies_on_it_apart() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    plain, laid = Overlay(title="", note="", pixels=pixels), Overlay(title="", note="", pixels=pixels, values=np.eye(2))
    first, below, above = pictures(overlays([plain, laid]))
    assert np.array_equal(first, pixels)
    assert np.array_equal(below, faded(pixels))
    assert above[..., 3].tolist() == [[204, 0], [0, 204]]
    assert faded(pixels)[0, 0].tolist() == [166, 166, 166]  # 255 - 0.35 · 255


def test_lines_are_the_numbers_by_layer_and_dashes_what_they_are_compared_with() -> None:
    lines = by_layer({"grid": [3.0, 4.0]}, unit="patches", reference={"grid": [5.0, 5.0]}).axes[0].lines
    assert [np.asarray(line.get_xydata()).tolist() for line in lines] == [[[1, 3], [2, 4]], [[1, 5], [2, 5]]]
    curve = pruning([1.0, 0.0, 0.5], [0.9, 0.1, 0.8], 100, chance=0.1).axes[0].lines[0]
    assert np.asarray(curve.get_xydata()).tolist() == [[0, 0.1], [0.5, 0.8], [1, 0.9]]

"""What the figures show, read back from the drawing."""

import re
from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from allmlp.reporting import figures
from allmlp.reporting.ink import ROLES, inline_svg

DRAWINGS: dict[str, Callable[[], Figure]] = {
    "loss": lambda: figures.loss_curves([1, 2, 3], [2.0, None, 1.0], [1.5, 1.2, float("nan")], best=2),
    "accuracy": lambda: figures.accuracy_curves([1, 2], [None, None], [0.5, 0.6], [0.4, 0.7], best=2),
    "rate": lambda: figures.learning_rate([1], [0.001], best=None),
    "sizes": lambda: figures.image_sizes([1, 2], [16, 32], [16, 24]),
    "confusion": lambda: figures.confusion_map(np.array([[3, 1], [0, 4]]), ["<a>", "$b$"], numbers=True),
    "reliability": lambda: figures.reliability([0.95, 0.2], [0.9, 0.5], [10, 2], [(0.9, 1.0), (0.1, 0.2)]),
}


def texts(figure: Figure) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", inline_svg(figure, "f", ""))


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_figure_takes_every_colour_and_its_font_from_the_page(draw: Callable[[], Figure]) -> None:
    svg = inline_svg(draw(), "f", "what it shows")
    assert not re.findall(r"#[0-9a-f]{6}|font-family|DejaVu", svg)
    assert set(re.findall(r"var\(--([a-z-]+)\)", svg)) <= set(ROLES.values())


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_figure_is_the_same_bytes_each_time(draw: Callable[[], Figure]) -> None:
    assert inline_svg(draw(), "f", "") == inline_svg(draw(), "f", "")


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_drawing_leaves_the_settings_of_matplotlib_alone(draw: Callable[[], Figure]) -> None:
    before = dict(matplotlib.rcParams)
    inline_svg(draw(), "f", "")
    assert dict(matplotlib.rcParams) == before


def test_two_figures_on_a_page_share_no_id() -> None:
    first, second = (set(re.findall(r' id="([^"]+)"', inline_svg(DRAWINGS["loss"](), name, ""))) for name in ("a", "b"))
    assert first
    assert not first & second


def test_a_series_without_values_is_left_out_of_the_legend() -> None:
    assert "training" not in texts(DRAWINGS["accuracy"]())
    assert {"validation", "validation, EMA", "best: 2"} <= set(texts(DRAWINGS["accuracy"]()))


@pytest.mark.parametrize("best", [1, 3, 17, 19, 20])
@pytest.mark.parametrize(
    "shape", [lambda t: t, lambda t: 1 - t, lambda t: 0.5 + 0 * t, lambda t: np.sqrt(t)], ids=["up", "down", "level", "bent"]
)
def test_the_name_of_the_best_epoch_lies_on_no_curve(shape: Callable[[np.ndarray], np.ndarray], best: int) -> None:
    figure = figures.learning_rate(range(1, 21), shape(np.linspace(0, 1, 20)).tolist(), best=best)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (name,) = (text for text in axes.texts if text.get_text().startswith("best"))
    box = name.get_window_extent()
    curve = axes.transData.transform(axes.lines[0].get_xydata())
    along = np.linspace(box.x0, box.x1, 50)
    heights = np.interp(along, curve[:, 0], curve[:, 1])
    assert ((heights < box.y0) | (heights > box.y1)).all()


def test_one_epoch_is_a_dot_above_its_whole_number() -> None:
    axes = DRAWINGS["rate"]().axes[0]
    assert [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines() if line.get_marker() == "o"] == [[[1.0, 0.001]]]
    assert "1" in texts(DRAWINGS["rate"]())
    assert "0.8" not in texts(DRAWINGS["rate"]())


def test_small_learning_rates_are_all_written_in_the_same_way() -> None:
    figure = figures.learning_rate([1, 2], [1.2e-4, 1e-6], best=None)
    figure.draw_without_rendering()
    said = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"0", "0.00006", "0.00012"} <= set(said)
    assert not [text for text in said if "e" in text]


def test_equal_sides_are_drawn_once() -> None:
    assert "width" not in texts(figures.image_sizes([1, 2, 3], [16, 16, 32], [16, 16, 32]))
    assert {"height", "width"} <= {*texts(figures.image_sizes([1, 2, 3], [16, 16, 32], [16, 16, 24]))}


def test_the_confusion_map_writes_counts_and_takes_names_literally() -> None:
    said = texts(DRAWINGS["confusion"]())
    assert {"3", "1", "4", "&lt;a&gt;", "$b$"} <= set(said)
    assert "0" not in said


def test_the_tint_of_a_cell_grows_with_its_share_of_the_row() -> None:
    figure = figures.confusion_map(np.array([[1, 3], [0, 40]]), ["a", "b"], numbers=False)
    colours = np.asarray(figure.axes[0].collections[0].get_facecolor())
    assert [colour[3] for colour in colours] == pytest.approx([0.25**0.5, 0.75**0.5, 1.0])


def test_letters_that_matplotlib_has_no_glyph_for_draw_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    svg = inline_svg(figures.confusion_map(np.eye(2, dtype=np.int64), ["衣服", "靴"], numbers=True), "f", "")
    assert "衣服" in svg
    assert not recwarn.list

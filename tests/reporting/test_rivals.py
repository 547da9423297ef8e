"""Several models in one figure."""

import numpy as np
import pytest

from allmlp.evaluation.comparison import MOST
from allmlp.reporting.ink import ACCENT, CONTRAST, INK
from allmlp.reporting.rivals import Curve, intervals, overlaid, stroke


def test_as_many_models_as_are_compared_look_different() -> None:
    assert len({stroke(i) for i in range(MOST)}) == MOST


def test_curves_show_their_numbers_and_a_model_without_one_keeps_its_colour() -> None:
    figure = overlaid([Curve([1, 2, 3], [0.1, 0.3, 0.2]), None, Curve([1, 2], [0.5, float("inf")])], along="epoch", share=True)
    first, end, third, _ = figure.axes[0].lines
    assert first.get_xydata().tolist() == [[1, 0.1], [2, 0.3], [3, 0.2]]
    assert end.get_xydata().tolist() == [[3, 0.2]]
    assert (first.get_color(), third.get_color()) == (ACCENT, INK)
    assert np.isnan(third.get_ydata()[1])


def test_a_curve_of_no_epochs_is_no_line() -> None:
    assert not overlaid([Curve([], [])], along="minutes", share=False).axes[0].lines


def test_intervals_show_their_numbers_the_first_on_top() -> None:
    figure = intervals(["a", "衣服" * 20], [0.5, 0.6], [(0.4, 0.55), (0.58, 0.61)], numbers=[0, 1])
    axes = figure.axes[0]
    bars, dots = axes.lines[::2], axes.lines[1::2]
    assert [bar.get_xydata().tolist() for bar in bars] == [[[0.4, 0], [0.55, 0]], [[0.58, 1], [0.61, 1]]]
    assert [dot.get_xydata().tolist() for dot in dots] == [[[0.5, 0]], [[0.6, 1]]]
    assert [dot.get_color() for dot in dots] == [ACCENT, CONTRAST]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert axes.get_yticklabels()[1].get_text().endswith("…")


@pytest.mark.parametrize(("reach", "tick"), [(0.2, "+10"), (0.01, "+0.5")])
def test_differences_are_in_points_with_a_sign_and_have_a_line_at_none(reach: float, tick: str) -> None:
    figure = intervals(["b"], [0.0], [(-reach, reach)], numbers=[1], zero=True)
    axes = figure.axes[0]
    assert axes.lines[0].get_xdata() == [0, 0]
    formatter = axes.xaxis.get_major_formatter()
    assert formatter(float(tick) / 100) == tick
    assert formatter(-float(tick) / 100) == tick.replace("+", "−")

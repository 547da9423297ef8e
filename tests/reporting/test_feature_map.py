"""The map of features, read back from the drawing."""

import numpy as np

from allmlp.reporting.feature_map import feature_map


def test_each_class_is_named_at_its_middle_and_each_axis_says_its_share() -> None:
    coordinates = np.array([[0.0, 0], [0, 2], [0, 1], [5, 5], [7, 5]])
    figure = feature_map(coordinates, np.array([0, 0, 0, 1, 1]), ["ant", "bee"], variance=[0.5, 0.25])
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} == {"ant", "bee"}
    middles = [tuple(np.asarray(line.get_xydata())[0]) for line in axes.lines]
    assert middles == [(0, 1), (6, 5)]
    assert axes.get_xlabel() == "first direction, 50.0% of the variance"
    assert len(np.asarray(axes.collections[0].get_offsets())) == 5


def test_names_that_would_meet_are_set_apart() -> None:
    coordinates = np.array([[0.0, 0], [0.01, 0], [5, 5]])
    figure = feature_map(coordinates, np.array([0, 1, 2]), ["aeroplane", "automobile", "c"], variance=[1, 0])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not boxes[0].overlaps(boxes[1])

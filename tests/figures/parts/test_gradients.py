"""The figure of gradients: a line a loss, where its numbers are."""

import numpy as np

from figures.parts.gradients import draw


def test_lines_are_the_numbers() -> None:
    curve = np.array([0.1, 0.4]), np.array([0.2, 1.0])
    figure = draw([1, 16], {"L2": [0.5, 0.1], "LAMP": [0.9, 0.8]}, {"L2": curve, "LAMP": curve})
    left, right = figure.axes
    assert [list(line.get_ydata()) for line in left.get_lines()] == [[0.5, 0.1], [0.9, 0.8]]
    assert [list(line.get_xdata()) for line in right.get_lines()] == [[0.1, 0.4]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["L2", "LAMP"]
    assert left.get_xscale() == left.get_yscale() == "log"

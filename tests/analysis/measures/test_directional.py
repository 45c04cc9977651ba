"""Growth along directions and areas of sublevel sets, against quadratics."""

import math

import numpy as np
import pytest
import torch

from analysis.measures.directional import Growth, Planes, along_directions, crossing, over_planes, sublevel_area
from landscape.directions.normalization import random_directions
from landscape.engine.metrics import resolve_metrics
from tests.problems import INPUTS, OUTPUTS, quadratic, quadratic_form

RADII = np.array([0.1, 0.5, 1.0])


def growth_of(directions: int) -> Growth:
    problem = quadratic()
    metrics = resolve_metrics(problem, ["l2"])
    return along_directions(problem, metrics, RADII.tolist(), directions, 7, torch.device("cpu"))["l2"]


def planes_of(count: int) -> Planes:
    problem = quadratic()
    return over_planes(problem, resolve_metrics(problem, ["l2"]), count, 7, torch.device("cpu"))["l2"]


def test_growth_along_a_direction_is_the_quadratic_form() -> None:
    growth = growth_of(3)
    problem = quadratic()
    for k in range(3):
        direction = random_directions(problem.model, 7, k)[0].params["weight"].numpy()
        base, _, gram = quadratic_form(problem, direction)
        form = np.trace(direction @ gram @ direction.T)
        # Both signs together: the gradient's part cancels.
        assert growth.values[k] == pytest.approx(base + RADII**2 * form, rel=1e-9)
        assert growth.base == pytest.approx(base, rel=1e-12)


def test_mean_and_error_of_growth_are_over_directions() -> None:
    growth = growth_of(3)
    deltas = growth.values[:, 1] - growth.base
    value, error = growth.delta(0.5)
    assert value == pytest.approx(deltas.mean())
    assert error == pytest.approx(deltas.std(ddof=1) / math.sqrt(3))
    assert growth.ratio(0.5)[0] == pytest.approx(1 + value / growth.base)


def test_the_radius_of_a_level_is_where_the_mean_curve_crosses() -> None:
    radii = np.linspace(0.01, 1, 100)
    growth = Growth(radii, 2.0, 2.0 + np.outer([1.0, 3.0], radii**2))
    value, error = growth.radius_of(2.5)
    assert value == pytest.approx(0.5, abs=1e-3)  # the mean is 2 + 2r²
    alone = math.sqrt(0.5), math.sqrt(0.5 / 3)  # each direction left out in turn
    assert error == pytest.approx((alone[0] - alone[1]) / 2, abs=1e-3)
    assert all(map(math.isnan, growth.radius_of(9.0)))


@pytest.mark.parametrize(
    ("curve", "level", "radius"),
    [
        ([2.0, 6.0], 4.0, 1.5),
        ([2.0, 6.0], 1.25, 0.5),  # a parabola up to the first radius
        ([2.0, math.inf], 4.0, 1.0),
        ([0.9, 0.7], 0.8, 1.5),
        ([2.0, 6.0], 1.0, 0.0),
        ([2.0, 6.0], 7.0, math.nan),
    ],
)
def test_crossing(curve: list[float], level: float, radius: float) -> None:
    assert crossing(np.array([1.0, 2.0]), 1.0, np.array(curve), level) == pytest.approx(radius, nan_ok=True)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (4.0, 1.5)])
def test_the_area_of_an_ellipse(a: float, b: float) -> None:
    steps = np.linspace(-1, 1, 9)
    x, y = np.meshgrid(steps, steps)
    plane = 1 + a * x**2 + b * y**2
    level = 1.5
    assert sublevel_area(steps, plane, level) == pytest.approx(math.pi * (level - 1) / math.sqrt(a * b), rel=0.02)


def test_areas_at_the_borders_of_what_can_be() -> None:
    steps = np.linspace(-1, 1, 9)
    plane = np.full((9, 9), 2.0)
    assert sublevel_area(steps, plane, 3.0) == pytest.approx(4.0)
    assert sublevel_area(steps, plane, 1.0) == 0
    assert sublevel_area(steps, plane, 0.0) == 0
    half = np.where(np.arange(9) < 4, 1.0, np.inf) * np.ones((9, 9))
    assert 1 < sublevel_area(steps, half, 2.0) < 3  # what diverged is outside


def test_planes_are_those_that_surfaces_draw() -> None:
    planes = planes_of(2)
    problem = quadratic()
    for k in range(2):
        x, y = (d.params["weight"].numpy() for d in random_directions(problem.model, 7, k))
        step = x / 3 - 2 / 3 * y
        base, slope, gram = quadratic_form(problem, step)
        expected = base + slope + np.trace(step @ gram @ step.T)
        row, column = int(np.argmin(abs(planes.steps + 2 / 3))), int(np.argmin(abs(planes.steps - 1 / 3)))
        assert planes.values[k, row, column] == pytest.approx(expected, rel=1e-9)
    assert x.shape == (OUTPUTS, INPUTS)

"""Principal components against NumPy's SVD, projections against its least squares."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.directions.components import combine, inner, principal_components, project, ranges_of
from landscape.files.grid import parse_axis
from training.runtime.command import InputError

SHAPES = {"a": (3, 4), "b": (5,), "c": ()}


def points(count: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    source = torch.Generator().manual_seed(seed)
    return [
        {name: torch.randn(shape, generator=source, dtype=torch.float64) for name, shape in SHAPES.items()}
        for _ in range(count)
    ]


def row(point: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([point[name].numpy().ravel() for name in SHAPES])


def test_components_are_those_of_the_svd_of_the_centred_rows() -> None:
    """Of θ_i - θ_last, as in Li et al.: directions up to sign, and the shares of the variance."""
    path = points(7)
    rows = np.stack([row(point) for point in path])
    steps = rows - rows[-1]
    _, scales, vectors = np.linalg.svd(steps - steps.mean(0), full_matrices=False)
    found = principal_components(path)
    np.testing.assert_allclose(found.shares, (scales**2 / (scales**2).sum())[:2], rtol=1e-10)
    for weights, vector in zip(found.weights, vectors, strict=False):
        component = row(combine(weights, path, list(SHAPES)))
        np.testing.assert_allclose(component * np.sign(component @ vector), vector, atol=1e-10)
        assert (rows[0] - rows[-1]) @ component <= 0


def test_components_are_orthonormal_and_moving_the_base_changes_nothing() -> None:
    path = points(5)
    moved = [{name: tensor + 3 for name, tensor in point.items()} for point in path]
    x, y = (combine(weights, path, list(SHAPES)) for weights in principal_components(path).weights)
    assert inner(x, x) == pytest.approx(1, rel=1e-12)
    assert inner(x, y) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(principal_components(moved).weights, principal_components(path).weights, atol=1e-10)


def test_points_on_a_line_or_too_few_of_them_are_refused() -> None:
    start, end = points(2)
    line = [{name: start[name] + share * end[name] for name in SHAPES} for share in (0, 0.3, 0.5, 1)]
    for path in (line, points(2), points(1), [start] * 4):
        with pytest.raises(InputError, match="--trajectory: expected checkpoints that span 2 directions, found"):
            principal_components(path)


@given(st.integers(0, 1000), st.integers(1, 2))
def test_projection_is_least_squares(seed: int, axes: int) -> None:
    base, first, second, *others = points(6, seed)
    directions = [first, second][:axes]
    coordinates, distances = project(others, base, directions)
    matrix = np.stack([row(direction) for direction in directions], 1)
    for point, found, distance in zip(others, coordinates, distances, strict=True):
        step = row(point) - row(base)
        expected = np.linalg.lstsq(matrix, step, rcond=None)[0]
        np.testing.assert_allclose(found, [*expected, 0.0][:2], atol=1e-9)
        assert distance == pytest.approx(np.linalg.norm(step - matrix @ expected), rel=1e-9)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=9))
def test_axes_around_a_path_hold_it_with_a_margin_and_the_base(path: list[tuple[float, float]]) -> None:
    coordinates = np.array(path)
    if np.ptp(coordinates, 0).max() < 1e-3:
        coordinates[0] += 1
    axes = [parse_axis(name, text) for name, text in zip("xy", ranges_of(coordinates), strict=True)]
    lengths = [np.ptp(axis.values) for axis in axes]
    for axis, values in zip(axes, coordinates.T, strict=True):
        assert 0 in axis.values
        assert axis.values[0] < values.min()
        assert values.max() < axis.values[-1]
        assert 50 <= len(axis.values) <= 53
    assert min(lengths) > 0.3 * max(lengths)

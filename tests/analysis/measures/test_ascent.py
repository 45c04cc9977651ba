"""The search for the highest rise: functions whose maxima over a box or a ball are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.measures.ascent import Region, Search, climb, highest, settled

DOUBLE = torch.float64


def box(size: int) -> Region:
    return Region(torch.ones(size, dtype=DOUBLE), box=True)


def sphere(size: int) -> Region:
    return Region(torch.ones(size, dtype=DOUBLE), box=False)


def hills(change: Tensor) -> tuple[float, Tensor]:
    """Σ −(xᵢ² − ¼)² + xᵢ/20, less its value at 0: 2^P maxima inside the box, the highest where all xᵢ are positive."""
    rise = -((change.square() - 0.25) ** 2) + change / 20 + 0.25**2
    return float(rise.sum()), -4 * change * (change.square() - 0.25) + 1 / 20


def highest_hill() -> float:
    """The maximum of one coordinate's share over [−1, 1], from the roots of its derivative."""
    roots = np.roots([-4, 0, 1, 1 / 20])
    x = roots[abs(roots.imag) < 1e-12].real
    return float(max(-((x**2 - 0.25) ** 2) + x / 20 + 0.25**2))


def full_steps(region: Region, slope: object, steps: int, starts: int) -> float:
    """The search without adaptation: the highest rise over the corners that the gradient points at in turn."""
    best = 0.0
    for start in [region.middle(), *itertools.islice(region.random(0), starts - 1)]:
        point = start
        for _ in range(steps + 1):
            rise, gradient = slope(region.scale * point)  # type: ignore[operator]
            best = max(best, rise)
            point = region.farthest(region.scale * gradient)
    return best


def test_maxima_inside_a_box_are_found_where_full_steps_fail() -> None:
    expected = 6 * highest_hill()
    assert full_steps(box(6), hills, steps=5, starts=2) < 0.6 * expected
    rise = highest(hills, box(6), Search(gain=1e-4))
    assert rise.value == pytest.approx(expected, rel=1e-3)
    assert rise.converged
    assert rise.agreeing >= 2


def test_the_higher_of_two_hills_is_found_from_another_start() -> None:
    """Σ h(xᵢ), h' = −(x − 0.3)(x + 0.1)(x + 0.9): the gradient in the middle leads to 0.3, the lower of two maxima."""
    integral = np.polynomial.Polynomial.fromroots([0.3, -0.1, -0.9]).integ()

    def slope(change: Tensor) -> tuple[float, Tensor]:
        x = change.numpy()
        return -float(integral(x).sum()), torch.from_numpy(-integral.deriv()(x))

    low, high = (-4 * integral(x) for x in (0.3, -0.9))
    assert low < 0.2 * high
    assert full_steps(box(4), slope, steps=5, starts=2) < 0.96 * high
    alone = highest(slope, box(4), Search(gain=1e-4, starts=1))
    assert alone.value == pytest.approx(low, rel=1e-2)
    assert not alone.converged  # a single start is confirmed by none
    rise = highest(slope, box(4), Search(gain=1e-4))
    assert rise.value == pytest.approx(high, rel=1e-3)
    assert rise.converged
    assert rise.starts > 2
    assert rise.spread > 0.8


def test_an_oscillation_between_corners_ends() -> None:
    """s − s², s = x + y, in a box: the maximum ¼ is on a line between the corners, between which full steps jump."""

    def ridge(change: Tensor) -> tuple[float, Tensor]:
        total = float(change.sum())
        return total - total**2, torch.full_like(change, 1 - 2 * total)

    assert full_steps(box(2), ridge, steps=100, starts=2) == 0
    assert highest(ridge, box(2), Search(gain=1e-4)).value == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_an_indefinite_quadratic_on_a_ball(seed: int) -> None:
    """½u'Hu + g'u: the maximum solves (μ − H)u = g with ‖u‖ = 1 and μ at least the largest eigenvalue."""
    source = torch.Generator().manual_seed(seed)
    matrix = torch.randn(8, 8, generator=source, dtype=DOUBLE)
    hessian, linear = matrix + matrix.T, torch.randn(8, generator=source, dtype=DOUBLE)
    values, vectors = (part.numpy() for part in torch.linalg.eigh(hessian))
    parts = vectors.T @ linear.numpy()
    low, high = values[-1] + 1e-9, values[-1] + np.linalg.norm(parts) + 1
    for _ in range(200):  # bisection: the norm falls with μ
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(parts / (middle - values)) > 1 else (low, middle)
    u = parts / (high - values)
    expected = 0.5 * (values * u**2).sum() + parts @ u

    def slope(change: Tensor) -> tuple[float, Tensor]:
        image = hessian @ change
        return float(change @ image / 2 + linear @ change), image + linear

    rise = highest(slope, sphere(8), Search(gain=1e-5))
    assert 0.999 * expected < rise.value <= expected * (1 + 1e-9)
    assert float(rise.change.norm()) <= 1 + 1e-12


def test_an_ascent_never_falls_and_says_when_it_stops() -> None:
    whole = climb(hills, box(6), torch.zeros(6, dtype=DOUBLE), Search())
    assert whole.converged
    cut = climb(hills, box(6), torch.zeros(6, dtype=DOUBLE), Search(steps=3))
    assert not cut.converged
    assert cut.steps == 3
    assert 0 <= cut.value <= whole.value


def test_starts_that_did_not_converge_confirm_nothing() -> None:
    rise = highest(hills, box(6), Search(steps=3, starts=4))
    assert (rise.starts, rise.agreeing, rise.converged, rise.steps) == (4, 0, False, 12)


def test_where_nothing_rises_the_middle_is_highest() -> None:
    rise = highest(lambda change: (-float(change.square().sum()), -2 * change), box(3), Search())
    assert (rise.value, rise.spread, rise.converged) == (0, 0, True)
    assert not rise.change.any()


def test_a_loss_that_diverges_ends_the_search() -> None:
    rise = highest(lambda change: (math.nan, change), box(3), Search())
    assert (rise.value, rise.starts, rise.steps, rise.converged) == (math.inf, 1, 1, True)


def test_weights_of_scale_zero_stay() -> None:
    region = Region(torch.tensor([1.0, 0.0, 2.0], dtype=DOUBLE), box=False)
    assert all(start[1] == 0 for start in itertools.islice(region.random(0), 5))
    rise = highest(lambda change: (float(change.sum()), torch.ones_like(change)), region, Search())
    assert rise.change[1] == 0
    assert rise.value == pytest.approx(math.sqrt(5))


def test_what_counts_as_settled() -> None:
    search = Search(patience=3, gain=0.1)
    assert not settled([1.0, 1.0, 1.0], search)
    assert settled([1.0, 1.0, 1.0, 1.1], search)
    assert not settled([0.9, 1.0, 1.0, 1.1], search)

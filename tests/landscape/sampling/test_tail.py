"""The limit of the largest error: against closed forms, in how many cases it holds, and on surfaces that are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from landscape.sampling.tail import chi_squared, upper_limit
from tests.landscape.sampling.test_adaptive import Surface, drive, rosenbrock, surface, true_error, valley

Draw = Callable[[np.random.Generator, int], np.ndarray]
DRAWS: dict[str, Draw] = {
    "uniform": lambda random, count: random.uniform(size=count),
    "half normal": lambda random, count: abs(random.normal(size=count)),
    "exponential": lambda random, count: random.exponential(size=count),
}


@pytest.mark.parametrize("freedom", [10, 20, 50, 500])
@pytest.mark.parametrize("probability", [0.01, 0.05, 0.5, 0.95])
def test_quantiles_of_chi_squared(probability: float, freedom: int) -> None:
    exact = stats.chi2(freedom).ppf(probability)
    assert chi_squared(probability, freedom) == pytest.approx(exact, rel=0.02 if probability < 0.05 else 0.01)


@pytest.mark.parametrize("shape", [0.0, 0.2])
def test_of_many_errors_the_limit_is_the_quantile_of_their_largest(shape: float) -> None:
    """A generalized Pareto sample is its own tail, so that the limit has a closed form: F⁻¹(0.95^(1/N)).

    Of a shape that is 0.001 off, 4·10⁸-fold extrapolation makes 2% at most, the exponential's estimate being ξ near 0.
    """
    law = stats.genpareto(shape)
    sample = law.ppf((np.arange(200_000) + 0.5) / 200_000)
    for others in (10**6, 10**8):
        expected = law.ppf(0.95 ** (1 / others))
        wider = 2 * 40_000 / stats.chi2(80_000).ppf(0.05)  # the scale's own limit, 1.2% above it
        assert expected < upper_limit(sample, others) < expected * wider * 1.03


@pytest.mark.parametrize("count", [25, 125])
@pytest.mark.parametrize("name", DRAWS)
def test_it_holds_as_often_as_it_says(name: str, count: int) -> None:
    """Of 1,000 draws at least 950 less three standard deviations of a binomial count."""
    random, draw = np.random.default_rng(0), DRAWS[name]
    held = sum(draw(random, 19 * count).max() <= upper_limit(draw(random, count), 19 * count) for _ in range(1000))
    assert held >= 950 - 3 * math.sqrt(1000 * 0.95 * 0.05)


def test_it_is_no_mere_bound() -> None:
    random = np.random.default_rng(1)
    ratios = [upper_limit(sample, 2340) / sample.max() for sample in random.exponential(size=(200, 125))]
    assert np.median(ratios) < 5  # the largest of 2,340 exponential errors is some 1.6 times that of 125


@given(
    errors=st.lists(st.floats(0, 1e3), min_size=10, max_size=60),
    others=st.integers(1, 10_000),
    factor=st.sampled_from([0.25, 2.0]),
)
def test_it_scales_and_is_never_below_what_was_seen(errors: list[float], others: int, factor: float) -> None:
    sample = np.array(errors)
    limit = upper_limit(sample, others)
    assert limit >= sample.max()
    assert upper_limit(sample, 10 * others) >= limit
    assert upper_limit(factor * sample, others) == pytest.approx(factor * limit, rel=1e-9)


def test_what_tells_nothing_has_no_limit() -> None:
    assert upper_limit(np.array([0.1, np.inf, *[0.1] * 20]), 100) == math.inf
    assert upper_limit(np.array([0.1, 0.2]), 100) == math.inf
    assert upper_limit(np.array([0.1, 0.2]), 0) == 0.2
    assert upper_limit(np.array([]), 0) == 0
    assert upper_limit(np.zeros(50), 1000) == 0


def cone(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(2 * np.sqrt(0.001 + x * x + y * y))


def ripples(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(np.sin(5 * x) * np.cos(4 * y) + 2 * np.hypot(x, y))


def two_basins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """With a crease between them, where interpolation is at its worst."""
    return 1 + np.minimum(5 * ((x - 0.5) ** 2 + y * y), 3 * ((x + 0.4) ** 2 + 2 * (y - 0.2) ** 2))


def coverage(function: Surface) -> list[bool]:
    """Whether the true largest error is below the stated limit, for some tolerances and seeds."""
    truth, held = surface(function), []
    for tol in (0.03, 0.01, 0.003):
        for seed in range(3):
            result = drive({"l2": truth}, {"l2": "log"}, tol=tol, seed=seed)
            assert result.limits["l2"] >= max(tol, result.errors["l2"])
            held.append(true_error(result, truth) <= result.limits["l2"])
    return held


def test_it_holds_on_known_surfaces() -> None:
    """45 cases; at 95% each, 38 or fewer have a probability below 0.4%."""
    held = [found for function in (valley, rosenbrock, cone, ripples, two_basins) for found in coverage(function)]
    assert len(held) == 45
    assert sum(held) > 38


def test_steps_that_interpolation_cannot_know_are_admitted() -> None:
    """Accuracy changes by whole images: noise of one of 500 images, over a range of ten, is no smooth surface."""
    random = np.random.default_rng(0)
    smooth = surface(lambda x, y: 0.9 * np.exp(-2 * (x * x + y * y)))
    truth = np.round((smooth + 0.01 * random.normal(size=smooth.shape)) * 500) / 500
    result = drive({"accuracy": truth}, {"accuracy": "none"}, tol=0.03)
    assert true_error(result, truth, "accuracy", lambda values: values) <= result.limits["accuracy"]


def test_of_several_planes_the_limit_is_of_the_worst() -> None:
    truth = np.concatenate([surface(valley), surface(two_basins)])
    both = drive({"l2": truth}, {"l2": "log"})
    alone = [drive({"l2": truth[plane : plane + 1]}, {"l2": "log"}).limits["l2"] for plane in (0, 1)]
    assert both.limits["l2"] >= alone[0]  # the first plane has the same points, and is to be surer
    assert all(error <= both.limits["l2"] for error in (true_error_of(both, truth, plane) for plane in (0, 1)))


def true_error_of(result: object, truth: np.ndarray, plane: int) -> float:
    found, right = np.log(result.values["l2"][plane]), np.log(truth[plane])  # type: ignore[attr-defined]
    return float(np.abs(found - right).max() / np.ptp(right))

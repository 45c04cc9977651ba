"""Rank correlations of weighted rows against scipy on repeated rows, slow loops and hand-worked examples."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import correlations
from analysis.statistics.correlations import granulated_kendall, kendall, partial_spearman, spearman, weighted_ranks

pytestmark = pytest.mark.filterwarnings("error")


def sample(seed: int, n: int = 12, levels: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x and y with ties, and how often each row stands in three resamples."""
    generator = np.random.default_rng(seed)
    x = generator.integers(levels, size=n).astype(float)
    y = np.round(x + generator.normal(size=n) * 2)
    return x, y, generator.integers(4, size=(3, n)).astype(float)


def repeated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.repeat(values, weights.astype(int))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_weighted_coefficients_are_scipys_of_repeated_rows(seed: int) -> None:
    x, y, weights = sample(seed)
    for r, row in enumerate(weights):
        xs, ys = repeated(x, row), repeated(y, row)
        ranks = repeated(weighted_ranks(x, weights)[r], row)
        np.testing.assert_allclose(ranks, stats.rankdata(xs))
        if len(set(xs)) > 1 and len(set(ys)) > 1:
            assert spearman(x, y, weights)[r] == pytest.approx(stats.spearmanr(xs, ys).statistic)
            assert kendall(x, y, weights)[r] == pytest.approx(stats.kendalltau(xs, ys).statistic)


def residuals(values: np.ndarray, covariates: list[np.ndarray]) -> np.ndarray:
    """What least squares on the ranks of the covariates leaves of the ranks of the values."""
    design = np.stack([np.ones(len(values)), *(stats.rankdata(z) for z in covariates)], axis=1)
    ranks = stats.rankdata(values)
    return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]


@pytest.mark.parametrize("seed", range(5))
def test_partial_correlation_is_that_of_residuals(seed: int) -> None:
    generator = np.random.default_rng(seed)
    z = [np.exp(generator.normal(size=30)), np.repeat([32.0, 128.0, 512.0], 10)]
    x, y = (z[0] + np.log2(z[1]) + 2 * generator.normal(size=30) for _ in range(2))
    truth = np.corrcoef(residuals(x, z), residuals(y, z))[0, 1]
    assert partial_spearman(x, y, z)[0] == pytest.approx(truth)
    assert partial_spearman(x, y, [np.log(z[0]), np.log(z[1])])[0] == pytest.approx(truth)
    weights = generator.integers(1, 4, size=(1, 30)).astype(float)
    again = [repeated(column, weights[0]) for column in (x, y, *z)]
    assert partial_spearman(x, y, z, weights)[0] == pytest.approx(partial_spearman(again[0], again[1], again[2:])[0])


def test_partial_correlation_with_one_covariate_is_the_formula() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(size=40)
    x, y = (z + generator.normal(size=40) for _ in range(2))
    xy, xz, yz = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    formula = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, [z])[0] == pytest.approx(formula)
    # A constant covariate takes nothing away, nor does the same covariate given twice.
    assert partial_spearman(x, y, [z, np.ones(40), z])[0] == pytest.approx(formula)
    assert partial_spearman(x, y, [])[0] == pytest.approx(xy)


def test_undefined_coefficients_are_nan_without_a_warning() -> None:
    x, y = np.arange(5.0), np.array([3.0, 1, 2, 5, 4])
    for coefficient in (spearman, kendall):
        assert np.isnan(coefficient(np.ones(5), y)[0])
        assert np.isnan(coefficient(x[:1], y[:1])[0])
        few = np.array([[4.0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]])
        np.testing.assert_array_equal(np.isnan(coefficient(x, y, few)), [True, True, False])
    assert np.isnan(partial_spearman(x, y, [x**3])[0])  # the covariate leaves nothing
    assert np.isnan(partial_spearman(x[:1], y[:1], [x[:1]])[0])


def test_infinite_values_are_the_greatest_ranks() -> None:
    x, y = np.array([1.0, 2, np.inf, np.inf, 3]), np.array([5.0, 2, 1, 0, 3])
    finite = np.where(np.isinf(x), 99, x)
    assert spearman(x, y)[0] == pytest.approx(stats.spearmanr(finite, y).statistic)
    assert kendall(x, y)[0] == pytest.approx(stats.kendalltau(finite, y).statistic)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x - 7]))
def test_monotone_transforms_change_nothing(seed: int, transform) -> None:
    x, y, weights = sample(seed)
    for coefficient in (spearman, kendall):
        np.testing.assert_array_equal(coefficient(transform(x), y, weights), coefficient(x, y, weights))
        np.testing.assert_allclose(coefficient(-x, y, weights), -coefficient(x, y, weights))


def test_granulated_kendall_worked_by_hand() -> None:
    # Two groups, one along a hyperparameter with 3 values, one with 2; the last row is alike to no other.
    x = np.array([1.0, 2, 3, 5, 4, 9])
    y = np.array([1.0, 3, 2, 1, 1, 0])
    taus, first = granulated_kendall(x, y, ["a", "a", "a", "b", "b", "c"])
    assert taus.tolist() == pytest.approx([1 / 3, 0])  # 2 of 3 pairs agree; of the other the y are tied
    assert first == [0, 3]
    assert len(granulated_kendall(x, y, list("abcdef"))[0]) == 0


def test_granulated_kendall_is_the_slow_one() -> None:
    generator = np.random.default_rng(3)
    x, y = generator.integers(4, size=(2, 24)).astype(float)
    keys = [(row // 4,) for row in range(24)]
    slow = []
    for group in range(6):
        rows = range(4 * group, 4 * group + 4)
        terms = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in rows for j in rows if i != j]
        slow.append(sum(terms) / (4 * 3))
    np.testing.assert_allclose(granulated_kendall(x, y, keys)[0], slow)


def test_doctests() -> None:
    assert doctest.testmod(correlations).failed == 0

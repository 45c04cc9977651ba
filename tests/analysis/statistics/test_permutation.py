"""Permutation tests against all permutations, scipy's coefficients and a slow step-down; the error rate kept."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.permutation import permutation_tests, permuted_within, statistics_of, step_down

pytestmark = pytest.mark.filterwarnings("error")


def test_the_statistic_is_the_mean_of_scipys_within_strata() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(5, size=(2, 20)).astype(float)
    strata = np.repeat([0, 1], [12, 8])
    missing = x.copy()
    missing[[2, 15]] = np.nan
    found = statistics_of(np.stack([x, missing]), y[None, :], strata)[0]
    for value, column in zip(found, (x, missing), strict=True):
        parts = [(strata == s) & ~np.isnan(column) for s in (0, 1)]
        assert value == pytest.approx(np.mean([stats.spearmanr(column[rows], y[rows]).statistic for rows in parts]))


def test_p_is_that_of_all_permutations() -> None:
    x = np.array([1.0, 2, 3, 4, 1, 2, 3])
    y = np.array([1.0, 3, 2, 4, 7, 9, 8])
    strata = np.array([0, 0, 0, 0, 1, 1, 1])
    every = [
        np.array([*first, *second])
        for first in itertools.permutations(y[:4])
        for second in itertools.permutations(y[4:])
    ]
    statistics = np.abs(statistics_of(x[None, :], np.stack(every), strata)[:, 0])
    observed = abs(statistics_of(x[None, :], y[None, :], strata)[0, 0])
    truth = (statistics >= observed - 1e-9).mean()
    found = permutation_tests([x], y, strata, 19999, np.random.default_rng(0))
    assert found.p[0] == pytest.approx(truth, abs=0.015)
    assert found.p_corrected[0] == found.p[0]  # of one measure there is nothing to correct


def test_outcomes_stay_in_their_stratum() -> None:
    y, strata = np.arange(2500.0), np.repeat([0, 1], [1000, 1500])
    (shuffled,) = permuted_within(y, strata, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(shuffled[:, :1000]), np.tile(y[:1000], (3, 1)))
    np.testing.assert_array_equal(np.sort(shuffled[:, 1000:]), np.tile(y[1000:], (3, 1)))
    assert not np.array_equal(shuffled[0], shuffled[1])


def test_step_down_is_the_slow_one() -> None:
    """Algorithm 4.1 of Westfall and Young: by the statistic's order, each against the maximum of those left."""
    generator = np.random.default_rng(1)
    observed, permuted = generator.random(6), generator.random((199, 6))
    p, corrected = step_down(observed, permuted)
    order, before = sorted(range(6), key=lambda m: -observed[m]), 0.0
    for position, m in enumerate(order):
        rest = order[position:]
        count = sum(max(row[k] for k in rest) >= observed[m] for row in permuted)
        before = max(before, (1 + count) / 200)
        assert corrected[m] == pytest.approx(before)
        assert p[m] == pytest.approx((1 + (permuted[:, m] >= observed[m]).sum()) / 200)
    assert (corrected >= p).all()


def test_the_family_wise_error_rate_is_kept() -> None:
    """Eight measures, four of them alike, none related to the outcome: corrected, one is found in 5% of families."""
    generator = np.random.default_rng(2)
    strata, found, uncorrected = np.repeat([0, 1, 2], 8), 0, 0
    for _ in range(200):
        shared = generator.normal(size=24)
        measures = [generator.normal(size=24) for _ in range(4)]
        measures += [shared + 0.5 * generator.normal(size=24) for _ in range(4)]
        tests = permutation_tests(measures, strata + generator.normal(size=24), strata, 99, generator)
        found += tests.p_corrected.min() <= 0.05
        uncorrected += tests.p.min() <= 0.05
    assert found <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)
    assert uncorrected > 2 * found


def test_a_strong_measure_does_not_hide_the_next() -> None:
    """Step-down, and difficulty of the strata that would drown both if outcomes were permuted across."""
    generator = np.random.default_rng(3)
    strata = np.repeat(np.arange(5), 10)
    quality = generator.normal(size=50)
    measures = [quality, quality + 0.8 * generator.normal(size=50), generator.normal(size=50), np.ones(50)]
    tests = permutation_tests(measures, quality + 100 * strata, strata, 999, generator)
    assert tests.statistic[0] == pytest.approx(1)
    np.testing.assert_allclose(tests.p_corrected[:2], 0.001)
    assert tests.p_corrected[2] > 0.05
    assert np.isnan([tests.statistic[3], tests.p[3], tests.p_corrected[3]]).all()

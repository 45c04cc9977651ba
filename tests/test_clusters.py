"""The cluster bootstrap against resamples written out row by row, and against the variance in closed form."""

import numpy as np
import pytest
from scipy import stats

from analysis.clusters import can_draw, draw_clusters, mean_over_tasks, percentile_interval
from analysis.correlations import spearman

pytestmark = pytest.mark.filterwarnings("error")

TASKS = np.repeat([0, 1, 2], [6, 6, 4])
SEEDS = np.array([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 5, 5, 7, 7])


def test_resamples_hold_whole_seeds_of_drawn_digits() -> None:
    draws = draw_clusters(TASKS, SEEDS, 50, np.random.default_rng(0))
    times = np.stack([np.bincount(resample, minlength=50) for resample in draws.resample])
    np.testing.assert_array_equal(times.sum(axis=0), 3)  # as many digits as there are
    for rows, weights in zip(draws.rows, draws.weights, strict=True):
        seeds = SEEDS[rows]
        for drawn in weights:
            of_seed = [set(drawn[seeds == seed]) for seed in np.unique(seeds)]
            assert all(len(counts) == 1 for counts in of_seed)  # all checkpoints of a seed, equally often
            assert sum(counts.pop() for counts in of_seed) == len(of_seed)
    pooled = draws.pooled()
    np.testing.assert_array_equal(pooled[:, TASKS == 2].sum(axis=1), 4 * times[2])


def test_statistics_of_resamples_are_those_of_rows_written_out() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 16))
    keep = np.ones(16, bool)
    keep[[1, 13]] = False
    draws = draw_clusters(TASKS, SEEDS, 20, generator)
    fast = draws.mean_within(lambda rows, weights: spearman(x[rows], y[rows], weights), keep)
    pooled = spearman(x[keep], y[keep], draws.pooled()[:, keep])
    for r in range(20):
        within, everything = [], []
        for rows, resample, weights in zip(draws.rows, draws.resample, draws.weights, strict=True):
            for drawn in weights[resample == r]:
                chosen = [row for row, count in zip(rows, drawn, strict=True) for _ in range(int(count)) if keep[row]]
                everything += chosen
                if len(set(chosen)) > 1:
                    within.append(stats.spearmanr(x[chosen], y[chosen]).statistic)
        assert fast[r] == pytest.approx(np.mean(within))
        assert pooled[r] == pytest.approx(stats.spearmanr(x[everything], y[everything]).statistic)


def test_the_spread_of_a_mean_is_the_closed_form() -> None:
    """One seed a digit: the mean of D drawn digits has the variance Σ (v - mean)² / D²."""
    values = np.random.default_rng(2).normal(size=12)
    draws = draw_clusters(np.arange(12), np.zeros(12, int), 20000, np.random.default_rng(3))
    means = draws.mean_within(lambda rows, weights: values[rows] @ weights.T / weights.sum(1), values < 99, least=1)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.var() == pytest.approx(values.var() / 12, rel=0.04)
    low, high = percentile_interval(means)
    assert (means < low).mean() == pytest.approx(0.025, abs=0.001)
    assert (means > high).mean() == pytest.approx(0.025, abs=0.001)


def test_intervals_of_what_is_seldom_defined_are_not_given() -> None:
    samples = np.arange(100.0)
    samples[:10] = np.nan
    assert percentile_interval(samples)[0] == pytest.approx(np.quantile(np.arange(10.0, 100), 0.025))
    samples[:11] = np.nan
    assert np.isnan(percentile_interval(samples)).all()
    assert np.isnan(percentile_interval(np.empty(0))).all()


def test_means_over_digits_and_whether_anything_can_be_drawn() -> None:
    values = np.array([1.0, 3.0, np.nan, 10.0])
    assert mean_over_tasks(values, np.array([0, 0, 0, 1])) == 6
    assert np.isnan(mean_over_tasks(np.full(2, np.nan), np.zeros(2, int)))
    zero = np.zeros(3, int)
    assert not can_draw(zero, zero)
    assert can_draw(np.arange(3), zero)
    assert can_draw(zero, np.arange(3))

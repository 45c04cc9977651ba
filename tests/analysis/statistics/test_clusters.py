"""The cluster bootstrap against resamples written out row by row, and against the variance in closed form."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.clusters import can_draw, draw_clusters, mean_over_tasks, percentile_interval
from analysis.statistics.correlations import spearman

pytestmark = pytest.mark.filterwarnings("error")

TASKS = np.repeat([0, 1, 2], [6, 6, 4])
SEEDS = np.array([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2])


def test_resamples_hold_the_same_whole_seeds_of_all_drawn_digits() -> None:
    draws = draw_clusters(TASKS, SEEDS, 50, np.random.default_rng(0))
    times = np.stack([np.bincount(resample, minlength=50) for resample in draws.resample])
    np.testing.assert_array_equal(times.sum(axis=0), 3)  # as many digits as there are
    drawn_seeds: dict[tuple[int, int], float] = {}  # by resample and seed
    for rows, resample, weights in zip(draws.rows, draws.resample, draws.weights, strict=True):
        for r, drawn in zip(resample, weights, strict=True):
            for row, count in zip(rows, drawn, strict=True):
                assert drawn_seeds.setdefault((r, SEEDS[row]), count) == count  # whatever the digit and the draw
    pooled = draws.pooled()
    for r in range(50):
        if times[0, r] or times[1, r]:  # which have all seeds
            assert sum(drawn_seeds[r, seed] for seed in range(3)) == 3
        for row in range(16):
            assert pooled[r, row] == times[TASKS[row], r] * drawn_seeds.get((r, SEEDS[row]), 0)


def test_what_a_seed_does_to_all_digits_is_not_averaged_away() -> None:
    """Values of the seed alone, in 10 digits: the mean of S drawn seeds has the variance Σ (v - mean)² / S²."""
    of_seed = np.array([1.0, 4.0, 2.0, 9.0])
    tasks, seeds = np.repeat(np.arange(10), 4), np.tile(np.arange(4), 10)
    values = of_seed[seeds]
    draws = draw_clusters(tasks, seeds, 20000, np.random.default_rng(3))
    means = draws.mean_within(lambda rows, weights: weights @ values[rows] / weights.sum(1), values < 99, least=1)
    assert means.var() == pytest.approx(of_seed.var() / 4, rel=0.04)  # seeds drawn anew in each digit: a tenth of it
    pooled = draws.merged().mean_within(lambda rows, weights: weights @ values[rows] / weights.sum(1), values < 99)
    np.testing.assert_allclose(pooled, means)


def test_parts_of_digits_have_the_rows_and_draws_of_their_digit() -> None:
    labels = np.tile([0, 1], 8)
    draws = draw_clusters(TASKS, SEEDS, 30, np.random.default_rng(4))
    parts = draws.split(labels)
    assert len(parts.rows) == 6
    for rows in parts.rows:
        assert len(set(TASKS[rows])) == len(set(labels[rows])) == 1
    np.testing.assert_array_equal(parts.pooled(), draws.pooled())


def test_draws_of_too_few_different_rows_are_left_out() -> None:
    tasks, seeds = np.zeros(4, int), np.arange(4)
    draws = draw_clusters(tasks, seeds, 200, np.random.default_rng(5))
    different = (draws.weights[0] > 0).sum(axis=1)
    counted = draws.mean_within(lambda rows, weights: weights.sum(1), np.ones(4, bool), least=3)
    assert set(different) >= {2, 3}
    np.testing.assert_array_equal(np.isnan(counted), different < 3)


def test_of_few_seeds_resamples_show_too_little_of_their_variance() -> None:
    values = np.array([3.0, 8.0])  # unbiased variance of the mean: 25/2/2; of resamples, exactly, half of it
    draws = draw_clusters(np.zeros(2, int), np.arange(2), 20000, np.random.default_rng(6))
    means = draws.mean_within(lambda rows, weights: weights @ values[rows] / weights.sum(1), values < 99, least=1)
    assert means.var() == pytest.approx(values.var(ddof=1) / 2 / 2, rel=0.05)


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
        assert fast[r] == pytest.approx(np.mean(within) if within else np.nan, nan_ok=True)
        if len(set(everything)) > 1:
            assert pooled[r] == pytest.approx(stats.spearmanr(x[everything], y[everything]).statistic)
        else:
            assert np.isnan(pooled[r])


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

"""Statistics against independent truth: slow definitions, scipy, scikit-learn, repeated sampling."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from analysis.paper import cells, claims
from analysis.statistics import paired as statistics
from analysis.statistics.bootstrap import Task, averages, drawn_seeds, image_weights, strata_of, weighted_auroc, widest
from analysis.statistics.delong import paired_delong
from analysis.statistics.paired import page_trend, sign_test, signed_rank, wins_ties_losses
from training.runtime.command import InputError


def slow_delong(base: np.ndarray, other: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """Difference and standard error by DeLong's structural components, pair by pair of images."""
    kernels = []
    for scores in (base, other):
        x, y = scores[anomalous], scores[~anomalous]
        kernels.append(np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in y] for a in x]))
    v10, v01 = (np.array([kernel.mean(axis=axis) for kernel in kernels]) for axis in (1, 0))
    covariance = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    contrast = np.array([-1.0, 1.0])
    return float(kernels[1].mean() - kernels[0].mean()), math.sqrt(contrast @ covariance @ contrast)


def two_models(seed: int, n: int = 60, levels: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    anomalous = np.arange(n) % 3 > 0
    shared = generator.normal(size=n)
    base, other = (shared + 0.7 * generator.normal(size=n) + gain * anomalous for gain in (0.8, 1.2))
    if levels:
        base, other = np.round(base * levels), np.round(other * levels)
    return base, other, anomalous


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("seed", range(4))
def test_paired_delong_is_the_slow_one(seed: int, levels: int) -> None:
    base, other, anomalous = two_models(seed, levels=levels)
    result = paired_delong(base, other, anomalous)
    difference, stderr = slow_delong(base, other, anomalous)
    assert result.difference == pytest.approx(difference, abs=1e-12)
    assert result.stderr == pytest.approx(stderr)
    assert result.base == pytest.approx(roc_auc_score(anomalous, base))
    assert result.p == pytest.approx(math.erfc(abs(difference) / stderr / math.sqrt(2)))
    assert result.low < result.difference < result.high


def test_paired_delong_agrees_with_a_bootstrap() -> None:
    base, other, anomalous = two_models(1, n=600)
    result = paired_delong(base, other, anomalous)
    weights = np.concatenate(list(image_weights(anomalous.astype(int), 1000, np.random.default_rng(0))))
    samples = weighted_auroc(other, anomalous, weights) - weighted_auroc(base, anomalous, weights)
    assert result.stderr == pytest.approx(samples.std(), rel=0.1)
    low, high = np.quantile(samples, [0.025, 0.975])
    assert result.low == pytest.approx(low, abs=0.3 * result.stderr)
    assert result.high == pytest.approx(high, abs=0.3 * result.stderr)


def test_intervals_near_one_hold_the_truth_often_enough() -> None:
    generator = np.random.default_rng(0)
    anomalous = np.arange(60) < 40
    hits = 0
    for _ in range(300):  # both models have the same AUROC, 0.98
        shared = generator.normal(size=60)
        base, other = (0.8 * shared + 0.6 * generator.normal(size=60) + 2.9 * anomalous for _ in range(2))
        result = paired_delong(base, other, anomalous)
        assert -1 <= result.low <= result.high <= 1
        hits += result.low <= 0 <= result.high
    assert hits >= 0.93 * 300


def test_degenerate_pairs() -> None:
    anomalous = np.array([False] * 5 + [True] * 5)
    perfect, ranks = np.arange(10.0), np.array([0.0, 3, 1, 5, 4, 2, 6, 7, 8, 9])
    same = paired_delong(ranks, ranks, anomalous)
    assert (same.difference, same.stderr, same.low, same.high, same.p) == (0, 0, 0, 0, 1)
    both = paired_delong(perfect, perfect**2, anomalous)
    assert (both.difference, both.stderr, both.p) == (0, 0, 1)
    assert both.low < 0 < both.high
    constant = paired_delong(np.zeros(10), perfect, anomalous)
    assert (constant.difference, constant.stderr) == (0.5, 0)
    assert math.isnan(constant.p)
    assert constant.low < 0.5 < constant.high
    single = paired_delong(ranks[4:], perfect[4:], anomalous[4:])
    assert math.isnan(single.stderr)
    assert math.isnan(single.p)
    assert single.low <= single.difference <= single.high
    with pytest.raises(ValueError, match="expected normal and anomalous scores, found 10 normal and 0"):
        paired_delong(ranks, ranks, np.zeros(10, bool))
    with pytest.raises(InputError, match="expected finite numbers"):
        paired_delong(np.full(10, np.nan), ranks, anomalous)
    with pytest.raises(InputError, match="expected those of the same images"):
        paired_delong(ranks[1:], ranks, anomalous)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([lambda x: 3 * x + 1, np.exp, lambda x: x**3]))
def test_monotone_transforms_of_the_scores_change_nothing(seed: int, transform) -> None:
    base, other, anomalous = two_models(seed, levels=1)
    assert paired_delong(transform(base), other, anomalous) == paired_delong(base, other, anomalous)
    swapped, result = paired_delong(other, base, anomalous), paired_delong(base, other, anomalous)
    assert swapped.difference == pytest.approx(-result.difference)
    assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))
    weights = np.random.default_rng(seed).integers(0, 3, (2, len(base))).astype(float)
    np.testing.assert_array_equal(
        weighted_auroc(transform(base), anomalous, weights), weighted_auroc(base, anomalous, weights)
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-50, 50).filter(bool), min_size=1, max_size=20, unique_by=abs))
def test_signed_ranks_are_scipys_without_ties(values: list[int]) -> None:
    result = signed_rank(np.array(values) / 1000)
    truth = wilcoxon(values, method="exact")
    assert result.p == pytest.approx(truth.pvalue)
    n = len(values)
    assert min(result.statistic, n * (n + 1) / 2 - result.statistic) == truth.statistic


def test_signed_ranks_with_ties_are_those_of_all_signs() -> None:
    values = np.array([0.001, 0.001, -0.001, 0.002, 0.003, 0.003, -0.005, 0.0])
    there = values[values != 0]
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(there).round(6))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(there))).reshape(len(there), -1)
    sums, found = ranks @ signs, ranks[there > 0].sum()
    truth = 2 * min((sums <= found).mean(), (sums >= found).mean())
    result = signed_rank(values)
    assert (result.statistic, result.n) == (found, 7)
    assert result.p == pytest.approx(truth)


def test_decimals_that_are_equal_differences_tie() -> None:
    assert signed_rank([0.993 - 0.992, 0.989 - 0.990]).p == 1
    assert signed_rank([0.993 - 0.992, 0.989 - 0.990]).statistic == 1.5


@pytest.mark.parametrize("values", [[], [0.0, 0.0, 0.0], [math.nan]])
def test_no_differences_are_an_answer(values: list[float]) -> None:
    assert (signed_rank(values).p, signed_rank(values).n) == (1, 0)
    assert (sign_test(values).p, sign_test(values).n) == (1, 0)
    assert str(wins_ties_losses(values)) == f"0/{values.count(0.0)}/0"


def test_one_difference_is_no_evidence() -> None:
    assert signed_rank([0.1]).p == 1
    assert sign_test([0.1, 0.1, 0.2, 0.3, -0.1]).p == pytest.approx(2 * 6 / 32)


def test_ties_have_a_tolerance() -> None:
    assert str(wins_ties_losses([0.0005, 0.00049, -0.00049, -0.0005])) == "1/2/1"
    assert str(wins_ties_losses([0.0005, 0.0, -1e-9], 0)) == "1/1/1"


def test_page_finds_a_trend_and_its_direction() -> None:
    generator = np.random.default_rng(0)
    gains = 0.01 * np.arange(6) + 0.005 * generator.normal(size=(10, 6))
    assert page_trend(gains).p < 0.001
    assert page_trend(gains[:, ::-1]).p > 0.99
    gains[0, 0] = math.nan
    assert page_trend(gains).n == 9
    assert math.isnan(page_trend(gains[:, :2]).p)
    assert math.isnan(page_trend(gains[:1]).p)
    # L of one block in perfect order is 1·1 + 2·2 + 3·3
    assert page_trend([[1, 2, 3], [1, 2, 3]]).statistic == 28
    assert page_trend([[1, 2, 3], [1, 2, 3]]).p == pytest.approx(1 / 36)


@pytest.mark.parametrize("levels", [0, 1])
def test_weighted_auroc_is_scikit_learns(levels: int) -> None:
    scores, _, anomalous = two_models(3, levels=levels)
    weights = np.random.default_rng(1).integers(0, 4, (20, len(scores))).astype(float)
    truth = [roc_auc_score(anomalous, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_auroc(scores, anomalous, weights), truth)
    assert np.isnan(weighted_auroc(scores, anomalous, anomalous[None].astype(float))[0])


def test_images_are_drawn_within_their_digit_for_all_tasks() -> None:
    digits = np.repeat(np.arange(10), 7)
    strata = strata_of([digits != digit for digit in range(10)])
    weights = np.concatenate(list(image_weights(strata, 120, np.random.default_rng(0))))
    assert weights.shape == (120, 70)
    for digit in range(10):
        assert (weights[:, digits == digit].sum(axis=1) == 7).all()
        assert len(set(strata[digits == digit])) == 1
    assert weights.var() == pytest.approx(6 / 7, rel=0.1)
    # with three tasks the seven other digits are one stratum
    assert len(set(strata_of([digits != digit for digit in range(3)]))) == 4


def test_drawing_seeds_gives_the_variance_of_their_mean() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3))
    aurocs = np.repeat(values[:, :, None], 40_000, axis=2)
    drawn = drawn_seeds([aurocs], False, np.random.default_rng(1))[0]
    np.testing.assert_allclose(drawn.mean(axis=1), values.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(drawn.var(axis=1), values.var(axis=1, ddof=1) / 3, rtol=0.05)
    single = drawn_seeds([aurocs[:, :1]], True, np.random.default_rng(1))[0]
    np.testing.assert_array_equal(single, aurocs[:, 0])


def test_tasks_that_share_a_seeds_effect_are_drawn_together() -> None:
    effects = np.random.default_rng(0).normal(size=(1, 4, 1))
    tasks = [np.repeat(effects + task, 40_000, axis=2) for task in range(5)]
    apart, together = (drawn_seeds(tasks, jointly, np.random.default_rng(1)).mean(axis=0) for jointly in (False, True))
    truth = effects.var(ddof=1) / 4
    assert together.var() == pytest.approx(truth, rel=0.05)
    assert apart.var() == pytest.approx(truth / 5, rel=0.05)


def test_the_wider_interval_is_given() -> None:
    narrow = np.linspace(0.4, 0.6, 101)
    found = widest(0.5, [narrow, 3 * narrow, narrow])
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 3 * 0.405, 3 * 0.595))


def made_tasks(generator: np.random.Generator, seeds: int) -> list[Task]:
    """Three digits of 60 images each; difficulty is the image's, a shift the seed's; LAMP gains nothing."""
    digits = np.repeat(np.arange(3), 60)
    difficulty = generator.normal(size=180)
    tasks = []
    for digit in range(3):
        anomalous = digits != digit
        shift = 0.4 * generator.normal(size=(1, seeds, 1))
        noise = 0.3 * generator.normal(size=(2, seeds, 180))
        tasks.append(Task(difficulty + noise + (1 + shift) * anomalous, anomalous))
    return tasks


def test_the_interval_of_the_average_is_the_spread_of_repeated_experiments() -> None:
    generator = np.random.default_rng(0)
    means, widths = [], []
    for number in range(60):
        each, _ = averages([made_tasks(generator, 3)], resamples=100, seed=number)
        means.append(each[0].mean)
        widths.append((each[0].high - each[0].low) / 3.92)
    assert np.mean(widths) == pytest.approx(np.std(means, ddof=1), rel=0.25)


def test_averages_are_plain_means_and_repeat() -> None:
    tasks = made_tasks(np.random.default_rng(0), 2)
    each, difference = averages([tasks], resamples=200, seed=5)
    truth = [
        np.mean([[roc_auc_score(task.anomalous, scores) for scores in task.scores[loss]] for task in tasks])
        for loss in (0, 1)
    ]
    assert [one.mean for one in each] == pytest.approx(truth)
    assert difference.mean == pytest.approx(truth[1] - truth[0])
    assert difference.low < difference.mean < difference.high
    assert averages([tasks], resamples=200, seed=5) == (each, difference)
    assert averages([tasks], resamples=200, seed=6)[1].low != difference.low
    # the losses share their images: the difference is known better than either
    assert difference.high - difference.low < each[0].high - each[0].low


@pytest.mark.parametrize("module", [statistics, cells, claims], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

"""AUROC against pair counting, a second implementation and repeated sampling."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tests.tolerance import ELEMENTWISE, rounding
from training.data.score import anomaly_score, auroc, wilson_interval

scores = st.lists(st.integers(-3, 3), min_size=1, max_size=25)


@given(scores, scores)
@settings(deadline=None)
def test_auroc_is_pair_counting_with_ties_half(normal: list[int], anomalous: list[int]) -> None:
    pairs = [(a > n) + 0.5 * (a == n) for n in normal for a in anomalous]
    assert auroc(np.array(normal), np.array(anomalous)).value == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auroc_is_scikit_learns() -> None:
    source = np.random.default_rng(0)
    normal, anomalous = source.normal(0, 1, 300).round(1), source.normal(0.8, 2, 200).round(1)
    expected = roc_auc_score(np.r_[np.zeros(300), np.ones(200)], np.r_[normal, anomalous])
    assert auroc(normal, anomalous).value == pytest.approx(expected, abs=1e-12)


def test_delong_variance_is_that_of_its_definition() -> None:
    source = np.random.default_rng(1)
    normal, anomalous = source.normal(0, 1, 40), source.normal(1, 1, 30)
    psi = (anomalous[:, None] > normal) + 0.5 * (anomalous[:, None] == normal)
    expected = psi.mean(1).var(ddof=1) / 30 + psi.mean(0).var(ddof=1) / 40
    assert auroc(normal, anomalous).stderr == pytest.approx(math.sqrt(expected), rel=1e-12)


@pytest.mark.parametrize(("shift", "least"), [(0.3, 0.92), (2.0, 0.92), (3.5, 0.90)])
def test_interval_covers_the_true_auroc(shift: float, least: float) -> None:
    truth = 0.5 * (1 + math.erf(shift / 2))
    source = np.random.default_rng(2)
    results = [auroc(source.normal(0, 1, 60), source.normal(shift, 1, 80)) for _ in range(500)]
    assert np.mean([result.low <= truth <= result.high for result in results]) >= least


def test_perfect_separation_has_an_interval_with_a_width() -> None:
    result = auroc(np.arange(50.0), np.arange(100.0, 140.0))
    assert (result.value, result.high) == (1.0, 1.0)
    assert 0.85 < result.low < 1
    reverse = auroc(np.arange(100.0, 140.0), np.arange(50.0))
    assert (reverse.value, reverse.low) == (0.0, 0.0)
    assert reverse.high == pytest.approx(1 - result.low)


def test_the_score_interval_solves_its_equation() -> None:
    """At AUROC 1 the lower limit θ has (1 - θ)² = z²·V(θ), V as Hanley and McNeil (1982) have it."""
    low = auroc(np.arange(30.0), np.arange(100.0, 120.0)).low
    n_star = (30 + 20) / 2 - 1
    variance = low * (1 - low) * (1 + n_star * (1 - low) / (2 - low) + n_star * low / (1 + low)) / (30 * 20)
    assert (1 - low) ** 2 == pytest.approx(1.959964**2 * variance, rel=1e-5)


def test_a_class_of_one_score_has_a_wide_interval_and_no_standard_error() -> None:
    result = auroc(np.array([0.55]), np.arange(49.0) / 49)
    assert math.isnan(result.stderr)
    assert result.high - result.low > 0.5


def test_nan_scores_give_nan_and_infinite_ones_are_ordered() -> None:
    assert math.isnan(auroc(np.array([0.0, np.nan]), np.array([1.0])).value)
    assert auroc(np.array([0.0, 1.0]), np.array([np.inf, 2.0])).value == 1


def test_an_absent_class_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected normal and anomalous scores, found 2 normal and 0 anomalous"):
        auroc(np.array([0.0, 1.0]), np.array([]))


def test_anomaly_score_is_the_mean_square_over_pixels() -> None:
    output, target = torch.rand(4, 3, 5, 6), torch.rand(4, 3, 5, 6)
    expected = np.array([np.mean((o - t) ** 2) for o, t in zip(output.numpy(), target.numpy(), strict=True)])
    rtol = rounding(3 * 5 * 6 + ELEMENTWISE)
    np.testing.assert_allclose(anomaly_score(output, target).numpy(), expected, rtol=rtol)
    np.testing.assert_allclose(anomaly_score(output.numpy(), target.numpy()), expected, rtol=rtol)


@pytest.mark.parametrize(("right", "count"), [(0, 1), (0, 40), (7, 9), (40, 40), (9_300, 10_000)])
def test_interval_of_an_accuracy_is_wilsons(right: int, count: int) -> None:
    expected = scipy.stats.binomtest(right, count).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(right / count, count), expected, rtol=1e-12, atol=1e-15)


def test_an_interval_needs_trials() -> None:
    with pytest.raises(ValueError, match="expected at least one trial, found 0"):
        wilson_interval(0.5, 0)

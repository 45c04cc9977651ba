"""The paired test of two AUROCs on the same images, after DeLong, DeLong and Clarke-Pearson (1988)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.score import auroc, check_classes, placements
from training.runtime.command import InputError

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class PairedResult:
    """AUROC of both, their difference (other - base), its standard error, 95% interval and two-sided p-value."""

    base: float
    other: float
    difference: float
    stderr: float
    low: float
    high: float
    p: float


def paired_delong(base: Scores, other: Scores, anomalous: NDArray[np.bool_]) -> PairedResult:
    """Compare the scores (n,) of two models on the same images, of which `anomalous` (n,) marks the anomalies.

    With a_j the share of normal scores below anomaly j, and b_i the share of anomalies above normal image i, of each
    model, the variance of the difference is `var_j(a' - a)/n_anomalous + var_i(b' - b)/n_normal`, and p =
    2Φ(-|d|/stderr).

    The interval is Zou and Donner's (2008, "MOVER"): it joins the intervals of the two AUROCs (logit, or the score
    interval where that has no width) by their DeLong correlation, so it is asymmetric and within [-1, 1] near AUROC 1.

    Degenerate cases: scores in the same order give 0, [0, 0] and p = 1. Where DeLong's variance is zero (perfect
    separation by both) p = 1 if the AUROCs are equal and NaN otherwise; with a single image of a class the standard
    error and p are NaN; the interval then takes the correlation to be 0, and has a width. ValueError without both
    classes, InputError for scores that are not finite or not of the same images.
    """
    check_scores(base, other, anomalous)
    one, two = (auroc(scores[~anomalous], scores[anomalous]) for scores in (base, other))
    difference = two.value - one.value
    a = [placements(scores[~anomalous], scores[anomalous]) for scores in (base, other)]
    b = [1 - placements(scores[anomalous], scores[~anomalous]) for scores in (base, other)]
    if one.stderr > 0 and np.array_equal(a[0], a[1]) and np.array_equal(b[0], b[1]):
        return PairedResult(one.value, two.value, 0.0, 0.0, 0.0, 0.0, 1.0)
    if min(len(a[0]), len(b[0])) < 2:
        stderr, correlation = math.nan, 0.0
    else:
        stderr = math.sqrt(_variance_of_mean(a[1] - a[0]) + _variance_of_mean(b[1] - b[0]))
        correlation = _correlation(one.stderr, two.stderr, stderr)
    low, high = _mover((one.value, one.low, one.high), (two.value, two.low, two.high), correlation)
    return PairedResult(one.value, two.value, difference, stderr, low, high, _p_value(difference, stderr))


def check_scores(base: Scores, other: Scores, anomalous: NDArray[np.bool_]) -> None:
    """Raise InputError unless the scores are finite and of the same images."""
    if not base.shape == other.shape == anomalous.shape:
        raise InputError(
            f"scores: expected those of the same images, found {base.shape}, {other.shape} and {anomalous.shape}"
        )
    check_classes(base[~anomalous], base[anomalous])
    if not (np.isfinite(base).all() and np.isfinite(other).all()):
        raise InputError("scores: expected finite numbers, found others; the run may have diverged")


def _variance_of_mean(values: Scores) -> float:
    return float(values.var(ddof=1)) / len(values)


def _correlation(one: float, two: float, of_difference: float) -> float:
    if not (one > 0 and two > 0):
        return 0.0
    return max(-1.0, min(1.0, (one**2 + two**2 - of_difference**2) / (2 * one * two)))


def _p_value(difference: float, stderr: float) -> float:
    if math.isnan(stderr):
        return math.nan
    if stderr == 0:
        return 1.0 if difference == 0 else math.nan
    return math.erfc(abs(difference) / stderr / math.sqrt(2))


def _mover(one: tuple[float, float, float], two: tuple[float, float, float], correlation: float) -> tuple[float, float]:
    """The interval of `two - one`, each (value, low, high)."""
    down, up = two[0] - two[1], two[2] - two[0]
    base_down, base_up = one[0] - one[1], one[2] - one[0]
    difference = two[0] - one[0]
    low = difference - math.sqrt(max(0.0, down**2 + base_up**2 - 2 * correlation * down * base_up))
    high = difference + math.sqrt(max(0.0, up**2 + base_down**2 - 2 * correlation * up * base_down))
    return max(-1.0, low), min(1.0, high)

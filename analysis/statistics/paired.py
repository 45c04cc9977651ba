"""Tests over tasks: wins, ties and losses; signed ranks; the sign test; Page's. Over seeds: Student, equivalence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE = 0.0005  # under half the last digit of AUROC with three decimals
LEVEL = 0.05
DECIMALS = 12  # 0.993 - 0.992 and 0.990 - 0.989 are equal differences


@dataclass(frozen=True)
class WinsTiesLosses:
    """Counts of positive, about zero and negative differences."""

    wins: int
    ties: int
    losses: int

    def __str__(self) -> str:
        return f"{self.wins}/{self.ties}/{self.losses}"


@dataclass(frozen=True)
class Outcome:
    """A statistic with its p-value, over `n` units; what it says is in the function that made it."""

    statistic: float
    p: float
    n: int


def differences_of(values: ArrayLike) -> NDArray[np.float64]:
    """The values that are there (not NaN), rounded so that equal decimals are equal numbers."""
    array = np.asarray(values, np.float64).ravel()
    return np.round(array[~np.isnan(array)], DECIMALS)


def wins_ties_losses(differences: ArrayLike, tolerance: float = TIE) -> WinsTiesLosses:
    """How many differences lie above, within (|d| < tolerance) and below; NaN counts as nothing.

    >>> str(wins_ties_losses([0.01, 0.0002, -0.001, float("nan")]))
    '1/1/1'
    """
    there = differences_of(differences)
    ties = int((np.abs(there) < tolerance).sum()) if tolerance > 0 else int((there == 0).sum())
    wins = int(((there > 0) & (np.abs(there) >= tolerance)).sum())
    return WinsTiesLosses(wins, ties, len(there) - wins - ties)


def signed_rank(differences: ArrayLike) -> Outcome:
    """Wilcoxon's signed-rank test, two-sided and exact, also with ties (by the distribution of their mid-ranks).

    W = sum of the ranks of |d| over d > 0; zero differences are left out (Wilcoxon 1945) and not counted in `n`.
    All ties, or nothing: p = 1 and W = 0.
    """
    from scipy.stats import rankdata

    there = differences_of(differences)
    there = there[there != 0]
    if len(there) == 0:
        return Outcome(0.0, 1.0, 0)
    doubled = np.round(2 * rankdata(np.abs(there))).astype(int)  # mid-ranks are halves
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1
    for rank in doubled:  # each difference is as likely negative as positive
        ways = (ways + np.concatenate([np.zeros(rank), ways[: len(ways) - rank]])) / 2
    statistic = int(doubled[there > 0].sum())
    tail = min(ways[: statistic + 1].sum(), ways[statistic:].sum())
    return Outcome(statistic / 2, min(1.0, 2 * float(tail)), len(there))


def sign_test(signs: ArrayLike) -> Outcome:
    """The exact two-sided sign test; zero and NaN are left out. The statistic is the number of positive ones."""
    from scipy.stats import binomtest

    there = differences_of(signs)
    positive, n = int((there > 0).sum()), int((there != 0).sum())
    return Outcome(positive, float(binomtest(positive, n).pvalue) if n else 1.0, n)


def page_trend(gains: ArrayLike) -> Outcome:
    """Page's L test (1963) that `gains` (tasks, conditions) increase from the first condition to the last; one-sided.

    Ranks are within a task, so tasks of different size of gain count alike. Tasks with a NaN are left out. Fewer than
    two tasks or three conditions: p is NaN.
    """
    from scipy.stats import page_trend_test

    array = np.round(np.atleast_2d(np.asarray(gains, np.float64)), DECIMALS)
    array = array[~np.isnan(array).any(axis=1)]
    if array.shape[0] < 2 or array.shape[1] < 3:
        return Outcome(math.nan, math.nan, array.shape[0])
    result = page_trend_test(array)
    return Outcome(float(result.statistic), float(result.pvalue), array.shape[0])


def mean_sd(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the values that are there; NaN where there are too few."""
    there = np.asarray(values, np.float64)
    there = there[~np.isnan(there)]
    mean = float(there.mean()) if len(there) else math.nan
    return mean, float(there.std(ddof=1)) if len(there) > 1 else math.nan


def slopes(values: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """The least-squares slope of each row of `values` (tasks, conditions) over `at` (conditions,), NaN if a value is.

    >>> slopes([[1, 3, 5], [0, float("nan"), 1]], [0, 1, 2]).tolist()
    [2.0, nan]
    """
    x = np.asarray(at, np.float64)
    x = x - x.mean()
    if not x.any():
        return np.full(len(np.atleast_2d(values)), math.nan)
    return np.atleast_2d(np.asarray(values, np.float64)) @ x / (x @ x)


@dataclass(frozen=True)
class MeanInterval:
    """A mean with Student's 95% interval over `count` values; NaN without values, and the interval without two."""

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Mean and mean ± t(0.975, n - 1)·s/√n of independent `values`."""
    count = len(values)
    mean = float(np.mean(values)) if count else math.nan
    if count < 2:
        return MeanInterval(mean, math.nan, math.nan, count)
    from scipy import stats

    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return MeanInterval(mean, mean - half, mean + half, count)


def equivalence_p(values: Sequence[float], margin: float) -> float:
    """Two one-sided t tests that the mean of independent `values` lies within ±margin (Schuirmann 1987) -> the p-value.

    The larger of both; at most 0.05 just where Student's 90% interval lies within the margin. NaN without two values.
    """
    count = len(values)
    if count < 2:
        return math.nan
    from scipy import stats

    distance = margin - abs(float(np.mean(values)))
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / error, count - 1))


def verdict(values: Sequence[float], margin: float) -> str:
    """What independent `values` say of their mean: equivalent to 0 within the margin (each of two one-sided tests at
    5%), else different from 0 (Student's 95% interval excludes it), else undecided, which two values mostly are."""
    if equivalence_p(values, margin) <= LEVEL:
        return f"no difference (equivalent within {margin:g})"
    found = mean_interval(values)
    return "difference" if found.low > 0 or found.high < 0 else "undecided"

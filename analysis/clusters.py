"""Cluster bootstrap: digits are drawn, and within each drawn digit training seeds, with all of a seed's checkpoints.

Checkpoints of a digit share its images and difficulty, those of a seed too their initial weights: drawn one by one they
would look like more evidence than they are (Field and Welsh 2007, "Bootstrapping clustered data"; Davison and Hinkley
1997, section 3.8).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
DEFINED = 0.9  # the share of resamples in which a statistic must be defined for its interval to be given


@dataclass(frozen=True)
class Draws:
    """Resamples of the rows of some digits. Of each digit: its rows, and for each time that it was drawn, in which
    resample that was and how often each of its rows stands there (draws, rows)."""

    count: int
    rows: list[Ints]
    resample: list[Ints]
    weights: list[Floats]

    def pooled(self) -> Floats:
        """How often each row stands in each resample (R, n)."""
        weights = np.zeros((self.count, sum(len(rows) for rows in self.rows)))
        for rows, resample, drawn in zip(self.rows, self.resample, self.weights, strict=True):
            np.add.at(weights, (resample[:, None], rows[None, :]), drawn)
        return weights

    def mean_within(self, statistic: Callable[[Ints, Floats], Floats], keep: Bools, least: int = 2) -> Floats:
        """The mean over the drawn digits of `statistic(rows, weights) -> (draws,)`, of rows that are kept -> (R,).

        A draw in which the statistic is NaN, and a digit with fewer than `least` kept rows, is left out of its
        resample's mean; NaN if there is no other.
        """
        total, number = np.zeros(self.count), np.zeros(self.count)
        for rows, resample, weights in zip(self.rows, self.resample, self.weights, strict=True):
            if keep[rows].sum() >= least and len(resample):
                values = statistic(rows[keep[rows]], weights[:, keep[rows]])
                there = ~np.isnan(values)
                total += np.bincount(resample[there], values[there], self.count)
                number += np.bincount(resample[there], minlength=self.count)
        return np.divide(total, number, out=np.full(self.count, np.nan), where=number > 0)


def draw_clusters(tasks: Ints, seeds: Ints, resamples: int, generator: np.random.Generator) -> Draws:
    """As many digits as there are, with replacement, and within each draw as many of its seeds as it has."""
    names = np.unique(tasks)
    drawn = generator.integers(len(names), size=(resamples, len(names)))
    found = Draws(resamples, [], [], [])
    for code, task in enumerate(names):
        rows = np.flatnonzero(tasks == task)
        resample = np.repeat(np.arange(resamples), (drawn == code).sum(axis=1))
        there, of_row = np.unique(seeds[rows], return_inverse=True)
        picked = generator.integers(len(there), size=(len(resample), len(there)))
        counts = (picked[:, :, None] == np.arange(len(there))).sum(axis=1)
        found.rows.append(rows)
        found.resample.append(resample)
        found.weights.append(counts[:, of_row.reshape(-1)].astype(np.float64))
    return found


def can_draw(tasks: Ints, seeds: Ints) -> bool:
    """Whether there is more than one digit or seed, so that resamples differ."""
    return len(np.unique(tasks)) > 1 or len(np.unique(seeds)) > 1


def mean_over_tasks(values: Floats, tasks: Ints) -> float:
    """The mean over digits of the means over a digit's rows; NaN rows are left out."""
    there = ~np.isnan(values)
    means = [values[there & (tasks == task)].mean() for task in np.unique(tasks[there])]
    return float(np.mean(means)) if means else math.nan


def percentile_interval(samples: Floats) -> tuple[float, float]:
    """The 95% percentile interval of the resamples in which the statistic is defined; NaN if those are too few."""
    there = samples[~np.isnan(samples)]
    if len(there) < DEFINED * len(samples) or len(there) == 0:
        return math.nan, math.nan
    low, high = np.quantile(there, [0.025, 0.975])
    return float(low), float(high)

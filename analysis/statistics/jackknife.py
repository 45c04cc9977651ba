"""Intervals over training seeds of any statistic, for the digits that there are: the jackknife that leaves out a seed.

Whole seeds are left out, with all their digits, batch sizes and losses, so that what a seed does to all of them is in
the interval. How often the intervals hold the truth, and how often those of the bootstrap do, is simulated in
`tests/analysis/statistics/test_coverage.py`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.clusters import Draws

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def without_each_seed(tasks: Ints, seeds: Ints) -> Draws | None:
    """As many resamples as there are seeds, each with every row but those of one seed; None of a single seed."""
    names = np.unique(seeds)
    if len(names) < 2:
        return None
    rows = [np.flatnonzero(tasks == task) for task in np.unique(tasks)]
    weights = [(names[:, None] != seeds[of_task]).astype(np.float64) for of_task in rows]
    return Draws(len(names), rows, [np.arange(len(names))] * len(rows), weights)


def jackknife_interval(value: float, without: Floats, within: tuple[float, float] = (-1.0, 1.0)) -> tuple[float, float]:
    """`value ± t(0.975, S - 1) √((S - 1)/S Σ (θ₍ₛ₎ - mean)²)`, cut to `within`; θ₍ₛ₎ (S,) is the value without seed s.

    Tukey (1958); of a mean of one number a seed it is Student's interval. NaN where a θ₍ₛ₎ is.
    """
    count = len(without)
    if count < 2 or math.isnan(value) or np.isnan(without).any():
        return math.nan, math.nan
    from scipy import stats

    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return max(value - half, within[0]), min(value + half, within[1])

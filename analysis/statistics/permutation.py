"""Permutation tests of many measures against one outcome within strata, corrected for their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 1000  # permutations at a time: with 180 rows a few MB
ROUNDING = 1e-9


@dataclass(frozen=True)
class Tests:
    """Of each measure: the statistic, its p-value, and that corrected for the number of measures; NaN if undefined."""

    statistic: Floats
    p: Floats
    p_corrected: Floats


def permutation_tests(
    measures: Sequence[Floats], outcome: Floats, strata: Ints, permutations: int, generator: np.random.Generator
) -> Tests:
    """Two-sided tests that the mean over strata of Spearman's coefficient within a stratum is zero.

    The outcome is permuted within each stratum, never across: digits differ in difficulty, so that under the null
    hypothesis AUROCs can be exchanged between checkpoints of a digit but not between digits. All measures see the same
    permutations, which keeps how they depend on each other. `p = (1 + #{|T*| ≥ |T|}) / (1 + permutations)`; corrected
    by the step-down maximum of the |T*|, each over its standard deviation under permutation (Westfall and Young 1993,
    "Resampling-based multiple testing", algorithm 4.1; max T), which controls the family-wise error rate.

    `measures`: each (n,), NaN where it is missing, and such rows take no part in it. Undefined is what is constant
    within every stratum.
    """
    table = np.stack(list(measures))
    found = statistics_of(table, outcome[None, :], strata)[0]
    defined = np.flatnonzero(~np.isnan(found))
    p, corrected = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if len(defined):
        shuffles = permuted_within(outcome, strata, permutations, generator)
        permuted = np.concatenate([statistics_of(table[defined], shuffled, strata) for shuffled in shuffles])
        permuted = np.abs(np.nan_to_num(permuted))
        scale = np.sqrt((permuted**2).mean(axis=0))
        scale[scale == 0] = 1
        p[defined], corrected[defined] = step_down(np.abs(found[defined]) / scale, permuted / scale)
    return Tests(found, p, corrected)


def permuted_within(
    outcome: Floats, strata: Ints, permutations: int, generator: np.random.Generator
) -> Iterator[Floats]:
    """The outcome permuted within each stratum, in chunks (≤ CHUNK, n)."""
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for start in range(0, permutations, CHUNK):
        shuffled = np.tile(outcome, (min(CHUNK, permutations - start), 1))
        for rows in members:
            shuffled[:, rows] = generator.permuted(shuffled[:, rows], axis=1)
        yield shuffled


def statistics_of(measures: Floats, outcomes: Floats, strata: Ints) -> Floats:
    """The mean over strata of Spearman's coefficient of each measure (M, n) with each outcome (P, n) -> (P, M)."""
    total, number = np.zeros((2, len(outcomes), len(measures)))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        there = ~np.isnan(measures[:, rows])
        for pattern in np.unique(there, axis=0):  # outcomes are ranked once for all measures that lack the same rows
            if pattern.sum() > 1:
                columns = np.flatnonzero((there == pattern).all(axis=1))
                of_measures, measured = unit_ranks(measures[np.ix_(columns, rows[pattern])])
                of_outcomes, varied = unit_ranks(outcomes[:, rows[pattern]])
                total[:, columns] += of_outcomes @ of_measures.T
                number[:, columns] += np.outer(varied, measured)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def unit_ranks(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The mid-ranks of each row, centred and of length 1 (0 for a constant), and which rows are not constant."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1))
    varied = lengths > ROUNDING
    ranks[~varied] = 0
    return ranks / np.where(varied, lengths, 1)[:, None], varied


def step_down(observed: Floats, permuted: Floats) -> tuple[Floats, Floats]:
    """Uncorrected and step-down max-T p-values of |statistics| (M,) from those of the permutations (P, M)."""
    count = len(permuted) + 1
    p = (1 + (permuted >= observed - ROUNDING).sum(axis=0)) / count
    order = np.argsort(-observed, kind="stable")
    maxima = np.maximum.accumulate(permuted[:, order[::-1]], axis=1)[:, ::-1]
    stepped = (1 + (maxima >= observed[order] - ROUNDING).sum(axis=0)) / count
    corrected = np.empty_like(stepped)
    corrected[order] = np.maximum.accumulate(stepped)
    return p, corrected

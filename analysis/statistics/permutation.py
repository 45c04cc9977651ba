"""Permutation tests of many measures against one outcome where training seeds are crossed with digits.

A seed gives every digit the same initial weights and order of images, so that what it does may be shared by all digits,
and the digits of one seed are not independent. Batch sizes and losses are chosen and are never exchanged.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 1000  # permutations at a time: with 300 rows a few MB
ROUNDING = 1e-9


@dataclass(frozen=True)
class Tests:
    """Of each measure: the statistic, its p-value, and that corrected for the number of measures; NaN if undefined."""

    statistic: Floats
    p: Floats
    p_corrected: Floats


def crossed_tests(
    measures: Sequence[Floats],
    outcome: Floats,
    digits: Ints,
    seeds: Ints,
    conditions: Ints,
    permutations: int,
    generator: np.random.Generator,
) -> Tests:
    """Two-sided tests that measures and outcome have nothing in common where the seed alone differs.

    All arrays are (n,), a row a checkpoint; a condition is all settings but digit and seed. The statistic is Pearson's
    correlation of ranks over the seeds of a cell (a digit and condition), less their mean over digits for that seed and
    condition. So the difficulty of a digit, the effect of a batch size in it, and what a seed does to all digits alike
    take no part. The outcome of whole digits is permuted, and that of whole seeds, each with all its conditions; under
    the null hypothesis neither changes the distribution if the outcomes of digits × seeds are separately exchangeable
    (Aldous 1981), whatever effects digits and seeds have on all that is theirs. All measures see the same permutations.
    `p = (1 + #{|T*| ≥ |T|}) / (1 + permutations)`; corrected by the step-down maximum of the |T*|, each over its root
    mean square under permutation (Westfall and Young 1993, "Resampling-based multiple testing", algorithm 4.1; max T),
    which controls the family-wise error rate.

    A NaN of a measure takes no part in its cell. Conditions that some digit lacks for some seed are left out.
    Everything is NaN without two digits and two seeds that have a condition in common, and what varies in no cell.
    """
    rows = crossed(digits, seeds, conditions)
    nothing = np.full(len(measures), np.nan)
    if min(rows.shape) == 0 or min(rows.shape[:2]) < 2:
        return Tests(nothing, nothing.copy(), nothing.copy())
    of_measures = np.stack([residual_ranks(values[rows]).ravel() for values in measures])
    of_outcome = residual_ranks(outcome[rows])
    lengths = np.linalg.norm(of_measures, axis=1) * np.linalg.norm(of_outcome)
    defined = np.flatnonzero(lengths > ROUNDING)
    statistic, p, corrected = nothing, nothing.copy(), nothing.copy()
    if len(defined):
        unit = of_measures[defined] / lengths[defined, None]
        statistic[defined] = unit @ of_outcome.ravel()
        shuffles = permuted(of_outcome, permutations, generator)
        found = np.abs(np.concatenate([shuffled.reshape(len(shuffled), -1) @ unit.T for shuffled in shuffles]))
        scale = np.sqrt((found**2).mean(axis=0))
        scale[scale == 0] = 1
        p[defined], corrected[defined] = step_down(np.abs(statistic[defined]) / scale, found / scale)
    return Tests(statistic, p, corrected)


def crossed(digits: Ints, seeds: Ints, conditions: Ints) -> Ints:
    """The rows as a table (seeds, digits, conditions) of the conditions that every digit has for every seed.

    >>> crossed(np.array([0, 0, 1, 1, 1]), np.array([3, 4, 3, 4, 4]), np.array([0, 0, 0, 0, 9])).tolist()
    [[[0], [2]], [[1], [3]]]
    """
    axes = [np.unique(labels, return_inverse=True) for labels in (seeds, digits, conditions)]
    table = np.full([len(names) for names, _ in axes], -1, np.int64)
    table[tuple(place.reshape(-1) for _, place in axes)] = np.arange(len(digits))
    return table[:, :, (table >= 0).all(axis=(0, 1))]


def residual_ranks(values: Floats) -> Floats:
    """Ranks of values (S, D, C) over the S seeds of each cell, of length 1, less their mean over the D digits.

    A mid-rank less the mean rank is half the sum of signs of the differences; NaN, and constants, have 0.
    """
    with np.errstate(invalid="ignore"):  # inf - inf is a tie
        signs = np.sign(values[:, None] - values[None, :])
    ranks = np.nan_to_num(signs).sum(axis=1)
    lengths = np.linalg.norm(ranks, axis=0)
    ranks = np.divide(ranks, lengths, out=np.zeros_like(ranks), where=lengths > 0)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True), np.float64)


def permuted(table: Floats, permutations: int, generator: np.random.Generator) -> Iterator[Floats]:
    """The table (S, D, C) with whole seeds and whole digits permuted, in chunks (≤ CHUNK, S, D, C)."""
    for start in range(0, permutations, CHUNK):
        shape = min(CHUNK, permutations - start), 1
        of_seeds, of_digits = (generator.permuted(np.tile(np.arange(n), shape), axis=1) for n in table.shape[:2])
        yield table[of_seeds[:, :, None], of_digits[:, None, :]]


def least_p_of_seeds(seeds: int) -> float:
    """The least two-sided p-value that permutations of so many whole seeds can give.

    Of two seeds the one other permutation turns the sign of what differs between them, and its size stays.
    """
    return 1.0 if seeds <= 2 else 1 / math.factorial(seeds)


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

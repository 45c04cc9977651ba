"""Crossed permutation tests against all permutations, scipy's ranks and a slow step-down; the error rate kept."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.permutation import (
    crossed,
    crossed_tests,
    least_p_of_seeds,
    permuted,
    residual_ranks,
    step_down,
)
from tests.analysis.statistics.made_sweeps import Sweeps

pytestmark = pytest.mark.filterwarnings("error")


def design(seeds: int, digits: int, conditions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digit, seed and condition of each row, seeds slowest."""
    of_seed, of_digit, of_condition = np.indices((seeds, digits, conditions)).reshape(3, -1)
    return of_digit, of_seed, of_condition


def test_ranks_are_scipys_within_a_cell_less_their_mean_over_digits() -> None:
    values = np.random.default_rng(0).integers(4, size=(5, 3, 2)).astype(float)
    values[0, 1, 0] = np.inf
    values[3, 1, 0] = np.inf  # a tie
    values[2, 2, 1] = np.nan
    ranks = np.zeros_like(values)
    for digit, condition in np.ndindex(3, 2):
        cell = values[:, digit, condition]
        there = ~np.isnan(cell)
        centred = stats.rankdata(cell[there]) - (there.sum() + 1) / 2
        ranks[there, digit, condition] = centred / np.sqrt((centred**2).sum())
    np.testing.assert_allclose(residual_ranks(values), ranks - ranks.mean(axis=1, keepdims=True), atol=1e-15)
    assert not residual_ranks(np.ones((4, 3, 2))).any()


def test_p_is_that_of_all_permutations_of_digits_and_of_seeds() -> None:
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(2, 3, 4, 2))
    found = crossed_tests([x.ravel()], y.ravel(), *design(3, 4, 2), 19999, np.random.default_rng(0))
    ranks_x, ranks_y = residual_ranks(x), residual_ranks(y)
    every = [
        np.corrcoef(ranks_x.ravel(), ranks_y[list(of_seeds)][:, list(of_digits)].ravel())[0, 1]
        for of_seeds in itertools.permutations(range(3))
        for of_digits in itertools.permutations(range(4))
    ]
    assert len(every) == 144
    assert found.statistic[0] == pytest.approx(every[0])
    truth = (np.abs(every) >= abs(every[0]) - 1e-9).mean()
    # 4 standard deviations of a share of 19,999 draws
    assert found.p[0] == pytest.approx(truth, abs=4 * np.sqrt(truth * (1 - truth) / 19999) + 1 / 20000)
    assert found.p_corrected[0] == found.p[0]  # of one measure there is nothing to correct


def test_whole_seeds_and_whole_digits_move_and_conditions_stay() -> None:
    table = np.arange(2500.0 * 6).reshape(50, 50, 6)
    (moved,) = permuted(table, 2, np.random.default_rng(0))
    for one in moved:
        assert not np.array_equal(one, table)
        np.testing.assert_array_equal(np.diff(one, axis=2), 1)
        of_seeds, of_digits = (one[:, 0, 0] // 300).astype(int), (one[0, :, 0] % 300 // 6).astype(int)
        np.testing.assert_array_equal(one, table[of_seeds][:, of_digits])
    assert sum(len(part) for part in permuted(table[:2, :2], 2500, np.random.default_rng(0))) == 2500


def test_what_a_digit_a_condition_or_a_seed_has_alone_takes_no_part() -> None:
    """A measure and an outcome that both have large effects of seeds, digits and conditions, and p as without."""
    generator = np.random.default_rng(4)
    x, y = generator.normal(size=(2, 2, 6, 3))
    effects = 10 * generator.normal(size=(1, 6, 3))
    plain = crossed_tests([x.ravel()], y.ravel(), *design(2, 6, 3), 999, np.random.default_rng(0))
    moved = crossed_tests(
        [(x + effects).ravel()], (y - effects).ravel(), *design(2, 6, 3), 999, np.random.default_rng(0)
    )
    assert moved.p[0] == plain.p[0]
    shared = np.array([0.0, 100.0])[:, None, None]  # the second seed has more of both in every cell
    nothing = crossed_tests([(x + shared).ravel()], (y + shared).ravel(), *design(2, 6, 3), 99, generator)
    assert np.isnan(nothing.p[0])


def test_incomplete_designs() -> None:
    digits, seeds, conditions = design(3, 4, 2)
    x = np.random.default_rng(5).normal(size=24)
    kept = np.arange(24) != 7  # without one row of condition 1
    rows = crossed(digits[kept], seeds[kept], conditions[kept])
    assert rows.shape == (3, 4, 1)
    assert not conditions[kept][rows].any()
    for lonely in ((digits * 0, seeds), (digits, seeds * 0)):
        places = np.arange(24)  # conditions of their own, so that no place has two rows
        assert np.isnan(crossed_tests([x], x, *lonely, places, 99, np.random.default_rng(0)).p).all()
    assert [least_p_of_seeds(count) for count in (2, 3, 4)] == [1, 1 / 6, 1 / 24]


def test_step_down_is_the_slow_one() -> None:
    """Algorithm 4.1 of Westfall and Young: by the statistic's order, each against the maximum of those left."""
    generator = np.random.default_rng(1)
    observed, permuted = generator.random(6), generator.random((199, 6))
    p, corrected = step_down(observed, permuted)
    order, before = sorted(range(6), key=lambda m: -observed[m]), 0.0
    for position, m in enumerate(order):
        rest = order[position:]
        count = sum(max(row[k] for k in rest) >= observed[m] for row in permuted)
        before = max(before, (1 + count) / 200)
        assert corrected[m] == pytest.approx(before)
        assert p[m] == pytest.approx((1 + (permuted[:, m] >= observed[m]).sum()) / 200)
    assert (corrected >= p).all()


def test_the_family_wise_error_rate_is_kept() -> None:
    """Eight measures, four of them alike, none related to the outcome: corrected, one is found in 5% of families."""
    generator = np.random.default_rng(2)
    made, found, uncorrected = Sweeps(seeds=3, shared=1.0), 0, 0
    for _ in range(200):
        first, outcome = made.draw(generator)
        measures = [made.draw(generator)[0] for _ in range(4)]
        measures += [first + 0.5 * made.draw(generator)[0] for _ in range(4)]
        tests = crossed_tests([m.ravel() for m in measures], outcome.ravel(), *made.labels(), 99, generator)
        found += tests.p_corrected.min() <= 0.05
        uncorrected += tests.p.min() <= 0.05
    assert found <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)
    assert uncorrected > 2 * found


def test_a_strong_measure_does_not_hide_the_next() -> None:
    """Step-down, and difficulty of the digits that would drown both if it took part."""
    generator = np.random.default_rng(3)
    quality = generator.normal(size=(3, 10, 4))
    difficulty = 100 * np.arange(10)[:, None]
    measures = [quality, quality + 0.5 * generator.normal(size=quality.shape), generator.normal(size=quality.shape)]
    flat = [m.ravel() for m in (*measures, np.ones_like(quality))]
    tests = crossed_tests(flat, (quality + difficulty).ravel(), *design(3, 10, 4), 999, generator)
    assert tests.statistic[0] == pytest.approx(1)
    np.testing.assert_allclose(tests.p_corrected[:2], 0.001)
    assert tests.p_corrected[2] > 0.05
    assert np.isnan([tests.statistic[3], tests.p[3], tests.p_corrected[3]]).all()

"""Intervals over seeds: of a mean Student's, and the rows that are left out."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.jackknife import jackknife_interval, without_each_seed

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_a_mean_it_is_students_interval(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    without = np.array([np.delete(values, seed).mean() for seed in range(count)])
    found = jackknife_interval(values.mean(), without, within=(-math.inf, math.inf))
    assert found == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval())
    cut = jackknife_interval(values.mean(), without, within=(-0.1, 0.1))
    assert cut[0] >= -0.1
    assert cut[1] <= 0.1


def test_where_a_value_is_not_defined_there_is_no_interval() -> None:
    for value, without in ((0.5, [0.5]), (0.5, [0.4, math.nan]), (math.nan, [0.4, 0.5])):
        assert np.isnan(jackknife_interval(value, np.array(without))).all()


def test_every_row_of_a_seed_is_left_out_at_once() -> None:
    tasks, seeds = np.array([0, 0, 1, 1, 1]), np.array([3, 9, 9, 3, 9])
    draws = without_each_seed(tasks, seeds)
    assert draws is not None
    assert draws.pooled().tolist() == [[0, 1, 1, 0, 1], [1, 0, 0, 1, 0]]
    assert without_each_seed(tasks, np.zeros(5, int)) is None

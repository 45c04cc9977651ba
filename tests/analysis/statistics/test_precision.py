"""Where spread comes from, against simulated noise; plans against the half-widths that they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.precision import Spread, plan, plan_text, spread_of

pytestmark = pytest.mark.filterwarnings("error")
NAN = math.nan


def half_width(seeds: int, variance: float) -> float:
    return float(stats.t.ppf(0.975, seeds - 1)) * math.sqrt(variance / seeds)


def test_noise_and_seeds_are_told_apart() -> None:
    """2,000 cells × 3 seeds: seeds add a variance of 4 to a difference, measurement one of 1."""
    generator = np.random.default_rng(0)
    cells, seeds = np.repeat(np.arange(2000), 3), np.tile([5, 7, 9], 2000)
    values = np.zeros((6000, 2))
    values[:, 1] = 3 + 2 * generator.normal(size=6000) + generator.normal(size=6000)
    d = values[:, 1] + 10 * generator.normal(size=2000)[cells]  # cells differ, which is no spread of seeds
    found = spread_of(d, np.ones(6000), cells, seeds, values, cells)
    assert found.within == pytest.approx(5, rel=0.05)
    assert found.noise_share == pytest.approx(0.2, rel=0.05)
    assert found.between_seeds == pytest.approx(math.sqrt(5 / 2), rel=0.05)
    assert found.mean_noise == pytest.approx(1 / 2000)
    for number in range(3):
        assert found.of_seed[number] == pytest.approx(d[number::3].mean())


def test_seed_means_are_over_cells_that_have_all_seeds() -> None:
    d = np.array([1.0, 2.0, 30.0, 3.0, 5.0])
    cells, seeds = np.array([0, 0, 1, 2, 2]), np.array([1, 0, 0, 0, 1])
    found = spread_of(d, np.full(5, NAN), cells, seeds, np.zeros((5, 2)), np.zeros(5, int))
    assert found.of_seed.tolist() == [2.5, 3.0]
    assert found.within == pytest.approx((0.5 + 2) / 2)
    assert math.isnan(found.noise_share)
    alone = spread_of(d[:1], np.ones(1), cells[:1], seeds[:1], np.zeros((1, 2)), cells[:1])
    assert math.isnan(alone.within)
    nothing = spread_of(d[:0], d[:0], cells[:0], seeds[:0], np.zeros((0, 2)), cells[:0])
    assert len(nothing.of_seed) == 0
    assert "no plan without two training seeds" in plan_text("x", nothing, 0.1)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.97])
def test_plans_keep_what_they_promise(noise: float) -> None:
    of_seed = np.array([1.0, 1.2, 1.5, 0.9])
    size, variance = of_seed.mean(), of_seed.var(ddof=1)
    spread = Spread(of_seed, 1, noise, noise * variance, 1)
    found = plan(spread, 0.1)
    assert found.half == pytest.approx(half_width(4, variance) / size)
    assert found.of_seeds == pytest.approx(half_width(4, (1 - noise) * variance) / size)
    assert half_width(found.seeds, variance) <= 0.1 * size < half_width(found.seeds - 1, variance)
    if noise < 0.9:
        assert found.planes == math.inf
        assert found.of_seeds > 0.1
    else:
        left = (1 - noise) * variance + noise * variance / found.planes
        assert half_width(4, left) == pytest.approx(0.1 * size)
        assert found.planes > 1


def test_sentences() -> None:
    of_seed = np.array([1.0, 1.2, 1.5, 0.9])
    v = of_seed.var(ddof=1)
    known = plan_text("trace@l2", Spread(of_seed, 1.0, 0.25, 0.25 * v, 1), 0.1)
    assert known.startswith(
        "trace@l2: noise of measurement is at most 25% of the variance between training seeds; the interval"
    )
    assert known.endswith(" training seeds with planes as they are; planes alone do not suffice.")
    of_auroc = plan_text("auroc", Spread(of_seed, 1.0, 0.25, 0.25 * v, 1), 0.1)
    assert of_auroc.endswith("test images alone do not suffice.")
    assert "times as many planes" in plan_text("x", Spread(of_seed, 1, 0.9, 0.95 * v, 1), 0.1)
    assert "which is precise enough for ±90%" in plan_text("x", Spread(of_seed, 1, 0.9, 0.9 * v, 1), 0.9)
    unknown = plan_text("x", Spread(of_seed, 1, NAN, NAN, 1), 0.1)
    assert "not known (no standard errors)" in unknown
    assert unknown.endswith("training seeds.")
    assert "more than 1000 training seeds" in plan_text(
        "x", Spread(of_seed - of_seed.mean() + 0.01, 1, NAN, NAN, 1), 0.1
    )
    assert "the difference is 0" in plan_text("x", Spread(np.zeros(3), 0, 0, 0, 0), 0.1)

"""The mean rise under Gaussian noise, against closed forms; its standard error against the spread of repeated runs."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.measures.average_case import mean_rise
from tests.analysis.measures.test_worst_case import at_its_minimum, linear, overflowing

#: eigenvalues of |θ|H|θ| of a loss of whose curvature few directions carry most, as a trained model's do
EIGENVALUES = torch.tensor([1.0, 0.7, 0.5, *[0.3] * 8, *[0.05] * 40], dtype=torch.float64)


@dataclass
class Quadratic:
    """½ Σ λᵢ δᵢ² + g·δ about weights of 1, with what `mean_rise` asks of an objective."""

    base: Tensor = field(default_factory=lambda: torch.ones_like(EIGENVALUES))
    at: Tensor = field(default_factory=lambda: torch.ones_like(EIGENVALUES))
    slope: float = 3.0

    @property
    def size(self) -> int:
        return len(self.base)

    def move_to(self, weights: Tensor) -> None:
        self.at = weights

    def value(self) -> float:
        change = self.at - self.base
        return float(0.5 * (EIGENVALUES * change.square()).sum() + self.slope * change.sum())


def test_the_mean_rise_is_the_scaled_trace() -> None:
    objective, hessian = at_its_minimum()
    expected = 0.5 * 0.05**2 * float((objective.base.square() * hessian.diag()).sum())
    rise = mean_rise(objective, 0.05, 0, most=1024)
    assert rise.precise
    assert rise.stderr <= 0.05 * rise.value
    assert abs(rise.value - expected) < 4 * rise.stderr


def test_a_mean_rise_has_no_first_order_part() -> None:
    rise = mean_rise(linear(), 0.5, 0, most=3)
    assert (rise.value, rise.stderr) == pytest.approx((0, 0), abs=1e-12)


def test_the_standard_error_covers_the_closed_form() -> None:
    """Of 300 runs 95% should have the truth within 1.96 standard errors; 91.2% is three binomial deviations less."""
    truth = 0.5 * 0.1**2 * float(EIGENVALUES.sum())
    runs = [mean_rise(Quadratic(), 0.1, seed) for seed in range(300)]  # type: ignore[arg-type]
    values, errors = (np.array([getattr(run, name) for run in runs]) for name in ("value", "stderr"))
    assert (abs(values - truth) <= 1.96 * errors).mean() > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)
    # The spread over 300 runs has a relative error of about 1/√600; the stated errors are to be as large.
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(ddof=1), rel=4 / math.sqrt(600))
    assert all(run.precise for run in runs)
    assert {run.draws for run in runs} <= {64, 128, 256}


def test_a_handful_of_draws_does_not_cover() -> None:
    """Why there are so many: stated by six draws, errors miss the truth several times as often as they should."""
    truth = 0.5 * 0.1**2 * float(EIGENVALUES.sum())
    runs = [mean_rise(Quadratic(), 0.1, seed, fewest=6, most=6) for seed in range(300)]  # type: ignore[arg-type]
    missed = [abs(run.value - truth) > 1.96 * run.stderr for run in runs]
    assert np.mean(missed) > 0.05 + 3 * math.sqrt(0.95 * 0.05 / 300)


def test_opposite_draws_need_none_of_the_gradient() -> None:
    flat, steep = (mean_rise(Quadratic(slope=slope), 0.1, 0) for slope in (0.0, 1e3))  # type: ignore[arg-type]
    assert steep.value == pytest.approx(flat.value, rel=1e-6)
    assert steep.stderr == pytest.approx(flat.stderr, rel=1e-6)


def test_the_draws_end_at_their_bound() -> None:
    rise = mean_rise(Quadratic(), 0.1, 0, precision=1e-6, most=100)  # type: ignore[arg-type]
    assert (rise.draws, rise.precise) == (100, False)


def test_a_loss_that_overflows_is_an_infinite_mean() -> None:
    rise = mean_rise(overflowing(), 1.0, 0)
    assert rise.value == math.inf
    assert (rise.draws, rise.precise) == (64, False)

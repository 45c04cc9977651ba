"""Sharpness within a box and within balls, against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

from analysis.measures.ascent import Search
from analysis.measures.average_case import mean_rise
from analysis.measures.worst_case import ball, keskar
from landscape.engine.metrics import resolve_metrics
from landscape.hessian.objective import Objective
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem, Samples
from tests.problems import quadratic

SEARCH = Search()


class Tilted(nn.Module):
    """Its output is a·θ: a loss linear in the weights, whose maxima over sets are known."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.theta


A = torch.tensor([3.0, -1.0, 2.0, 0.0], dtype=torch.float64)


def linear() -> Objective:
    problem = Problem(Tilted(), {"train": Samples(A.repeat(6, 1), torch.zeros(6, dtype=torch.float64))})
    return Objective(problem, Metric("value", "a·θ", lambda output, target: output, over=("train",)))


def at_its_minimum() -> tuple[Objective, Tensor]:
    """The quadratic problem at its least-squares solution, and its Hessian."""
    problem = quadratic()
    x, t = problem.sets["train"]
    with torch.no_grad():
        problem.model.weight.copy_(torch.linalg.lstsq(x, t).solution.T)
    objective = Objective(problem, resolve_metrics(problem, ["l2"])[0])
    return objective, 2 * torch.kron(torch.eye(3, dtype=torch.float64), x.T @ x / len(x))


def test_keskar_of_a_linear_loss_is_the_corner_of_the_box() -> None:
    objective = linear()
    bounds = 0.01 * (objective.base.abs() + 1)
    rise = keskar(objective, 0.01, SEARCH)
    assert rise.value == pytest.approx(float(bounds @ A.abs()), rel=1e-9)
    assert (rise.change.abs() <= bounds * (1 + 1e-12)).all()


def test_sam_of_a_linear_loss_is_rho_times_the_gradient() -> None:
    rise = ball(linear(), 0.3, SEARCH)
    assert rise.value == pytest.approx(0.3 * float(A.norm()), rel=1e-6)
    assert float(rise.change.norm()) <= 0.3 * (1 + 1e-9)


def test_asam_of_a_linear_loss_is_rho_times_the_scaled_gradient() -> None:
    objective = linear()
    scale = objective.base.abs()
    rise = ball(objective, 0.3, SEARCH, scale)
    assert rise.value == pytest.approx(0.3 * float((scale * A).norm()), rel=1e-6)
    assert rise.change[2] == 0  # a weight of 0 stays


def test_sam_at_a_minimum_is_half_the_largest_eigenvalue() -> None:
    objective, hessian = at_its_minimum()
    expected = 0.5 * 0.1**2 * float(torch.linalg.eigvalsh(hessian)[-1])
    rise = ball(objective, 0.1, SEARCH)
    assert 0.99 * expected < rise.value <= expected * (1 + 1e-9)
    assert rise.converged


def test_from_the_middle_alone_a_minimum_has_no_way_up() -> None:
    objective, hessian = at_its_minimum()
    top = 0.5 * 0.1**2 * float(torch.linalg.eigvalsh(hessian)[-1])
    assert ball(objective, 0.1, Search(steps=1, starts=1)).value < 1e-9 * top


def test_the_objective_is_left_at_its_base() -> None:
    objective = linear()
    before = objective.value()
    keskar(objective, 0.1, SEARCH), ball(objective, 0.1, SEARCH), mean_rise(objective, 0.1, 0, most=2)
    assert objective.value() == before


def overflowing() -> Objective:
    problem = Problem(Tilted(), {"train": Samples(A.repeat(2, 1), torch.zeros(2, dtype=torch.float64))})
    metric = Metric("exp", "exp(1e4·a·θ)", lambda output, target: (1e4 * (output - 5)).exp(), over=("train",))
    return Objective(problem, metric)


def test_a_loss_that_overflows_is_an_infinite_rise() -> None:
    assert ball(overflowing(), 1.0, SEARCH).value == math.inf

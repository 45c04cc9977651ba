"""Extreme eigenvalues of the Hessian as metrics of a surface, against dense Hessians."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import landscape
from landscape.directions.normalization import random_directions
from landscape.engine.batchnorm import recalibrate
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.files.grid import read_grid
from landscape.problem.params import Mover
from landscape.problem.problem import Problem, Samples
from tests.conftest import run_python
from tests.problems import quadratic
from training.runtime.command import InputError

CPU = torch.device("cpu")
SHARP = 1e-6  # an eigenvalue is off by less than its residual, which is this share of it


@pytest.fixture
def sharp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landscape.engine.extremes.TOLERANCE", SHARP)


def bent() -> Problem:
    """A small network in double precision whose Hessian changes from point to point, with batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double().eval()
        x, t = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    return Problem(model, {"train": Samples(x, t), "test": Samples(2 * x, t)}, name="bent")


def dense(problem: Problem, steps: tuple[float, float], which: str) -> tuple[float, float]:
    """λmin and λmax at a point of the plane of seed 0, from the whole Hessian."""
    x, t = problem.sets[which]
    names = [name for name, _ in problem.model.named_parameters()]
    base = {name: p.detach() for name, p in problem.model.named_parameters()}
    for step, direction in zip(steps, random_directions(problem.model, 0), strict=True):
        base = {name: value + step * direction.params[name] for name, value in base.items()}
    sizes = [base[name].numel() for name in names]

    def loss(row: torch.Tensor) -> torch.Tensor:
        parts = {name: part.view_as(base[name]) for name, part in zip(names, row.split(sizes), strict=True)} | dict(
            problem.model.named_buffers()
        )
        return (functional_call(problem.model, parts, (x,)) - t).square().sum(1).mean()

    hessian = torch.autograd.functional.hessian(loss, torch.cat([base[name].flatten() for name in names]))
    values = torch.linalg.eigvalsh(hessian)
    return float(values[0]), float(values[-1])


def test_the_eigenvalues_of_a_quadratic_are_the_same_everywhere() -> None:
    problem = quadratic()
    x = problem.sets["train"].inputs
    values = 2 * torch.linalg.eigvalsh(x.T @ x / len(x))
    metrics = "l2,lambda-max,lambda-min,lambda-ratio"
    grid = landscape.compute(problem, x="-1:1:3", y="-1:1:3", metrics=metrics, threads=1)
    assert grid.values["lambda-max"] == pytest.approx(np.full((1, 3, 3), float(values[-1])), rel=1e-9)
    assert grid.values["lambda-min"] == pytest.approx(np.full((1, 3, 3), float(values[0])), rel=1e-9)
    assert grid.values["lambda-ratio"] == pytest.approx(np.full((1, 3, 3), float(values[0] / values[-1])), rel=1e-9)
    assert np.isnan(grid.stderr["lambda-max"]).all()
    assert len(np.unique(grid.values["l2"])) > 1


@pytest.mark.usefixtures("sharp")
@pytest.mark.parametrize("steps", [(0.0, 0.0), (0.7, -0.4)])
@pytest.mark.parametrize(("which", "suffix"), [("train", ""), ("test", ":l2@test")])
def test_at_points_of_a_plane_they_are_those_of_the_dense_hessian(
    steps: tuple[float, float], which: str, suffix: str
) -> None:
    problem = bent()
    metrics = resolve_metrics(problem, [f"{kind}{suffix}" for kind in ("lambda-min", "lambda-max", "lambda-ratio")])
    evaluator = Evaluator(problem, metrics, [random_directions(problem.model, 0)], CPU)
    low, high = dense(problem, steps, which)
    assert low < 0 < high  # not convex
    assert evaluator.at(0, steps)[0] == pytest.approx([low, high, abs(low / high)], rel=2 * SHARP)


def test_the_ratio_of_another_loss_is_another() -> None:
    problem = bent()
    metrics = resolve_metrics(problem, ["lambda-max:l1", "lambda-max", "l2"])
    values = Evaluator(problem, metrics, [random_directions(problem.model, 0)], CPU).at(0, [0.0, 0.0])[0]
    assert values[0] != values[1]
    assert metrics[1].definition.startswith("largest eigenvalue of the Hessian of l2")


def test_where_the_weights_diverge_there_is_no_value() -> None:
    problem = bent()
    metrics = resolve_metrics(problem, ["lambda-max"])
    evaluator = Evaluator(problem, metrics, [random_directions(problem.model, 0)], CPU)
    assert np.isnan(evaluator.at(0, [np.inf, 0.0])[0]).all()


def test_what_is_no_mean_has_no_hessian() -> None:
    problem = bent()
    with pytest.raises(InputError, match="expected names among"):
        resolve_metrics(problem, ["lambda-max:none"])
    images = torch.rand(4, 1, 4, 4)
    both = {name: Samples(images, images) for name in ("train", "test-normal", "test-anomalous")}
    with pytest.raises(InputError, match="auroc: expected a loss, a mean over the samples"):
        resolve_metrics(Problem(nn.Conv2d(1, 1, 1), both), ["lambda-max:auroc"])


def test_the_command_maps_them_over_ranks(tmp_path: Path) -> None:
    options = ("--problem", "tests.problems:quadratic", "--x=-1:1:3", "--metrics", "lambda-ratio,l2", "--threads", 1)
    done = run_python("-m", "landscape.surface", *options, "--out", tmp_path / "a.h5", ranks=2)
    assert done.returncode == 0, done.stderr
    grid = read_grid(tmp_path / "a.h5")
    assert grid.values["lambda-ratio"].std() < 1e-3 * grid.values["lambda-ratio"].mean()


@pytest.mark.usefixtures("sharp")
def test_they_are_taken_with_the_statistics_of_the_point() -> None:
    problem, steps = bent(), (0.7, -0.4)
    plane = random_directions(problem.model, 0)
    metrics = resolve_metrics(problem, ["lambda-min", "lambda-max"])
    found = Evaluator(problem, metrics, [plane], CPU, batch_norm="recalibrate").at(0, steps)[0]
    moved = copy.deepcopy(problem.model)
    Mover(moved, [direction.params for direction in plane]).to(steps)
    recalibrate(moved, [problem.sets["train"].inputs])
    for buffer, now in zip(problem.model.buffers(), moved.buffers(), strict=True):
        buffer.copy_(now)
    assert found == pytest.approx(dense(problem, steps, "train"), rel=SHARP)

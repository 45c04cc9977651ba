"""Traces, mean curvature along directions and spectral densities, against closed forms and dense Hessians."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.measures.curvature import curvature, half_curvature, rademacher, smoothed, spectral_density, trace
from landscape.directions.normalization import random_directions
from landscape.engine.metrics import resolve_metrics
from landscape.hessian.eigen import extreme_eigenvalues
from landscape.hessian.objective import Objective, flat
from landscape.problem.problem import Problem, Samples
from tests.problems import INPUTS, OUTPUTS, quadratic


def product_with(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda vectors: vectors @ matrix.T


def random_symmetric(size: int) -> Tensor:
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return matrix + matrix.T


def small_problem() -> Problem:
    """A convolutional autoencoder of 84 weights with batch norm in double precision, on five 4×4 images."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.BatchNorm2d(3, eps=1e-12),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(3, 1, 2, stride=2, groups=1),
        nn.Sigmoid(),
    ).double()
    images = torch.rand(5, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 1.5)
        model[1].bias.normal_()
        model[1].running_mean.normal_(0, 0.1)
        model[1].running_var.uniform_(0.05, 0.2)
    return Problem(model, {"train": Samples(images, images)}, name="small")


def objective_of(problem: Problem, name: str = "l2") -> Objective:
    return Objective(problem, resolve_metrics(problem, [name])[0])


def dense(objective: Objective) -> Tensor:
    return objective.products(torch.eye(objective.size, dtype=torch.float64))


def test_trace_within_its_standard_error() -> None:
    matrix = random_symmetric(60)
    found = trace(product_with(matrix), 60, probes=400, seed=0, measured_on="a matrix")
    exact = float(matrix.trace())
    assert abs(found.value - exact) < 4 * found.stderr
    off_diagonal = matrix - torch.diag(matrix.diag())
    assert found.stderr == pytest.approx(float((2 * off_diagonal.square().sum()).sqrt()) / 20, rel=0.2)
    assert found.value == pytest.approx(np.mean(found.samples))
    assert found.definition == (
        "trace of the Hessian of a matrix; Hutchinson's estimator, standard error over 400 Rademacher probes"
    )


def test_trace_of_a_diagonal_matrix_is_exact_from_one_probe() -> None:
    diagonal = torch.arange(-3.0, 50.0, dtype=torch.float64)
    found = trace(product_with(torch.diag(diagonal)), len(diagonal), probes=1, seed=5)
    assert found.value == pytest.approx(float(diagonal.sum()), rel=1e-14)
    assert np.isnan(found.stderr)


def test_probes_are_signs_of_which_the_first_do_not_depend_on_their_number() -> None:
    signs = rademacher(1000, 20, seed=0)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 4 / 20000**0.5
    assert torch.equal(rademacher(1000, 3, seed=0), signs[:3])
    assert not torch.equal(rademacher(1000, 20, seed=1), signs)


def test_half_curvature_of_the_quadratic_in_closed_form() -> None:
    problem = quadratic()
    objective = objective_of(problem)
    weight, x = problem.model.weight.detach(), problem.sets["train"].inputs
    covariance = x.T @ x / len(x)  # of each filter's weights the Hessian is twice that
    exact = sum(float(weight[f].square().sum()) / INPUTS * float(covariance.trace()) for f in range(OUTPUTS))
    found = half_curvature(objective, probes=600, seed=1)
    assert abs(found.value - exact) < 4 * found.stderr
    assert found.stderr < 0.1 * exact
    assert found.measured_on == "l2 over 40 samples of train"


def filters(problem: Problem) -> list[tuple[Tensor, Tensor]]:
    """Each filter of `small_problem`, cut out by hand: its places in a row of weights, and its weights."""
    conv, transposed = problem.model[0].weight.detach(), problem.model[3].weight.detach()
    places = torch.arange(conv.numel()).view_as(conv)
    start = sum(p.numel() for module in (problem.model[0], problem.model[1]) for p in module.parameters())
    later = start + torch.arange(transposed.numel())
    return [(places[f].flatten(), conv[f].flatten()) for f in range(len(conv))] + [(later, transposed.flatten())]


def exact_half_curvature(problem: Problem, hessian: Tensor) -> float:
    diagonal = hessian.diag()
    return sum(float(w.square().sum() / len(w) * diagonal[at].sum()) for at, w in filters(problem)) / 2


@pytest.mark.parametrize("name", ["l2", "l2-lamp"])
def test_trace_and_half_curvature_of_a_network_against_its_dense_hessian(name: str) -> None:
    problem = small_problem()
    objective = objective_of(problem, name)
    hessian = dense(objective)
    torch.testing.assert_close(hessian, hessian.T)
    found = curvature(objective, probes=200, seed=0)
    for part, exact in ((found.trace, hessian.trace()), (found.half_curvature, exact_half_curvature(problem, hessian))):
        assert abs(part.value - float(exact)) < 4 * part.stderr
        assert 0 < part.stderr < 0.2 * abs(float(exact))


def test_both_at_once_are_what_each_is_alone() -> None:
    objective = objective_of(small_problem())
    found = curvature(objective, probes=3, seed=0)
    assert found.trace == trace(objective.products, objective.size, 3, 0, "l2 over 5 samples of train")
    assert found.half_curvature == half_curvature(objective, 3, 0)


def test_half_curvature_is_the_mean_of_second_differences_along_random_directions() -> None:
    problem = small_problem()
    objective = objective_of(problem)
    exact = exact_half_curvature(problem, dense(objective))
    step, values = 1e-3, []
    middle = objective.value()
    for seed in range(600):
        for direction in random_directions(problem.model, seed):
            moved = flat([direction.params[name] for name in objective.names])
            ends = []
            for sign in (1, -1):
                objective.move_to(objective.base + sign * step * moved)
                ends.append(objective.value())
            values.append((sum(ends) - 2 * middle) / (2 * step**2))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert abs(np.mean(values) - exact) < 4 * error
    assert error < 0.05 * exact


def test_rescaling_filters_before_a_batch_norm_moves_trace_and_eigenvalue_but_not_half_curvature() -> None:
    problem = small_problem()
    other = copy.deepcopy(problem)
    factors = torch.tensor([0.3, 2.0, 5.0], dtype=torch.float64)
    conv, norm = other.model[0], other.model[1]
    with torch.no_grad():
        conv.weight.mul_(factors.view(-1, 1, 1, 1))
        conv.bias.mul_(factors)
        norm.running_mean.mul_(factors)
        norm.running_var.mul_(factors**2)
    before, after = objective_of(problem), objective_of(other)
    assert after.value() == pytest.approx(before.value(), rel=1e-9)
    a, b = (curvature(objective, probes=20, seed=0) for objective in (before, after))
    assert b.half_curvature.value == pytest.approx(a.half_curvature.value, rel=1e-6)
    assert abs(b.trace.value / a.trace.value - 1) > 0.5
    first, second = (
        extreme_eigenvalues(objective.products, objective.size).largest.values[0] for objective in (before, after)
    )
    assert abs(second / first - 1) > 0.5


def test_moments_of_the_spectral_density_are_those_of_the_probes() -> None:
    matrix = random_symmetric(80)
    found = spectral_density(product_with(matrix), 80, steps=6, probes=3, seed=2)
    power = torch.eye(80, dtype=torch.float64)
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-12)
    assert (found.weights >= 0).all()
    for degree in range(12):  # Gauss quadrature is exact below twice the steps
        moments = [float(z @ power @ z) / 80 for z in rademacher(80, 3, seed=2)]
        np.testing.assert_allclose((found.weights * found.nodes**degree).sum(1), moments, rtol=1e-9, atol=1e-9)
        power = power @ matrix
    estimated = trace(product_with(matrix), 80, probes=3, seed=2)
    assert 80 * (found.weights * found.nodes).sum(1).mean() == pytest.approx(estimated.value, rel=1e-12)


def test_spectral_density_against_the_exact_density() -> None:
    values = np.concatenate([np.linspace(-1, 1, 300), np.linspace(3, 4, 100)])
    source = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(400, 400, generator=source, dtype=torch.float64))
    found = spectral_density(product_with((basis * torch.as_tensor(values)) @ basis.T), 400, 60, 30, seed=0)
    grid, width = np.linspace(-2, 5, 141), 0.2
    density, error = smoothed(found, grid, width)
    bumps = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    exact = bumps.mean(1)
    assert np.abs(density - exact).max() < 0.03 * exact.max()
    assert (np.abs(density - exact) <= 5 * error + 1e-3 * exact.max()).all()
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)


def test_a_space_used_up_early_leaves_nodes_without_weight() -> None:
    values = np.repeat([2.0, -1.0], 25)
    found = spectral_density(product_with(torch.diag(torch.as_tensor(values))), 50, steps=8, probes=2, seed=0)
    for nodes, weights in zip(found.nodes, found.weights, strict=True):
        present = weights > 1e-12
        np.testing.assert_allclose(np.sort(nodes[present]), [-1, 2], atol=1e-12)
        np.testing.assert_allclose(weights[present], 0.5, atol=1e-12)


def test_numbers_that_make_no_sense_are_refused() -> None:
    products = product_with(torch.eye(4, dtype=torch.float64))
    with pytest.raises(ValueError, match="probes: expected at least 1, found 0"):
        trace(products, 4, probes=0, seed=0)
    with pytest.raises(ValueError, match="steps: expected at least 1, found 0"):
        spectral_density(products, 4, steps=0, probes=1, seed=0)
    with pytest.raises(ValueError, match="width: expected a positive standard deviation, found 0"):
        smoothed(spectral_density(products, 4, steps=2, probes=1, seed=0), np.zeros(1), 0)

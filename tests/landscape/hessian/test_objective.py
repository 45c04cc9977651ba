"""A metric as a function of the weights, against closed forms, finite differences and plain loops."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.engine.metrics import own_metric, resolve_metrics
from landscape.hessian.objective import Objective, batches_of
from landscape.problem.problem import Problem, Samples
from tests.problems import OUTPUTS, quadratic
from tests.tolerance import rounding
from training.data.config import RunConfig, resolve
from training.models.autoencoder import build_model
from training.models.losses import training_loss
from training.runtime.command import InputError

SMALL = resolve(RunConfig(image_size=32, width=2, depth=2))


#: What is added for a product with the Hessian: 7 images of 64 pixels, and 4 layers of at most 144 taps
SUMS = 7 * 64 + 4 * 144


def autoencoder(config: RunConfig = SMALL, images: int = 7, size: int = 8, seed: int = 0) -> Problem:
    """A small autoencoder in double precision with statistics of its own, on random images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config).double().train()
        samples = torch.rand(images, config.channels, size, size, dtype=torch.float64)
        for _ in range(3):
            model(samples)
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return Problem(model, {"train": Samples(samples, samples)}, name="small")


def objective_of(problem: Problem, name: str = "l2") -> Objective:
    return Objective(problem, resolve_metrics(problem, [name])[0])


def vectors_for(objective: Objective, count: int = 3, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, objective.size, generator=source, dtype=torch.float64)


def differences(objective: Objective, vectors: Tensor, step: float = 1e-5) -> Tensor:
    """H·v by central differences of the gradient."""
    rows = []
    for vector in vectors:
        ends = []
        for sign in (1, -1):
            objective.move_to(objective.base + sign * step * vector)
            ends.append(objective.gradient()[1])
        rows.append((ends[0] - ends[1]) / (2 * step))
    objective.move_to(objective.base)
    return torch.stack(rows)


def test_value_gradient_and_hessian_of_the_quadratic() -> None:
    problem = quadratic()
    objective = objective_of(problem)
    (x, t), weight = problem.sets["train"], problem.model.weight.detach()
    residual = x @ weight.T - t
    value, gradient = objective.gradient()
    assert value == pytest.approx(float(residual.square().sum(1).mean()), rel=1e-12)
    assert objective.value() == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(gradient, (2 * residual.T @ x / len(x)).flatten())
    exact = torch.kron(torch.eye(OUTPUTS, dtype=torch.float64), 2 * x.T @ x / len(x))
    torch.testing.assert_close(objective.products(torch.eye(objective.size, dtype=torch.float64)), exact)


@pytest.mark.parametrize("name", ["l2", "l2-lamp", "l4"])
def test_the_hessian_of_an_autoencoder_is_that_of_a_second_implementation(name: str) -> None:
    problem = autoencoder()
    objective = objective_of(problem, name)
    model, metric = copy.deepcopy(problem.model).eval(), objective.metric
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)
    images = problem.sets["train"].inputs

    def loss(row: Tensor) -> Tensor:
        parts = row.split([shape.numel() for shape in shapes])
        weights = {n: part.view(shape) for n, part, shape in zip(names, parts, shapes, strict=True)}
        return metric.per_sample(functional_call(model, weights, (images,)), images).mean()

    exact = torch.autograd.functional.hessian(loss, objective.base)
    vectors = vectors_for(objective)
    torch.testing.assert_close(objective.products(vectors), vectors @ exact, rtol=1e-8, atol=1e-8 * float(exact.norm()))
    value, gradient = objective.gradient()
    assert value == pytest.approx(float(loss(objective.base)), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.functional.jacobian(loss, objective.base))


@pytest.mark.parametrize("name", ["ssim", "ssim-lamp", "l2-lamp"])
def test_products_are_differences_of_gradients(name: str) -> None:
    objective = objective_of(autoencoder(), name)
    vectors = vectors_for(objective)
    found, expected = objective.products(vectors), differences(objective, vectors)
    # Steps of 1e-5: of second order in them, 1e-10 times third derivatives; rounding, 1e-12 of a gradient over 1e-5.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("detach", [False, True])
def test_the_own_loss_with_a_batch_maximum_is_a_plain_loop_over_batches(detach: bool) -> None:
    config = resolve(RunConfig(image_size=32, width=2, depth=2, loss="l2-lamp", batch_size=3, lamp_detach=detach))
    problem = autoencoder(config)  # seven images: the last batch is of one
    objective = Objective(problem, own_metric(config, "train"))
    model, batch_loss = copy.deepcopy(problem.model).eval(), training_loss(config)
    images, parameters = problem.sets["train"].inputs, list(model.parameters())
    loss = sum(batch_loss(model(part), part).mean() * len(part) for part in images.split(3)) / len(images)
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)
    value, found = objective.gradient()
    assert value == pytest.approx(float(loss.detach()), rel=1e-12)
    torch.testing.assert_close(found, torch.cat([part.detach().flatten() for part in gradient]))
    for vector in vectors_for(objective, 2):
        row = [
            part.view_as(p) for part, p in zip(vector.split([p.numel() for p in parameters]), parameters, strict=True)
        ]
        product = torch.autograd.grad(gradient, parameters, row, retain_graph=True)
        expected = torch.cat([part.flatten() for part in product])
        torch.testing.assert_close(objective.products(vector[None])[0], expected, rtol=1e-9, atol=1e-9)


def test_batches_hold_whole_groups() -> None:
    samples = Samples(torch.arange(1000.0)[:, None], torch.arange(1000.0)[:, None])
    for group in (1, 128, 300, 2000):
        sizes = [len(part.inputs) for part in batches_of(samples, group)]
        assert sum(sizes) == 1000
        assert all(size % group == 0 for size in sizes[:-1])


def test_batch_norm_is_as_at_evaluation() -> None:
    problem = autoencoder()
    problem.model.train()
    objective = objective_of(problem)
    images = problem.sets["train"].inputs
    with torch.no_grad():
        outputs = copy.deepcopy(problem.model).eval()(images)
    assert objective.value() == pytest.approx(float((outputs - images).square().sum() / len(images)), rel=1e-12)
    assert problem.model.training
    statistics = problem.model.state_dict()
    objective.products(vectors_for(objective, 1))
    assert all(torch.equal(value, statistics[name]) for name, value in objective.model.state_dict().items())


def test_moves_start_from_anywhere_and_are_undone() -> None:
    objective = objective_of(autoencoder())
    value, vectors = objective.value(), vectors_for(objective, 2)
    product = objective.products(vectors)
    objective.move_to(objective.base + 0.1 * vectors[0])
    assert abs(objective.value() / value - 1) > 1e-3
    assert not torch.allclose(objective.products(vectors), product, rtol=1e-3)
    objective.move_to(objective.base)
    assert objective.value() == value
    torch.testing.assert_close(objective.products(vectors), product)


def test_vectors_in_double_precision_for_a_model_in_single_precision() -> None:
    problem = autoencoder()
    single = Objective(problem, resolve_metrics(problem, ["l2"])[0], dtype=torch.float32)
    vectors = vectors_for(single)
    found, expected = single.products(vectors), objective_of(problem).products(vectors)
    assert found.dtype == torch.float64
    assert float((found - expected).norm() / expected.norm()) < rounding(SUMS)


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature() -> None:
    problem = quadratic()
    metric = resolve_metrics(problem, ["l2"])[0]
    linear = copy.copy(metric)
    object.__setattr__(linear, "per_sample", lambda output, target: output.sum(1))
    objective = Objective(problem, linear)
    assert not objective.products(torch.ones(2, objective.size, dtype=torch.float64)).any()


def test_a_metric_that_is_no_mean_is_refused() -> None:
    samples = Samples(torch.rand(4, 3), torch.rand(4, 3))
    problem = Problem(nn.Linear(3, 3), {"test-normal": samples, "test-anomalous": samples})
    with pytest.raises(InputError, match="auroc: expected a loss, a mean over the samples of one set"):
        objective_of(problem, "auroc")

"""Ways to compute a point, each against the plain one: several at once, other precisions, batch norm re-estimated."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import quadratic
from torch import nn

from landscape.batchnorm import RECALIBRATION_BATCH, recalibrate
from landscape.directions import random_directions
from landscape.evaluate import Evaluator
from landscape.metrics import resolve_metrics
from landscape.precision import PRECISIONS
from landscape.problem import Problem, Samples
from landscape.sources import from_checkpoint
from landscape.vectorize import VectorizedModel, points_that_fit
from training.config import RunConfig, resolve
from training.data import load_split
from training.models import Autoencoder, seeded_model

CPU = torch.device("cpu")
POINTS = [(0.0, 0.0), (1.0, -0.5), (-0.25, 0.75), (0.5, 2.0), (0.0, -1.0)]
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def evaluator(problem: Problem, device: torch.device = CPU, **options: object) -> Evaluator:
    names = ["l2", "own", "l1", "auroc"] if "own" in problem.metrics else ["l2"]
    plane = random_directions(problem.model, seed=2)
    return Evaluator(problem, resolve_metrics(problem, names), [plane], device, **options)  # type: ignore[arg-type]


def one_by_one(of: Evaluator) -> np.ndarray:
    return np.stack([of.at(0, steps) for steps in POINTS])


@pytest.mark.parametrize("points", [2, 5, 64])
def test_several_points_in_one_call_equal_one_by_one(checkpoint: Path, points: int) -> None:
    plain = evaluator(from_checkpoint(checkpoint, None, 300), allow_rewrite=False)
    expected = one_by_one(plain)
    plain.points_per_call = points
    found = plain.at_many(0, POINTS)
    # A standard error is of differences of values, and as exact as they are.
    np.testing.assert_allclose(found / expected[:, :1], expected / expected[:, :1], rtol=0, atol=1e-5)


def test_several_points_of_a_quadratic_in_double_precision() -> None:
    plain = evaluator(quadratic())
    expected = one_by_one(plain)
    np.testing.assert_array_equal(plain.at_many(0, POINTS), expected)
    plain.points_per_call = 4
    np.testing.assert_allclose(plain.at_many(0, POINTS), expected, rtol=1e-13)


def test_stacked_weights_are_the_moved_ones() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    x, y = random_directions(model, seed=0)
    stacked = VectorizedModel(model, [x.params, y.params]).weights(torch.tensor(POINTS))
    assert set(stacked) == {"0.weight"}
    for row, (alpha, beta) in zip(stacked["0.weight"], POINTS, strict=True):
        expected = model[0].weight.detach() + alpha * x.params["0.weight"] + beta * y.params["0.weight"]
        torch.testing.assert_close(row, expected)


def test_points_that_fit_into_memory() -> None:
    assert points_that_fit(100, 1000) == 5
    assert points_that_fit(10_000, 1000) == 1
    assert points_that_fit(1, 10**9) == 64


def slow_recalibration(model: nn.Module, batches: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The average of each batch norm's batch means and variances, from its inputs as hooks see them."""
    model = copy.deepcopy(model).eval()
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    result: dict[str, torch.Tensor] = {}
    for name, norm in norms.items():
        seen: list[torch.Tensor] = []
        handle = norm.register_forward_pre_hook(lambda _m, inputs, seen=seen: seen.append(inputs[0].double()))
        with torch.no_grad():
            for batch in batches:
                _with_batch_statistics(model, norms, batch)
        handle.remove()
        result[f"{name}.running_mean"] = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
        result[f"{name}.running_var"] = torch.stack([x.var((0, 2, 3), unbiased=True) for x in seen]).mean(0)
    return result


def _with_batch_statistics(model: nn.Module, norms: dict[str, nn.Module], batch: torch.Tensor) -> None:
    """A pass in which every norm uses the batch's own statistics, without keeping them."""
    for norm in norms.values():
        norm.train()
        norm.momentum = 0.0
    model(batch)
    for norm in norms.values():
        norm.eval()


def test_recalibration_is_the_average_of_batch_statistics() -> None:
    torch.manual_seed(0)
    model = Autoencoder(width=2, depth=2)
    images = torch.rand(30, 1, 16, 16)
    expected = slow_recalibration(model, list(images.split(12)))
    recalibrate(model, images.split(12))
    assert not any(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    found = dict(model.named_buffers())
    assert len(expected) == 6
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-4, atol=1e-6)


def test_recalibration_with_channels_innermost_is_as_exact_as_without() -> None:
    """Digits, whose equal background pixels make sequential single-precision sums lose three digits."""
    config = resolve(RunConfig(dataset="mnist-mini", normal=3))
    model, batches = seeded_model(config), load_split(config, None).train[:512].split(256)
    innermost = copy.deepcopy(model).to(memory_format=torch.channels_last)
    results = []
    for of, change in (
        (copy.deepcopy(model).double(), torch.Tensor.double),
        (model, torch.Tensor.float),
        (innermost, lambda batch: batch.contiguous(memory_format=torch.channels_last)),
    ):
        recalibrate(of, [change(batch) for batch in batches])
        results.append(torch.cat([value for name, value in of.named_buffers() if "running" in name]).double())
    true, plain, found = results
    assert ((found - true) / true.abs().clamp(min=0.1)).norm() < 3 * ((plain - true) / true.abs().clamp(min=0.1)).norm()
    assert not any(part._forward_pre_hooks for part in innermost.modules())


def test_a_recalibrated_surface_does_not_depend_on_the_scale_before_a_batch_norm(checkpoint: Path) -> None:
    """Weights before a batch norm times three: nothing changes if the statistics are re-estimated."""
    results = []
    for factor in (1.0, 3.0):
        problem = from_checkpoint(checkpoint, None, 300)
        with torch.no_grad():
            problem.model.encoder[1][0].weight.mul_(factor)
            problem.model.encoder[1][0].bias.mul_(factor)
        results.append([one_by_one(evaluator(problem, batch_norm=how))[:, 0, 0] for how in ("frozen", "recalibrate")])
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-3)
    assert abs(results[1][0] / results[0][0] - 1).max() > 0.05
    assert RECALIBRATION_BATCH == 256


def test_recalibration_recovers_after_a_diverged_point(checkpoint: Path) -> None:
    of = evaluator(from_checkpoint(checkpoint, None, 300), batch_norm="recalibrate")
    before = of.at(0, (0.1, 0.1))
    of.at(0, (1e30, 1e30))
    np.testing.assert_array_equal(of.at(0, (0.1, 0.1)), before)


@pytest.mark.parametrize(("name", "rtol"), [("float64", 1e-5), ("tf32", 1e-6), ("bfloat16", 0.05)])
def test_precisions_agree_as_far_as_they_reach(checkpoint: Path, name: str, rtol: float) -> None:
    full = evaluator(from_checkpoint(checkpoint, None, 300))
    other = evaluator(from_checkpoint(checkpoint, None, 300), precision=PRECISIONS[name])
    expected, found = one_by_one(full)[:, 0, :3], one_by_one(other)[:, 0, :3]
    np.testing.assert_allclose(found, expected, rtol=rtol)
    if name == "bfloat16":
        assert abs(found / expected - 1).max() > 1e-5
    assert (other.forward.rewritten is None) == (name != "tf32")


def test_reading_float64_needs_float64_data() -> None:
    x = torch.rand(5, 3)
    problem = Problem(nn.Linear(3, 3, bias=False), {"a": Samples(x, x)})
    of = evaluator(problem, precision=PRECISIONS["float64"])
    assert of.model.weight.dtype == torch.float64
    assert np.isfinite(one_by_one(of)[:, 0]).all()


@gpu
def test_a_gpu_gives_the_cpus_numbers(checkpoint: Path) -> None:
    expected = one_by_one(evaluator(from_checkpoint(checkpoint, None, 300), allow_rewrite=False))
    of = evaluator(from_checkpoint(checkpoint, None, 300), torch.device("cuda", 0))
    assert of.points_per_call > 1
    np.testing.assert_allclose(of.at_many(0, POINTS)[:, 0], expected[:, 0], rtol=1e-4)
    np.testing.assert_allclose(one_by_one(of)[:, 0], expected[:, 0], rtol=1e-4)


@gpu
def test_bfloat16_on_a_gpu(checkpoint: Path) -> None:
    expected = one_by_one(evaluator(from_checkpoint(checkpoint, None, 300), allow_rewrite=False))[:, 0, 0]
    of = evaluator(from_checkpoint(checkpoint, None, 300), torch.device("cuda", 0), precision=PRECISIONS["bfloat16"])
    np.testing.assert_allclose(of.at_many(0, POINTS)[:, 0, 0], expected, rtol=0.05)

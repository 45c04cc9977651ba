"""Ways to compute a point, each against the plain one: several at once, other precisions, batch norm re-estimated."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape.directions.normalization import random_directions
from landscape.engine.batchnorm import RECALIBRATION_BATCH, recalibrate
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.engine.precision import PRECISIONS
from landscape.engine.vectorize import VectorizedModel, points_that_fit
from landscape.problem.problem import Problem, Samples
from landscape.sources import from_checkpoint
from tests.problems import quadratic
from tests.tolerance import assert_within, metrics_rounding, rounding
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.models.autoencoder import Autoencoder, seeded_model

CPU = torch.device("cpu")
POINTS = [(0.0, 0.0), (1.0, -0.5), (-0.25, 0.75), (0.5, 2.0), (0.0, -1.0)]
IMAGES = 60
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def evaluator(problem: Problem, device: torch.device = CPU, **options: object) -> Evaluator:
    names = ["l2", "own", "l1", "auroc"] if "own" in problem.metrics else ["l2"]
    plane = random_directions(problem.model, seed=2)
    return Evaluator(problem, resolve_metrics(problem, names), [plane], device, **options)  # type: ignore[arg-type]


def one_by_one(of: Evaluator) -> np.ndarray:
    return np.stack([of.at(0, steps) for steps in POINTS])


@pytest.fixture(scope="module")
def truth(checkpoint: Path) -> tuple[np.ndarray, np.ndarray]:
    """Metrics of the checkpoint at POINTS in double precision, and how far off they may be in single."""
    problem = from_checkpoint(checkpoint, None, IMAGES)
    of = evaluator(problem)
    return metrics_rounding(problem, of.metrics, random_directions(problem.model, seed=2), POINTS)


@pytest.mark.parametrize("points", [2, 5, 64])
def test_several_points_in_one_call_equal_one_by_one(
    checkpoint: Path, truth: tuple[np.ndarray, np.ndarray], points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape.engine.forward.BATCH", 25)  # several calls a set, the last of them ragged
    plain = evaluator(from_checkpoint(checkpoint, None, IMAGES), allow_rewrite=False)
    assert_within(one_by_one(plain), *truth)
    plain.points_per_call = points
    assert_within(plain.at_many(0, POINTS), *truth)


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
    double = PRECISIONS["float64"]
    for factor in (1.0, 3.0):
        problem = from_checkpoint(checkpoint, None, IMAGES)
        problem.model.encoder[1][1].eps = 1e-12  # what is added to the variance has a scale of its own
        with torch.no_grad():
            problem.model.encoder[1][0].weight.mul_(factor)
            problem.model.encoder[1][0].bias.mul_(factor)
        ways = [evaluator(problem, batch_norm=how, precision=double) for how in ("frozen", "recalibrate")]
        results.append([one_by_one(of)[:, 0, 0] for of in ways])
    # The factor is applied in single precision: weights are off by one rounding each, the output by a sum of them.
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=rounding(4 * 9))
    assert abs(results[1][0] / results[0][0] - 1).max() > 0.05
    assert RECALIBRATION_BATCH == 256


def test_recalibration_recovers_after_a_diverged_point(checkpoint: Path) -> None:
    of = evaluator(from_checkpoint(checkpoint, None, 300), batch_norm="recalibrate")
    before = of.at(0, (0.1, 0.1))
    of.at(0, (1e30, 1e30))
    np.testing.assert_array_equal(of.at(0, (0.1, 0.1)), before)


@pytest.mark.parametrize("name", ["full", "float64", "tf32", "bfloat16"])
def test_precisions_agree_as_far_as_they_reach(
    checkpoint: Path, truth: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    problem = from_checkpoint(checkpoint, None, IMAGES)
    of = evaluator(problem, precision=PRECISIONS[name])
    found = one_by_one(of)
    exact, allowed = truth
    if name == "bfloat16":  # rounds inputs, weights and output of each layer; sums are in single precision
        plane = random_directions(problem.model, seed=2)
        _, allowed = metrics_rounding(problem, of.metrics, plane, POINTS, torch.bfloat16, operations=3)
        assert abs(found / exact - 1)[:, 0, :3].max() > 1e-5
    if name == "float64":
        np.testing.assert_allclose(found, exact, rtol=1e-12)
    assert_within(found, exact, allowed)
    assert of.forward.rewritten is None or name in ("full", "tf32")


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

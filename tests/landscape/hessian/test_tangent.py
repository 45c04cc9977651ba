"""The written-out derivatives of an autoencoder are those of plain double backward."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from landscape.engine.metrics import METRICS, own_metric
from landscape.hessian import tangent
from landscape.hessian.objective import Objective
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem
from tests.landscape.hessian.test_objective import SMALL, SUMS, autoencoder, vectors_for
from tests.tolerance import rounding


def both(problem: Problem, metric: Metric, dtype: torch.dtype | None = None) -> tuple[Objective, Objective]:
    """The objective with derivatives written out, and the plain one."""
    fast = Objective(problem, metric, dtype=dtype)
    plain = Objective(problem, metric, dtype=dtype, allow_chain=False)
    assert fast.chain is not None
    assert plain.chain is None
    return fast, plain


def check_equal(fast: Objective, plain: Objective, tolerance: float = 1e-11) -> None:
    vectors = vectors_for(plain)
    expected = plain.products(vectors)
    assert expected.any()
    assert float((fast.products(vectors) - expected).norm() / expected.norm()) < tolerance
    forms = (vectors * expected).sum(1)
    assert float((fast.quadratic_forms(vectors) - forms).abs().max() / forms.abs().max()) < tolerance
    torch.testing.assert_close(plain.quadratic_forms(vectors), forms)
    (value, gradient), (plain_value, plain_gradient) = fast.gradient(), plain.gradient()
    assert value == pytest.approx(plain_value, rel=tolerance)
    assert float((gradient - plain_gradient).norm() / plain_gradient.norm()) < tolerance


def named(loss: str) -> Metric:
    return dataclasses.replace(METRICS[loss], over=("train",))


@pytest.mark.parametrize(("kernel", "depth"), [(1, 2), (3, 2), (3, 4), (5, 3), (7, 2)])
def test_shapes(kernel: int, depth: int) -> None:
    config = dataclasses.replace(SMALL, kernel=kernel, depth=depth)
    check_equal(*both(autoencoder(config, images=3, size=16), named("l2")))


def test_images_that_are_not_square_and_have_colours() -> None:
    problem = autoencoder(dataclasses.replace(SMALL, channels=3), images=3)
    images = torch.rand(3, 3, 8, 12, dtype=torch.float64)
    problem.sets = {"train": type(problem.sets["train"])(images, images)}
    check_equal(*both(problem, named("l2-lamp")))


@pytest.mark.parametrize("loss", ["l1", "l4", "ssim", "l2-lamp", "ssim-lamp"])
def test_losses(loss: str) -> None:
    check_equal(*both(autoencoder(images=3), named(loss)))


LAMPS = [("batch", False), ("batch", True), ("sample", False), ("sample", True), ("none", False)]


@pytest.mark.parametrize(("scale", "detach"), LAMPS)
@pytest.mark.parametrize("chunk", [64, 2])
def test_groups_with_a_maximum_and_a_ragged_last_one(
    scale: str, detach: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tangent, "CHUNK_IMAGES", chunk)  # a group in several chunks, and several groups in one
    config = dataclasses.replace(SMALL, loss="l2-lamp", batch_size=3, lamp_scale=scale, lamp_detach=detach)
    fast, plain = both(autoencoder(config), own_metric(config, "train"))
    check_equal(fast, plain)


@pytest.mark.parametrize("chunk", [4, 1])
def test_results_depend_on_neither_threads_nor_memory(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tangent, "CHUNK_IMAGES", chunk)
    problem = autoencoder(images=9)
    metric = own_metric(dataclasses.replace(SMALL, loss="l2-lamp", batch_size=4), "train")
    vectors = vectors_for(Objective(problem, metric), 5)
    expected = Objective(problem, metric).products(vectors)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        threaded = Objective(problem, metric)
        torch.testing.assert_close(threaded.products(vectors), expected, rtol=1e-12, atol=1e-12)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(tangent, "STATE_BYTES", 0)  # nothing is kept
    monkeypatch.setattr(tangent, "UNIT_IMAGES", 1)  # one vector at a time
    sparing = Objective(problem, metric)
    assert sparing.chain is not None
    torch.testing.assert_close(sparing.products(vectors), expected, rtol=1e-12, atol=1e-12)
    assert all(unit.kept is None for unit in sparing.chain.units)


def test_moved_weights_are_taken() -> None:
    fast, plain = both(autoencoder(), named("l2"))
    check_equal(fast, plain)
    for objective in (fast, plain):
        objective.move_to(objective.base + 0.1 * vectors_for(objective, 1)[0])
    check_equal(fast, plain)


def test_single_precision_agrees_up_to_rounding() -> None:
    fast, plain = both(autoencoder(), named("l2"), torch.float32)
    check_equal(fast, plain, rounding(SUMS))
    assert fast.products(vectors_for(fast)).dtype == torch.float64


def hooked(model: nn.Module) -> None:
    next(model.children()).register_forward_hook(lambda module, inputs, output: 2 * output)


def other_activation(model: nn.Module) -> None:
    model.get_submodule("encoder.0")[2] = nn.Tanh()  # type: ignore[operator]


def other_slope(model: nn.Module) -> None:
    model.get_submodule("encoder.0.2").negative_slope = 0.1  # type: ignore[assignment]


@pytest.mark.parametrize("change", [hooked, other_activation, other_slope])
def test_a_model_that_is_not_as_built_takes_the_plain_path(change: Callable[[nn.Module], None]) -> None:
    problem = autoencoder()
    before = Objective(problem, named("l2"))
    change(problem.model)
    after = Objective(problem, named("l2"))
    assert before.chain is not None
    assert after.chain is None
    assert after.value() != pytest.approx(before.value(), rel=1e-6)


def test_images_that_stages_do_not_halve_take_the_plain_path() -> None:
    problem = autoencoder()
    images = torch.rand(2, 1, 10, 8, dtype=torch.float64)
    problem.sets = {"train": type(problem.sets["train"])(images, images)}
    assert Objective(problem, named("l2")).chain is None

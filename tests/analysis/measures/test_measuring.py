"""All measures of a model: under a rescaling moves what the catalogue says, and nothing else."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from analysis.measures.catalogue import MEASURES, column
from analysis.measures.measuring import Found, measure, renamed, same_as_l2
from analysis.measures.settings import Settings
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem, Samples
from training.models.autoencoder import Autoencoder
from training.models.losses import per_sample_loss

QUICK = Settings(images=12, test_images=10, directions=3, planes=1, steps=3, draws=3, probes=4, tolerance=1e-6)
CPU = torch.device("cpu")


def autoencoder(loss: float = 1.0) -> Problem:
    """A small autoencoder in double precision whose batch norms have no ε, and `loss` times the common L2 as `own`."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Autoencoder(width=2, depth=2).double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 2)
        images = torch.rand(12, 1, 8, 8, dtype=torch.float64)
        broken = torch.rand(10, 1, 8, 8, dtype=torch.float64) ** 3

    def scaled(output: Tensor, target: Tensor) -> Tensor:
        return loss * per_sample_loss("l2", None)(output, target)  # type: ignore[arg-type]

    own = Metric("own", f"{loss} times L2", scaled, over=("train-normal",))
    sets = {
        "train-normal": Samples(images, images),
        "test-normal": Samples(images[:10], images[:10]),
        "test-anomalous": Samples(broken, broken),
    }
    return Problem(model.eval(), sets, metrics={"own": own})


def rescaled(problem: Problem, factor: float) -> Problem:
    """The same network: every other filter before a batch norm multiplied, and its statistics with it."""
    model = copy.deepcopy(problem.model)
    with torch.no_grad():
        for stage in (s for half in model.children() for s in half.children()):
            parts = list(stage.children())
            norm = next((part for part in parts if isinstance(part, nn.BatchNorm2d)), None)
            if norm is None:
                continue
            conv = next(part for part in parts if isinstance(part, nn.Conv2d))
            c = torch.ones(conv.out_channels, dtype=torch.float64)
            c[::2] = factor
            conv.weight *= c.view(-1, 1, 1, 1)
            conv.bias *= c
            norm.running_mean *= c
            norm.running_var *= c**2
    return replace(problem, model=model)


@pytest.fixture(scope="module")
def found() -> Found:
    return measure(autoencoder(), QUICK, CPU)


def values(found: Found, loss: str = "l2") -> dict[str, float]:
    return {
        name: found.measures[column(name, loss)] or math.nan
        for name in MEASURES
        if column(name, loss) in found.measures
    }


def test_every_measure_of_the_catalogue_is_measured(found: Found) -> None:
    assert set(values(found)) == set(MEASURES)
    missing = {key for key, value in found.measures.items() if value is None and ":" not in key}
    assert missing == set(found.notes)  # what has no value has a note that says why
    assert set(found.seconds) == {"directional", "worst-case", "hessian"}


def test_a_part_alone_gives_the_same_numbers(found: Found) -> None:
    part = measure(autoencoder(), replace(QUICK, parts=("hessian",)), CPU)
    assert set(values(part)) == {"half_curvature", "trace", "lambda_max", "lambda_min"}
    for name in ("half_curvature", "trace", "lambda_max", "lambda_min"):
        whole = found.measures[f"{name}@l2"]
        assert part.measures[f"{name}@l2"] == pytest.approx(whole, rel=1e-3)  # Lanczos amplifies rounding
    assert set(part.seconds) == {"hessian"}


def test_how_a_search_went_is_stored(found: Found) -> None:
    for name in ("keskar@l2", "sam@own", "asam@l2"):  # three steps settle nothing
        assert found.measures[f"{name}:converged"] == 0
        assert found.measures[f"{name}:starts"] == QUICK.restarts
        assert found.measures[f"{name}:steps"] == QUICK.restarts * QUICK.steps
        assert found.measures[f"{name}:spread"] >= 0
    assert found.measures["asam_mean@l2:draws"] == QUICK.draws
    longer = measure(autoencoder(), replace(QUICK, losses=("l2",), steps=200, draws=4096, probes=2), CPU).measures
    for name in ("keskar@l2", "sam@l2", "asam@l2"):
        assert longer[f"{name}:converged"] == 1
        assert longer[f"{name}:agreeing"] >= 2
        assert longer[name] >= found.measures[name]
    assert longer["asam_mean@l2:converged"] == 1
    assert longer["asam_mean@l2:stderr"] <= QUICK.precision * longer["asam_mean@l2"]


def test_the_rescaled_network_is_the_same_network() -> None:
    problem, other = autoencoder(), rescaled(autoencoder(), 3.0)
    images = problem.sets["train-normal"].inputs
    assert torch.allclose(problem.model(images), other.model(images), atol=1e-12)


def test_filter_rescaling_moves_what_the_catalogue_says(found: Found) -> None:
    before, after = values(found), values(measure(rescaled(autoencoder(), 3.0), QUICK, CPU))
    moved = {name for name in before if after[name] != pytest.approx(before[name], rel=1e-4, nan_ok=True)}
    assert moved == {name for name, what in MEASURES.items() if not what.filters}


def test_a_multiple_of_the_loss_moves_what_the_catalogue_says(found: Found) -> None:
    other = measure(autoencoder(loss=5.0), QUICK, CPU)
    before, after = values(found, "own"), values(other, "own")
    moved = {name for name in before if after[name] != pytest.approx(before[name], rel=1e-4, nan_ok=True)}
    assert moved == {name for name in before if not MEASURES[name].scale}
    for name in ("half_curvature", "trace", "lambda_max", "lambda_min", "delta_small", "keskar", "sam"):
        assert after[name] == pytest.approx(5 * before[name], rel=1e-4)


def test_own_of_a_plain_l2_model_is_not_measured_twice() -> None:
    problem = autoencoder()
    plain = {"patches": 1, "loss": "l2", "loss_factor": 1.0, "reduction": "mean"}
    problem.meta["config"] = plain
    assert same_as_l2(problem, "own")
    assert not same_as_l2(problem, "l2")
    for name, value in {"patches": 4, "loss": "l2-lamp", "loss_factor": 2.0, "reduction": "sum"}.items():
        problem.meta["config"] = plain | {name: value}
        assert not same_as_l2(problem, "own")
    problem.meta["config"] = plain
    result = measure(problem, replace(QUICK, steps=1, probes=2), CPU)
    assert result.measures["half_curvature@own"] == result.measures["half_curvature@l2"]
    assert result.directional["own"] == result.directional["l2"]
    assert "radius_level@own" not in result.measures


def test_radii_not_reached_are_so_under_both_names() -> None:
    problem = autoencoder()
    problem.meta["config"] = {"patches": 1, "loss": "l2", "loss_factor": 1.0, "reduction": "mean"}
    still = replace(problem, model=copy.deepcopy(problem.model))
    with torch.no_grad():  # the last layer ignores the others, so that no direction through them does anything
        list(still.model.modules())[-2].weight.zero_()
    beyond = measure(still, replace(QUICK, steps=1, probes=2), CPU).beyond
    assert {"radius_double@l2", "radius_double@own"} <= set(beyond)
    assert "radius_level@own" not in beyond


def test_what_has_no_value_says_why() -> None:
    settings = replace(QUICK, level=1e-3, fall=0.9, steps=1, probes=2)
    found = measure(autoencoder(), settings, CPU)
    assert found.measures["radius_level@l2"] == 0  # the model itself is above the level
    assert "AUROC has not fallen by 0.9 within radius 1" in found.notes["auroc_radius@l2"]
    assert "auroc_radius@l2" in found.beyond
    tight = replace(settings, tolerance=1e-12, max_products=5)
    found = measure(autoencoder(), tight, CPU)
    assert "not converged to 1e-12 after" in found.notes["lambda_max@l2"]
    assert found.measures["lambda_max@l2"] is None
    assert found.measures["lambda_max@l2:residual"] > 0


def test_own_is_measured_where_the_common_l2_is_not() -> None:
    problem = autoencoder()
    problem.meta["config"] = {"patches": 1, "loss": "l2", "loss_factor": 1.0, "reduction": "mean"}
    found = measure(problem, replace(QUICK, losses=("l1", "own"), steps=1, probes=2), CPU)
    assert {"trace@l1", "trace@own"} <= set(found.measures)
    assert found.measures["trace@own"] != found.measures["trace@l1"]


def test_copies_of_the_common_l2_are_of_it_alone() -> None:
    values = {"trace@l2": 1, "trace@l2:stderr": 2, "trace@l2-lamp": 3, "radius_level@l2": 4, "auroc_radius@l2": 5}
    assert renamed(values, "own") == {"trace@own": 1, "trace@own:stderr": 2}


def test_a_loss_of_zero_has_no_ratio() -> None:
    problem = autoencoder()
    images = problem.sets["train-normal"].inputs
    exact = Problem(problem.model, {"train-normal": Samples(images, problem.model(images).detach())})
    found = measure(exact, replace(QUICK, losses=("l2",), steps=1, probes=2), CPU)
    assert found.measures["keskar_ratio@l2"] is None
    assert found.notes["keskar_ratio@l2"] == "L is 0 at the model"

"""Surfaces against closed forms; metrics against slow second computations."""

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.files.grid import Axis, Grid, read_grid
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem, Samples, subsample
from landscape.sources import from_checkpoint
from tests.conftest import train_small
from tests.grids import surface
from tests.problems import INPUTS, OUTPUTS, diverging, plain_scores, quadratic, quadratic_form
from tests.tolerance import assert_within, auroc_rounding, metrics_rounding, rounding, scores_rounding
from training.data.score import auroc
from training.models.losses import Lamp, per_sample_loss
from training.models.rewrite import rewrite
from training.runtime.command import InputError

CPU = torch.device("cpu")
Steps = Sequence[Sequence[float]]


def test_surface_of_a_quadratic_is_its_closed_form(tmp_path: Path) -> None:
    """L(W + αD + βE) = L + α gᵀd + β gᵀe + ½ vᵀHv, on a plane that is not square, at every point."""
    surface("--problem", "tests.problems:quadratic", "--x=-2:1:7", "--y=-0.5:0.5:4", "--out", tmp_path / "q.h5")
    grid = read_grid(tmp_path / "q.h5")
    assert grid.values["l2"].shape == (1, 4, 7)
    assert grid.done.all()
    assert grid.evaluated.all()
    d, e = (direction.params["weight"].numpy() for direction in random_directions(quadratic().model, seed=0))
    with h5py.File(tmp_path / "q.h5") as file:
        np.testing.assert_array_equal(file["directions/0/x/weight"], d)
        np.testing.assert_array_equal(file["directions/0/y/weight"], e)
    base, slope_d, gram = quadratic_form(quadratic(), d)
    _, slope_e, _ = quadratic_form(quadratic(), e)
    hessian = np.kron(np.eye(OUTPUTS), 2 * gram)
    assert hessian.shape == (INPUTS * OUTPUTS, INPUTS * OUTPUTS)
    for row, beta in enumerate(grid.y.values):
        for column, alpha in enumerate(grid.x.values):
            v = (alpha * d + beta * e).ravel()
            expected = base + alpha * slope_d + beta * slope_e + 0.5 * v @ hessian @ v
            assert grid.values["l2"][0, row, column] == pytest.approx(expected, rel=1e-12)


def test_standard_error_is_that_of_the_mean_over_samples(tmp_path: Path) -> None:
    surface("--problem", "tests.problems:quadratic", "--x=0:0:1", "--out", tmp_path / "q.h5")
    x, t = (part.numpy() for part in quadratic().sets["train"])
    losses = ((x @ quadratic().model.weight.detach().numpy().T - t) ** 2).sum(1)
    grid = read_grid(tmp_path / "q.h5")
    assert grid.values["l2"][0, 0, 0] == pytest.approx(losses.mean(), rel=1e-12)
    assert grid.stderr["l2"][0, 0, 0] == pytest.approx(losses.std(ddof=1) / np.sqrt(len(x)), rel=1e-12)


def test_lines_planes_and_ranges_that_touch_zero(tmp_path: Path) -> None:
    surface("--problem", "tests.problems:quadratic", "--x=0:1:3", "--planes", 3, "--out", tmp_path / "l.h5")
    grid = read_grid(tmp_path / "l.h5")
    assert grid.values["l2"].shape == (3, 1, 3)
    base = grid.values["l2"][:, 0, 0]
    assert base[0] == base[1] == base[2]
    assert len(set(grid.values["l2"][:, 0, 2])) == 3
    surface("--problem", "tests.problems:quadratic", "--x=0:1:3", "--y=-1:0:2", "--out", tmp_path / "p.h5")
    np.testing.assert_array_equal(read_grid(tmp_path / "p.h5").values["l2"][0, 1], grid.values["l2"][0, 0])


def slow_metrics(path: Path, metric_seed: int = 0) -> dict[str, float]:
    """Metrics of a checkpoint's weights, by other means: batch by batch, image by image."""
    from training.data.splits import load_split
    from training.fitting.checkpoint import load_checkpoint
    from training.models.autoencoder import build_model

    found = load_checkpoint(path)
    split = load_split(found.config, None)
    model = build_model(found.config)
    model.load_state_dict({**found.params, **found.buffers})
    model.eval()
    scores = plain_scores(model, split.test).numpy()
    order = torch.randperm(len(split.train), generator=torch.Generator().manual_seed(metric_seed))
    own = 0.0
    with torch.no_grad():
        for indices in order.split(found.config.batch_size):
            batch = split.train[indices]
            lamp = Lamp(found.config.lamp_scale, found.config.lamp_detach, found.config.lamp_eps)
            own += float(per_sample_loss(found.config.loss, lamp)(model(batch), batch).double().sum())
        fixed = per_sample_loss("l2-lamp", Lamp("none"))(model(split.train), split.train).double().mean()
    return {
        "l2": float(plain_scores(model, split.train).mean()) * 1024,
        "l2@test-anomalous": float(scores[split.labels].mean()) * 1024,
        "auroc": auroc(scores[~split.labels], scores[split.labels]).value,
        "l2-lamp": float(fixed),
        "own": own / len(split.train),
    }


FEW = 50  # images that tell how a network rounds


def relative_rounding(path: Path, names: Sequence[str], points: Steps = ((),), seed: int = 0) -> np.ndarray:
    """Relative difference of each metric between two computations in single precision, the largest of `points`."""
    problem = from_checkpoint(path, None, FEW)
    plane = random_directions(problem.model, seed)[: len(points[0])]
    truth, allowed = metrics_rounding(problem, resolve_metrics(problem, list(names)), plane, points)
    return 2 * (allowed / np.abs(truth))[:, 0].max(0)


def allowed_auroc(problem: Problem) -> float:
    """How far two AUROC of `problem` may be apart, from how close its scores are to one another."""
    normal, anomalous = (problem.sets[name].inputs for name in ("test-normal", "test-anomalous"))
    relative = scores_rounding(problem.model, torch.cat([normal[:FEW], anomalous[:FEW]]))
    return auroc_rounding(*(plain_scores(problem.model, part).numpy() for part in (normal, anomalous)), relative)


@pytest.mark.parametrize("batch_size", [48, 600])
def test_metrics_at_the_model_are_those_of_slow_computations(tmp_path: Path, batch_size: int) -> None:
    path = train_small(tmp_path, "l2-lamp", "--batch-size", str(batch_size))
    expected = slow_metrics(path)
    names = ",".join(expected)
    surface("--ckpt", path, "--x=0:0:1", "--metrics", names, "--threads", 1, "--out", tmp_path / "s.h5")
    grid = read_grid(tmp_path / "s.h5")
    losses = [name for name in expected if name != "auroc"]
    allowed = relative_rounding(path, losses)
    for name, limit in zip(losses, allowed, strict=True):
        assert grid.values[name][0, 0, 0] == pytest.approx(expected[name], rel=limit), name
    for found in (grid.values["auroc"][0, 0, 0], grid.meta["checkpoint_metrics"]["auroc"]):
        assert found == pytest.approx(expected["auroc"], abs=allowed_auroc(from_checkpoint(path, None)))
    assert grid.stderr["own"][0, 0, 0] > 0


def test_own_of_a_patched_model_is_over_batches_of_patches(tmp_path: Path) -> None:
    path = train_small(tmp_path, "l2-lamp", "--patches", "4", "--depth", "3", "--batch-size", "64")
    problem = from_checkpoint(path, None)
    evaluator = Evaluator(problem, resolve_metrics(problem, ["own", "l2"]), [()], CPU)
    (own, l2), _ = evaluator.at(0, [])
    patches = problem.sets["train-patches"].inputs
    assert patches.shape == (4000, 1, 16, 16)
    with torch.no_grad():
        model = problem.model.patch_model
        losses = [per_sample_loss("l2-lamp", Lamp())(model(batch), batch).sum() for batch in patches.split(64)]
    expected = plain_scores(problem.model, problem.sets["train-normal"].inputs).mean() * 1024
    for_own, for_l2 = relative_rounding(path, ["own", "l2"])
    # the slow sum over a batch of 64 patches of 256 pixels is in single precision too
    assert own == pytest.approx(float(sum(losses)) / 4000, rel=for_own + rounding(64 * 256))
    assert l2 == pytest.approx(float(expected), rel=for_l2)


def test_max_samples_takes_a_seeded_subset_that_the_file_states(checkpoint: Path, tmp_path: Path) -> None:
    surface("--ckpt", checkpoint, "--x=0:0:1", "--max-samples", 50, "--out", tmp_path / "s.h5")
    grid = read_grid(tmp_path / "s.h5")
    assert set(grid.meta["identity"]["samples"].values()) == {50}
    whole = from_checkpoint(checkpoint, None).sets["train-normal"].inputs
    torch.testing.assert_close(from_checkpoint(checkpoint, None, 50).sets["train-normal"].inputs, whole[:50])
    values = torch.arange(10.0)
    shuffled = subsample(Samples(values, values), 0)
    assert shuffled.targets is shuffled.inputs
    assert sorted(shuffled.inputs.tolist()) == values.tolist()


@pytest.mark.parametrize("rewrite", [False, True])
def test_batching_and_threads_do_not_change_the_numbers(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, rewrite: bool
) -> None:
    results = []
    for batch, threads in ((7, 1), (250, 2), (10_000, 1)):
        monkeypatch.setattr("landscape.engine.forward.BATCH", batch)
        monkeypatch.setattr("training.models.rewrite.Rewritten.batch_size", lambda self, shape, batch=batch: batch)
        torch.set_num_threads(threads)
        problem = from_checkpoint(checkpoint, None)
        metrics = resolve_metrics(problem, ["l2", "own", "ssim", "auroc"])
        results.append(Evaluator(problem, metrics, [()], CPU, allow_rewrite=rewrite).at(0, [])[0])
    # The sum over a convolution's taps is taken in another order by each kernel that a batch size selects.
    limits = [*relative_rounding(checkpoint, ["l2", "own", "ssim"]) * results[0][:3], allowed_auroc(problem)]
    assert_within(results[1:], results[:1], limits)


def test_the_rewritten_surface_equals_the_plain_one(checkpoint: Path) -> None:
    problem = from_checkpoint(checkpoint, None)
    metrics = resolve_metrics(problem, ["l2", "own", "l2-lamp", "l1", "ssim", "l2@test-anomalous"])
    plane = random_directions(problem.model, seed=1)
    plain, fast = (Evaluator(problem, metrics, [plane], CPU, allow_rewrite=allow) for allow in (False, True))
    assert (fast.forward.rewritten is not None) == (rewrite(problem.model.eval(), CPU) is not None)
    points = ([0.0, 0.0], [1.0, -0.7], [-0.3, 2.0])
    limits = relative_rounding(checkpoint, [metric.name for metric in metrics], points, seed=1)
    for steps in points:
        np.testing.assert_array_less(np.abs(fast.at(0, steps)[0] / plain.at(0, steps)[0] - 1), limits)


def test_diverged_points_are_stored_as_they_are(tmp_path: Path) -> None:
    surface("--problem", "tests.problems:diverging", "--x=-2:2:5", "--out", tmp_path / "d.h5")
    grid = read_grid(tmp_path / "d.h5")
    values = grid.values["l2"][0, 0]
    assert np.isnan(values).any() or np.isinf(values).any()
    assert np.isfinite(values[2])
    assert grid.done.all()
    before = (tmp_path / "d.h5").read_bytes()
    surface("--problem", "tests.problems:diverging", "--x=-2:2:5", "--out", tmp_path / "d.h5")
    assert (tmp_path / "d.h5").read_bytes() == before
    assert diverging().name == "diverging"


def test_unusable_problems_are_named(tmp_path: Path) -> None:
    for name, message in {
        "unequal": "expected as many inputs as targets in set 'a', found 5 and 4",
        "broadcast": r"expected outputs of the targets' shape \(5,\), found \(5, 1\)",
        "nameless": "expected names of sets and metrics without '/', '@' and ',', found 'a/b'",
        "weightless": "expected a model with parameters, found none",
        "empty": "expected one or more sets of samples, found none",
        "no_statistics": "expected batch norms with running statistics, found one without",
    }.items():
        with pytest.raises(InputError, match=message):
            surface("--problem", f"tests.problems:{name}", "--x=-1:1:3", "--out", tmp_path / f"{name}.h5")
    assert list(tmp_path.iterdir()) == []


def test_auroc_needs_the_test_sets_and_sets_need_names() -> None:
    problem = quadratic()
    for names, message in {
        ("auroc",): "expected sets among train, found 'test-normal' for 'auroc'",
        ("l2@elsewhere",): "expected sets among train, found 'elsewhere'",
        ("l3",): "expected names among l2, l2-lamp",
        ("auroc@train",): "without @set: it is over test-normal and test-anomalous",
        ("l2", "l2"): "expected different names",
        (): "expected different names, found none",
    }.items():
        with pytest.raises(InputError, match=message):
            resolve_metrics(problem, names)
    assert resolve_metrics(problem, ["l2@train"])[0].over == ("train",)


def test_a_problem_may_bring_metrics_of_its_own() -> None:
    problem = quadratic()
    problem.metrics = {"worst": Metric("worst", "largest residual", lambda o, t: (o - t).abs().amax(1))}
    evaluator = Evaluator(problem, resolve_metrics(problem, ["worst"]), [()], CPU)
    x, t = problem.sets["train"]
    expected = (x @ problem.model.weight.detach().T - t).abs().amax(1).mean()
    assert evaluator.at(0, [])[0, 0] == pytest.approx(float(expected))


def test_grid_attributes_say_where_it_came_from(checkpoint: Path, tmp_path: Path) -> None:
    surface(
        "--ckpt", checkpoint, "--x=-1:1:3", "--max-samples", 20, "--metrics", "l2,auroc", "--out", tmp_path / "s.h5"
    )
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["format"] == "landscape-grid"
        assert file.attrs["format_version"] == 1
        assert json.loads(file.attrs["config"])["loss"] == "l2-lamp"
        identity = json.loads(file.attrs["identity"])
        assert len(identity["weights"]) == len(identity["data"]) == 64
        assert identity["metrics"]["auroc"]["transform"] == "none"
        assert json.loads(file.attrs["software"])["torch"] == torch.__version__
        assert file["metrics/l2"].dims[2][0].name == "/axes/x"
        assert file["metrics/l2"].dtype == np.float64
    grid = read_grid(tmp_path / "s.h5")
    assert isinstance(grid, Grid)
    assert isinstance(grid.x, Axis)


def test_a_problem_needs_a_factory_that_returns_one(tmp_path: Path) -> None:
    for name, message in {
        "tests.problems": "expected package.module:factory",
        "tests.nowhere:f": "found none named 'tests.nowhere'",
        "tests.problems:f": "expected a function 'f' in tests.problems, found none",
        ".problems:f": "expected package.module:factory",
        "tests.problems:no_problem": "found int",
    }.items():
        with pytest.raises(InputError, match=message):
            surface("--problem", name, "--out", tmp_path / "x.h5")


def test_other_data_than_those_trained_on_are_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from training.fitting import origin

    real = origin.load_split
    monkeypatch.setattr(origin, "load_split", lambda *a: dataclasses.replace(real(*a), digest="0" * 64))
    with pytest.raises(InputError, match="expected the data it was trained on"):
        from_checkpoint(checkpoint, None)


def test_problem_is_what_users_construct() -> None:
    assert Problem(torch.nn.Linear(2, 2), {"a": Samples(torch.ones(1, 2), torch.ones(1, 2))}).name == ""


def test_the_gap_is_that_of_the_medians_with_a_known_error() -> None:
    from landscape.engine.metrics import METRICS, median_error

    random = np.random.default_rng(0)
    normal, anomalous = random.normal(0, 1, 400), random.normal(3, 2, 900)
    value, error = METRICS["gap"].value([normal, anomalous], [np.ones(400), np.ones(900)])
    assert value == pytest.approx(np.median(anomalous) - np.median(normal))
    # The median of n normal values has variance π/2·σ²/n.
    assert error == pytest.approx(np.sqrt(np.pi / 2 * (1 / 400 + 4 / 900)), rel=0.15)
    assert np.isnan(median_error(np.ones(1)))

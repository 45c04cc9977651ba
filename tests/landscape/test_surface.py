"""Surfaces against closed forms; metrics against slow second computations; ranks against each other."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.files.grid import Axis, Grid, parse_axis, read_grid
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem, Samples, subsample
from landscape.sources import from_checkpoint
from landscape.surface import main
from tests.conftest import run_python, train_small
from tests.problems import INPUTS, OUTPUTS, diverging, plain_scores, quadratic, quadratic_form
from training.data.score import auroc
from training.models.losses import Lamp, per_sample_loss
from training.runtime.command import InputError

CPU = torch.device("cpu")


def surface(*options: object) -> None:
    main([str(option) for option in options])


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


@pytest.mark.parametrize("batch_size", [48, 600])
def test_metrics_at_the_model_are_those_of_slow_computations(tmp_path: Path, batch_size: int) -> None:
    path = train_small(tmp_path, "l2-lamp", "--batch-size", str(batch_size))
    expected = slow_metrics(path)
    names = ",".join(expected)
    surface("--ckpt", path, "--x=0:0:1", "--metrics", names, "--threads", 1, "--out", tmp_path / "s.h5")
    grid = read_grid(tmp_path / "s.h5")
    for name, value in expected.items():
        assert grid.values[name][0, 0, 0] == pytest.approx(value, rel=1e-5)
    assert grid.meta["checkpoint_metrics"]["auroc"] == pytest.approx(expected["auroc"], abs=1e-4)
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
    assert own == pytest.approx(float(sum(losses)) / 4000, rel=1e-5)
    assert l2 == pytest.approx(
        float(plain_scores(problem.model, problem.sets["train-normal"].inputs).mean()) * 1024, rel=1e-5
    )


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
        results.append(Evaluator(problem, metrics, [()], CPU, allow_rewrite=rewrite).at(0, []))
    # The sum over a convolution's taps is taken in another order by each kernel that a batch size selects.
    np.testing.assert_allclose(results[1], results[0], rtol=5e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=5e-6)


def test_the_rewritten_surface_equals_the_plain_one(checkpoint: Path) -> None:
    problem = from_checkpoint(checkpoint, None)
    metrics = resolve_metrics(problem, ["l2", "own", "l2-lamp", "l1", "ssim", "l2@test-anomalous"])
    plane = random_directions(problem.model, seed=1)
    plain, fast = (Evaluator(problem, metrics, [plane], CPU, allow_rewrite=allow) for allow in (False, True))
    assert fast.forward.rewritten is not None
    for steps in ([0.0, 0.0], [1.0, -0.7], [-0.3, 2.0]):
        np.testing.assert_allclose(fast.at(0, steps)[0], plain.at(0, steps)[0], rtol=1e-5)


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


def test_what_is_done_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = Evaluator.at_many
    monkeypatch.setattr(Evaluator, "at_many", lambda self, *a: calls.append(1) or real(self, *a))
    for _ in range(2):
        surface("--problem", "tests.problems:diverging", "--x=-2:2:5", "--out", tmp_path / "d.h5")
    assert len(calls) == 5 + 1  # the second run only holds one point against the file


CHANGES = {
    "seed": ["--seed", 1],
    "x": ["--x=-1:1:5"],
    "y": ["--y=0:1:2"],
    "planes": ["--planes", 2],
    "normalization": ["--normalization", "layer"],
    "orthogonal": ["--orthogonal"],
    "metrics": ["--metrics", "l1"],
    "batch_norm": ["--batch-norm", "recalibrate"],
    "precision": ["--precision", "float64"],
    "adaptive": ["--adaptive", 0.05],
    "samples": ["--max-samples", 10],
    "weights": ["--problem", "tests.problems:other_weights"],
    "data": ["--problem", "tests.problems:other_data"],
    "modules": ["--problem", "tests.problems:other_modules"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_with_other_arguments_is_refused_and_says_what_differs(tmp_path: Path, name: str) -> None:
    options = ["--problem", "tests.problems:quadratic", "--x=-1:1:3", "--out", tmp_path / "s.h5"]
    surface(*options)
    before = (tmp_path / "s.h5").read_bytes()
    with pytest.raises(InputError, match=rf"s.h5: expected a file of the same run, found one with .*{name} "):
        surface(*options, *CHANGES[name])
    assert (tmp_path / "s.h5").read_bytes() == before


def test_a_file_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--problem", "tests.problems:quadratic", "--x=-1:1:3", "--out", tmp_path / "s.h5"]
    surface(*options)
    monkeypatch.setattr("tests.problems.Linear.forward", lambda self, x: torch.tanh(x @ self.weight.T))
    with pytest.raises(InputError, match="expected the values of the same model and metrics"):
        surface(*options)


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


def same_content(first: Path, second: Path, rtol: float = 0.0) -> None:
    """Hold every data set, axis and attribute but the command line of two files equal."""
    with h5py.File(first) as a, h5py.File(second) as b:
        names: list[str] = []
        a.visit(names.append)
        others: list[str] = []
        b.visit(others.append)
        assert names == others
        for name in names:
            if isinstance(a[name], h5py.Dataset):
                np.testing.assert_allclose(a[name][()], b[name][()], rtol=rtol, atol=0, equal_nan=True)
        for name in set(a.attrs) | set(b.attrs):
            if name != "command":
                assert a.attrs[name] == b.attrs[name]


def test_1_2_and_4_ranks_give_the_same_file(checkpoint: Path, tmp_path: Path) -> None:
    for ranks in (0, 1, 2, 4):
        done = run_python(
            "-m",
            "landscape.surface",
            "--ckpt",
            checkpoint,
            "--x=-1:1:5",
            "--y=-0.5:0.5:3",
            "--threads",
            1,
            "--metrics",
            "l2,own,l2@test-anomalous",
            "--max-samples",
            100,
            "--out",
            tmp_path / f"{ranks}.h5",
            ranks=ranks,
        )
        assert done.returncode == 0, done.stderr
        *_, summary, last = done.stdout.splitlines()
        assert last == str(tmp_path / f"{ranks}.h5")
        assert summary.startswith("15 points, 15 evaluated, 15 of them now")
        assert ("ranks idle" in summary) == (ranks > 1)
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".") or p.suffix == ".lock") == []
    for ranks in (1, 2, 4):
        same_content(tmp_path / "0.h5", tmp_path / f"{ranks}.h5")


ADAPTIVE = (
    "--x=-1:1:17",
    "--y=-1:1:13",
    "--metrics",
    "l2,own",
    "--max-samples",
    60,
    "--threads",
    1,
    "--adaptive",
    0.02,
)


def test_adaptive_surfaces_do_not_depend_on_ranks_and_state_their_error(checkpoint: Path, tmp_path: Path) -> None:
    for ranks in (0, 2, 3):
        out = tmp_path / f"{ranks}.h5"
        done = run_python("-m", "landscape.surface", "--ckpt", checkpoint, *ADAPTIVE, "--out", out, ranks=ranks)
        assert done.returncode == 0, done.stderr
        assert "(and limit for all, with 95% confidence), of the range: l2 " in done.stdout
    same_content(tmp_path / "0.h5", tmp_path / "2.h5")
    same_content(tmp_path / "0.h5", tmp_path / "3.h5")
    grid = read_grid(tmp_path / "0.h5")
    assert grid.done.all()
    assert 0.1 < grid.evaluated.mean() < 0.95
    assert np.isfinite(grid.values["l2"]).all()
    np.testing.assert_array_equal(np.isnan(grid.stderr["l2"]), ~grid.evaluated)

    surface("--ckpt", checkpoint, *ADAPTIVE[:-2], "--out", tmp_path / "full.h5")
    full = read_grid(tmp_path / "full.h5")
    for name, values in full.values.items():
        np.testing.assert_array_equal(grid.values[name][grid.evaluated], values[grid.evaluated])
        logs = np.log(grid.values[name]), np.log(values)
        assert np.abs(logs[0] - logs[1]).max() < grid.interpolation_limit[name] * np.ptp(logs[1])
        assert 0 < grid.interpolation_error[name] <= 0.02 <= grid.interpolation_limit[name] < 0.2
        assert np.isnan(full.interpolation_error[name])


def test_an_adaptive_run_that_was_stopped_makes_the_same_choices(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface("--ckpt", checkpoint, *ADAPTIVE, "--out", tmp_path / "whole.h5")
    monkeypatch.setattr("training.runtime.farm.BATCH_SECONDS", 0.0)
    real = Evaluator.at_many
    for stop_after in (3, 10, 20, 30):
        left = [stop_after]

        def at_many(self: Evaluator, *arguments: object, left: list[int] = left) -> np.ndarray:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return real(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Evaluator, "at_many", at_many)
        with pytest.raises(KeyboardInterrupt):
            surface("--ckpt", checkpoint, *ADAPTIVE, "--out", tmp_path / "stopped.h5")
        monkeypatch.setattr(Evaluator, "at_many", real)
    assert 0 < read_grid(tmp_path / "stopped.h5").done.mean() < 1
    surface("--ckpt", checkpoint, *ADAPTIVE, "--out", tmp_path / "stopped.h5")
    same_content(tmp_path / "whole.h5", tmp_path / "stopped.h5")


def test_a_stopped_run_holds_a_coarse_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]
    real = Evaluator.at_many

    def at_many(self: Evaluator, *arguments: object) -> np.ndarray:
        calls[0] += 1
        if calls[0] > 40:
            raise KeyboardInterrupt
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Evaluator, "at_many", at_many)
    monkeypatch.setattr("training.runtime.farm.BATCH_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        surface("--problem", "tests.problems:quadratic", "--x=-1:1:33", "--y=-1:1:33", "--out", tmp_path / "s.h5")
    done = read_grid(tmp_path / "s.h5").done[0]
    assert done[::8, ::8].all()
    assert done.sum() < 50


def test_an_output_that_is_lost_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Evaluator.at_many

    def at_many(self: Evaluator, *arguments: object) -> np.ndarray:
        (tmp_path / "s.h5").unlink(missing_ok=True)
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Evaluator, "at_many", at_many)
    with pytest.raises(OSError, match="found it removed or replaced"):
        surface("--problem", "tests.problems:quadratic", "--x=-1:1:5", "--out", tmp_path / "s.h5")
    assert list(tmp_path.iterdir()) == []


def test_thread_counts_agree_to_rounding(checkpoint: Path, tmp_path: Path) -> None:
    for threads in (1, 2):
        options = ["--ckpt", checkpoint, "--x=-1:1:3", "--metrics", "l2,own,auroc", "--threads", threads]
        surface(*options, "--out", tmp_path / f"{threads}.h5")
    same_content(tmp_path / "1.h5", tmp_path / "2.h5", rtol=1e-6)


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-1:1:5", [-1, -0.5, 0, 0.5, 1]), ("0:2:3", [0, 1, 2]), ("-0.5:0.5:2", [-0.5, 0.5]), ("3:3:1", [3])],
)
def test_axes(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(parse_axis("x", text).values, expected)


def test_the_base_point_lies_on_symmetric_axes_of_any_odd_length() -> None:
    for count in range(3, 402, 2):
        assert parse_axis("x", f"-0.3:0.3:{count}").values[count // 2] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "expected low:high:count"),
        ("a:b:c", "expected low:high:count"),
        ("-1:1:2.5", "expected low:high:count"),
        ("1:-1:5", "expected low < high"),
        ("0:1:1", "expected low < high"),
        ("0:0:3", "expected low < high"),
        ("-inf:1:3", "expected finite ends"),
        ("nan:1:3", "expected finite ends"),
        ("-1e308:1e308:3", "expected steps of at most 1e"),
        ("1:1.0000000000000002:5", "expected ends that 5 points can lie between"),
        ("0:1:0", "expected 1 to 10001 points"),
    ],
)
def test_bad_axes_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--x=.*{message}"):
        parse_axis("x", text)


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

    from training.data import splits as data

    real = data.load_split
    monkeypatch.setattr(data, "load_split", lambda *a: dataclasses.replace(real(*a), digest="0" * 64))
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

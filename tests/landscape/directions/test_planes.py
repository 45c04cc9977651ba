"""Kinds of planes: ends that are other models, all three of a plane, saved directions, eigenvectors, marks, ranks."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from landscape.directions.normalization import filter_sums
from landscape.directions.options import PlaneOptions
from landscape.directions.planes import Setting, planes_of
from landscape.engine.metrics import resolve_metrics
from landscape.engine.vectorize import VectorizedModel
from landscape.files.grid import Grid, read_grid
from landscape.sources import from_checkpoint
from tests.conftest import run_python, train_small
from tests.grids import same_content, surface
from tests.problems import INPUTS, OUTPUTS, normed, quadratic, quadratic_form
from tests.tolerance import metrics_rounding
from training.runtime.command import InputError

NORMED = ("--problem", "tests.problems:normed")
QUADRATIC = ("--problem", "tests.problems:quadratic")


def loss(model: torch.nn.Module) -> float:
    """The L2 of the normed problem's samples by the model's own forward pass."""
    x, t = normed().sets["train"]
    with torch.no_grad():
        return float((model.eval()(x) - t).square().sum(1).mean())


def other(folder: Path, seed: int) -> Path:
    """Another model of the normed problem as a state_dict."""
    path = folder / f"model{seed}.pt"
    torch.save(normed(seed).model.state_dict(), path)
    return path


def steps_of_quadratic(folder: Path, count: int = 6) -> Path:
    """Checkpoints of gradient descent on the quadratic, named by their updates."""
    problem = quadratic()
    x, t = problem.sets["train"]
    (folder / "run" / "trajectory").mkdir(parents=True)
    for updates in range(0, 10 * count, 10):
        torch.save(problem.model.state_dict(), folder / "run" / "trajectory" / f"{updates:06d}.pt")
        for _ in range(10):
            gradient = torch.autograd.grad((problem.model(x) - t).square().sum(1).mean(), [problem.model.weight])
            with torch.no_grad():
                problem.model.weight -= 0.01 * gradient[0]
    return folder / "run"


def computed(out: Path, *options: object) -> Grid:
    surface(*options, "--threads", 1, "--out", out)
    return read_grid(out)


def test_interpolation_ends_at_the_other_model(tmp_path: Path) -> None:
    """With its running statistics, which frozen ones are not."""
    to = other(tmp_path, 1)
    ends = loss(normed(0).model), loss(normed(1).model)
    grid = computed(tmp_path / "i.h5", *NORMED, "--to", to, "--x=0:1:3", "--batch-norm", "interpolate")
    assert grid.values["l2"][0, 0, [0, 2]] == pytest.approx(ends, rel=1e-12)
    middle = normed(0).model
    end = normed(1).model.state_dict()
    halves = {name: (a + end[name]) / 2 for name, a in middle.state_dict().items() if a.is_floating_point()}
    middle.load_state_dict({**end, **halves})
    assert grid.values["l2"][0, 0, 1] == pytest.approx(loss(middle), rel=1e-12)
    frozen = computed(tmp_path / "f.h5", *NORMED, "--to", to)
    assert frozen.x.spec == "0.0:1.0:51"
    assert frozen.values["l2"][0, 0, 0] == pytest.approx(ends[0], rel=1e-12)
    assert frozen.values["l2"][0, 0, -1] != pytest.approx(ends[1], rel=1e-2)
    assert "running statistics" in frozen.meta["plane"]["notes"][0]


def test_interpolation_between_checkpoints_ends_at_the_other_one(checkpoint: Path, tmp_path: Path) -> None:
    """In single precision, by the rewritten forward pass, whose statistics must move too."""
    to = train_small(tmp_path / "other", "l2", "--seed", "5")
    own = computed(tmp_path / "own.h5", "--ckpt", to, "--x=0:0:1", "--max-samples", 100)
    options = ("--ckpt", checkpoint, "--max-samples", 100, "--to", to, "--x=0:1:2")
    grid = computed(tmp_path / "i.h5", *options, "--batch-norm", "interpolate")
    problem = from_checkpoint(to, None, 100)
    # θ + 1·(θ' − θ) rounds each weight twice more: fewer operations than any layer has
    _, allowed = metrics_rounding(problem, resolve_metrics(problem, ["l2"]), (), [[]])
    assert grid.values["l2"][0, 0, 1] == pytest.approx(own.values["l2"][0, 0, 0], abs=3 * float(allowed[0, 0, 0]))
    assert grid.meta["plane"]["models"][0]["name"] == "other"


def test_the_plane_through_three_models_holds_all_three(tmp_path: Path) -> None:
    options = ("--to", other(tmp_path, 1), "--and", other(tmp_path, 2), "--batch-norm", "interpolate")
    grid = computed(tmp_path / "p.h5", *NORMED, *options, "--mark", tmp_path / "model2.pt")
    at = {value: int(np.flatnonzero(np.isclose(grid.x.values, value))[0]) for value in (0, 1)}
    values = grid.values["l2"][0]
    found = [values[at[0], at[0]], values[at[0], at[1]], values[at[1], at[0]]]
    assert found == pytest.approx([loss(normed(seed).model) for seed in (0, 1, 2)], rel=1e-12)
    np.testing.assert_allclose(grid.paths["model2"].coordinates, [[0, 1]], atol=1e-12)
    assert grid.paths["model2"].distance[0] == pytest.approx(0, abs=1e-9)


def test_several_points_in_one_call_move_the_statistics_too(tmp_path: Path) -> None:
    """As on a GPU, where the model is vectorized over its weights."""
    problem = normed()
    options = PlaneOptions(to=other(tmp_path, 1))
    metrics = resolve_metrics(problem, ["l2"])
    plane = planes_of(options, Setting(problem, metrics[0], batch_norm="interpolate")).planes[0]
    model = VectorizedModel(problem.model.eval(), [step.params for step in plane])
    x, t = problem.sets["train"]
    weights = model.weights(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    found = (model(weights, x) - t).square().sum(2).mean(1)
    assert found.tolist() == pytest.approx([loss(normed(seed).model) for seed in (0, 1)], rel=1e-12)


def test_where_an_interpolated_variance_is_negative_there_is_no_value_and_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = computed(tmp_path / "n.h5", *NORMED, "--to", other(tmp_path, 1), "--x=-5:1:7", "--batch-norm", "interpolate")
    variances = [normed(seed).model[1].running_var for seed in (0, 1)]
    negative = [bool((variances[0] + x * (variances[1] - variances[0]) < 0).any()) for x in grid.x.values]
    assert any(negative)
    assert np.isnan(grid.values["l2"][0, 0]).tolist() == negative
    assert grid.done.all()
    assert "note: interpolated running variances get negative" in capsys.readouterr().err
    grid = computed(
        tmp_path / "b.h5", *NORMED, "--to", tmp_path / "model1.pt", "--x=0:1:3", "--batch-norm", "interpolate"
    )
    assert grid.meta["plane"]["notes"] == []


def test_a_trajectory_lies_on_its_plane_where_the_file_says(tmp_path: Path) -> None:
    """Directions are orthonormal; coordinates, distances and explained variance are those of NumPy's products."""
    run = steps_of_quadratic(tmp_path)
    grid = computed(tmp_path / "t.h5", *QUADRATIC, "--trajectory", run, "--y=-0.1:0.1:3", "--x=-0.1:0.1:3")
    track = grid.paths["trajectory"]
    assert track.updates.tolist() == [0, 10, 20, 30, 40, 50]
    np.testing.assert_allclose(track.coordinates[0], 0, atol=1e-12)  # the problem's own weights are the first
    with h5py.File(tmp_path / "t.h5") as file:
        x, y = (file[f"directions/0/{axis}/weight"][()] for axis in "xy")
    assert [(x * x).sum(), (y * y).sum(), (x * y).sum()] == pytest.approx([1, 1, 0], abs=1e-9)
    weights = np.stack([torch.load(path)["weight"].numpy() for path in sorted((run / "trajectory").glob("*.pt"))])
    steps = (weights - weights[0]).reshape(len(weights), -1)
    np.testing.assert_allclose(track.coordinates, steps @ np.stack([x.ravel(), y.ravel()]).T, atol=1e-9)
    off = steps - track.coordinates @ np.stack([x.ravel(), y.ravel()])
    np.testing.assert_allclose(track.distance, np.linalg.norm(off, axis=1), atol=1e-9)
    scales = np.linalg.svd(steps - steps.mean(0), compute_uv=False)
    assert grid.meta["plane"]["explained_variance"] == pytest.approx((scales**2 / (scales**2).sum())[:2], rel=1e-9)


def test_axes_of_a_trajectory_are_around_it_and_the_marks(tmp_path: Path) -> None:
    run = steps_of_quadratic(tmp_path)
    files = sorted((run / "trajectory").glob("*.pt"))
    far = {
        "weight": torch.load(files[0])["weight"]
        + 3 * (torch.load(files[-1])["weight"] - torch.load(files[0])["weight"])
    }
    torch.save(far, tmp_path / "far.pt")
    options = (*QUADRATIC, "--trajectory", *files, "--mark", tmp_path / "far.pt", run)
    grid = computed(tmp_path / "t.h5", *options)
    assert list(grid.paths) == ["trajectory", "far", "run"]
    np.testing.assert_array_equal(grid.paths["run"].coordinates, grid.paths["trajectory"].coordinates)
    np.testing.assert_allclose(grid.paths["far"].coordinates[0], 3 * grid.paths["run"].coordinates[-1], rtol=1e-9)
    for axis, column in ((grid.x, 0), (grid.y, 1)):
        places = np.concatenate([track.coordinates[:, column] for track in grid.paths.values()])
        assert axis.values[0] < places.min()
        assert places.max() < axis.values[-1]


def test_saved_directions_give_the_same_surface_again(tmp_path: Path) -> None:
    axes = ("--x=-1:1:4", "--y=-1:0.5:3", "--planes", 2)
    first = computed(tmp_path / "a.h5", *NORMED, *axes, "--seed", 3)
    again = computed(tmp_path / "b.h5", *NORMED, *axes, "--directions", tmp_path / "a.h5")
    np.testing.assert_array_equal(again.values["l2"], first.values["l2"])
    assert again.meta["directions"] == first.meta["directions"]
    assert again.meta["identity"]["plane"]["directions"] == first.meta["directions"]
    scaled = computed(tmp_path / "c.h5", *NORMED, *axes, "--directions", tmp_path / "a.h5", "--renormalize")
    np.testing.assert_allclose(scaled.values["l2"], first.values["l2"], rtol=1e-12)  # they were so scaled


def test_saved_directions_are_rescaled_to_another_model(tmp_path: Path) -> None:
    surface(*QUADRATIC, "--x=-1:1:3", "--out", tmp_path / "a.h5")
    surface(
        *("--problem", "tests.problems:other_weights", "--x=-1:1:3", "--out", tmp_path / "b.h5"),
        *("--directions", tmp_path / "a.h5", "--renormalize"),
    )
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        old, new = (torch.from_numpy(file["directions/0/x/weight"][()]) for file in (a, b))
    weight = quadratic().model.weight.detach().clone()
    weight[0, 0] += 1
    torch.testing.assert_close(filter_sums(new.square(), None), filter_sums(weight.square(), None))
    torch.testing.assert_close(new[0] / new[0].norm(), old[0] / old[0].norm())
    torch.testing.assert_close(new[1:], old[1:])


@pytest.mark.parametrize("which", ["extreme", "largest"])
def test_eigenvectors_are_those_of_the_quadratic(tmp_path: Path, which: str) -> None:
    """Its Hessian is 2·I ⊗ X'X/N; along them the loss is L + α gᵀv + ½ λ α², exactly."""
    grid = computed(tmp_path / "e.h5", *QUADRATIC, "--eigenvectors", which, "--x=-1:1:3", "--y=-1:1:3")
    base, _, gram = quadratic_form(quadratic(), np.zeros((OUTPUTS, INPUTS)))
    hessian = np.kron(np.eye(OUTPUTS), 2 * gram)
    values = np.linalg.eigvalsh(hessian)
    expected = [values[-1], values[0] if which == "extreme" else values[-2]]
    assert grid.meta["plane"]["eigenvalues"] == pytest.approx(expected, rel=1e-9)
    assert grid.meta["plane"]["converged"]
    with h5py.File(tmp_path / "e.h5") as file:
        vectors = [file[f"directions/0/{axis}/weight"][()] for axis in "xy"]
    for axis, (value, vector) in enumerate(zip(expected, vectors, strict=True)):
        assert (vector**2).sum() == pytest.approx(1, rel=1e-12)
        np.testing.assert_allclose(hessian @ vector.ravel(), value * vector.ravel(), atol=1e-9)
        _, slope, _ = quadratic_form(quadratic(), vector)
        line = grid.values["l2"][0, 1] if axis == 0 else grid.values["l2"][0, :, 1]
        np.testing.assert_allclose(line, [base + a * slope + value * a * a / 2 for a in (-1, 0, 1)], rtol=1e-12)


def test_a_resumed_run_keeps_the_eigenvectors_of_its_file(tmp_path: Path) -> None:
    options = (*NORMED, "--eigenvectors", "extreme", "--x=-1:1:3")
    first = computed(tmp_path / "e.h5", *options)
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        for dataset in file["directions/0/x"].values():
            dataset[...] = -dataset[()]  # as good an eigenvector, and not the one that would be found
        del file["digest"]  # that of a finished file
        file["done"][0, 0, 2] = False
        file["metrics/l2"][0, 0, 0] = first.values["l2"][0, 0, 2]
    again = computed(tmp_path / "e.h5", *options)
    assert again.values["l2"][0, 0, 2] == pytest.approx(first.values["l2"][0, 0, 0], rel=1e-12)


def test_other_models_files_or_kinds_are_refused_when_a_file_is_resumed(tmp_path: Path) -> None:
    to = other(tmp_path, 1)
    surface(*NORMED, "--to", to, "--x=0:1:3", "--out", tmp_path / "s.h5")
    surface(*NORMED, "--to", to, "--x=0:1:3", "--out", tmp_path / "s.h5")
    for options in (("--to", other(tmp_path, 2)), (), ("--to", to, "--mark", to), ("--eigenvectors", "extreme")):
        with pytest.raises(InputError, match=r"s.h5: expected a file of the same run, found one with .*(plane|marks)"):
            surface(*NORMED, *options, "--x=0:1:3", "--out", tmp_path / "s.h5")


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    to, run = other(tmp_path, 1), steps_of_quadratic(tmp_path)
    torch.save(normed(0).model.state_dict(), tmp_path / "same.pt")
    torch.save({"a": 1}, tmp_path / "plain.pt")
    surface(*NORMED, "--x=0:1:2", "--out", tmp_path / "line.h5")
    state = [normed(seed).model.state_dict() for seed in (0, 1)]
    torch.save({name: a + (state[1][name] - a) * 2 for name, a in state[0].items()}, tmp_path / "beyond.pt")
    cases = [
        (("--to", tmp_path / "none.pt"), "none.pt: expected a checkpoint file, found none"),
        (("--to", tmp_path / "plain.pt"), "plain.pt: expected a checkpoint or a state_dict of tensors"),
        (("--to", run / "trajectory" / "000000.pt"), "expected 0.weight of shape (4, 3), as in the model, found none"),
        (("--to", tmp_path / "same.pt"), "same.pt: expected another model than the base, found the same"),
        (("--to", to, "--and", tmp_path / "beyond.pt"), "--and: expected three models that span a plane"),
        (("--and", to), "--and: expected --to with it"),
        (("--to", to, "--y=0:1:2"), "--y: expected --and beside --to"),
        (("--to", to, "--trajectory", run), "--to and --trajectory: expected one kind of directions"),
        (("--trajectory", tmp_path), "expected checkpoints named by updates (000000.pt, …), found none"),
        (("--trajectory", to), "--trajectory: expected checkpoints that span 2 directions, found 1"),
        (("--directions", tmp_path / "line.h5", "--y=0:1:2"), "expected directions x and y of plane 0, found x;"),
        (("--directions", tmp_path / "line.h5", "--planes", 2), "expected directions x of plane 1, found none;"),
        (("--directions", to), "expected a grid file with directions, found a damaged"),
        (("--directions", tmp_path / "none.h5"), "none.h5: expected a grid file with directions, found none"),
        (("--renormalize",), "--renormalize: expected --directions or --eigenvectors, found random"),
        (("--batch-norm", "interpolate"), "--batch-norm interpolate: expected --to or --trajectory, found random"),
        (("--mark", to, "--planes", 2), "--planes 2: expected one plane"),
    ]
    for options, message in cases:
        with pytest.raises(InputError) as caught:
            surface(*NORMED, *options, "--out", tmp_path / "x.h5")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "x.h5").exists()
    surface(*QUADRATIC, "--x=0:1:2", "--out", tmp_path / "q.h5")
    with pytest.raises(InputError, match=r"q\.h5: x: expected 0\.weight of shape"):
        surface(*NORMED, "--directions", tmp_path / "q.h5", "--out", tmp_path / "x.h5")


@pytest.mark.parametrize("kind", ["trajectory", "eigenvectors"])
def test_ranks_share_one_plane(tmp_path: Path, kind: str) -> None:
    asked = ("--trajectory", steps_of_quadratic(tmp_path)) if kind == "trajectory" else ("--eigenvectors", "extreme")
    options = (*QUADRATIC, *asked, "--x=-1:1:3", "--y=-1:1:3")
    surface(*options, "--out", tmp_path / "one.h5")
    result = run_python("-m", "landscape.surface", *options, "--out", tmp_path / "two.h5", ranks=2)
    assert result.returncode == 0, result.stderr
    same_content(tmp_path / "one.h5", tmp_path / "two.h5", rtol=1e-12)


def test_what_the_root_cannot_use_ends_all_ranks(tmp_path: Path) -> None:
    options = ("--to", tmp_path / "none.pt", "--out", tmp_path / "x.h5")
    result = run_python("-m", "landscape.surface", *QUADRATIC, *options, ranks=2, timeout=60)
    assert result.returncode == 2
    assert result.stderr.count("none.pt: expected a checkpoint file") == 1

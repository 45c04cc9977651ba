"""Surfaces that are stopped, resumed, refused, or computed by several ranks: the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.files.grid import read_grid
from landscape.sources import from_checkpoint
from tests.conftest import run_python
from tests.grids import same_content, surface
from tests.tolerance import assert_within, metrics_rounding
from training.runtime.command import InputError, WriteError

CPU = torch.device("cpu")


def printed(capsys: pytest.CaptureFixture[str], ranks: int, *options: object) -> list[str]:
    """What a surface over `ranks` processes prints; of none, in this process."""
    if ranks == 0:
        surface(*options)
        return capsys.readouterr().out.splitlines()
    done = run_python("-m", "landscape.surface", *options, ranks=ranks)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_1_2_and_4_ranks_give_the_same_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plane = ("--x=-1:1:5", "--y=-0.5:0.5:3", "--metrics", "l2,own,l2@test-anomalous", "--max-samples", 100)
    for ranks in (0, 1, 2, 4):
        out = tmp_path / f"{ranks}.h5"
        lines = printed(capsys, ranks, "--ckpt", checkpoint, *plane, "--threads", 1, "--out", out)
        *_, summary, last = lines
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


def test_adaptive_surfaces_do_not_depend_on_ranks_and_state_their_error(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ranks in (0, 2, 3):
        out = tmp_path / f"{ranks}.h5"
        lines = printed(capsys, ranks, "--ckpt", checkpoint, *ADAPTIVE, "--out", out)
        assert any("(and limit for all, with 95% confidence), of the range: l2 " in line for line in lines)
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
    with pytest.raises(WriteError, match="found it removed or replaced"):
        surface("--problem", "tests.problems:quadratic", "--x=-1:1:5", "--out", tmp_path / "s.h5")
    assert list(tmp_path.iterdir()) == []


def test_thread_counts_agree_to_rounding(checkpoint: Path, tmp_path: Path) -> None:
    for threads in (1, 2):
        options = ["--ckpt", checkpoint, "--x=-1:1:3", "--metrics", "l2,own,auroc", "--threads", threads]
        surface(*options, "--max-samples", 60, "--out", tmp_path / f"{threads}.h5")
    problem = from_checkpoint(checkpoint, None, 60)
    metrics = resolve_metrics(problem, ["l2", "own", "auroc"])
    points = [[-1.0], [0.0], [1.0]]
    truth, allowed = metrics_rounding(problem, metrics, random_directions(problem.model, 0)[:1], points)
    for threads in (1, 2):
        grid = read_grid(tmp_path / f"{threads}.h5")
        for number, metric in enumerate(metrics):
            assert_within(grid.values[metric.name][0, 0], truth[:, 0, number], allowed[:, 0, number])
            assert_within(grid.stderr[metric.name][0, 0], truth[:, 1, number], allowed[:, 1, number])


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

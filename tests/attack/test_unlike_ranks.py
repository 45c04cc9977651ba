"""Ranks that are not given the same: nobody computes, and one line names what differs and where."""

from pathlib import Path

import pytest

from tests.conftest import run_python, run_unlike, train_small
from tests.training.data.made import idx, pixels, write_mnist

SECONDS = 120

SURFACE = ("-m", "landscape.surface", "--x=-1:1:3", "--threads", 1)
DIFFERENCES = {
    "weights": "expected what rank 0 has, found weights ",
    "data": "expected what rank 0 has, found data ",
    "directions": "expected what rank 0 has, found directions ",
    "code": "expected test 12.9925 at the model, as rank 0 finds, found 14.291749; ",
}


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_a_surface_of_unlike_problems_is_refused(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "a.h5"
    metrics = ("--metrics", "test") if kind == "code" else ()
    problem = ("--problem", f"tests.mpi.unlike:{kind}")
    done = run_python(*SURFACE, *problem, *metrics, "--out", out, ranks=2, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: rank 1: {DIFFERENCES[kind]}"), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_path_with_another_checkpoint_on_each_node_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    other = train_small(tmp_path / "other", "l2-lamp", "--seed", "1")
    options = (*SURFACE, "--max-samples", 50, "--out", tmp_path / "a.h5")
    done = run_unlike((*options, "--ckpt", checkpoint), (*options, "--ckpt", other), timeout=SECONDS)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: rank 1: expected what rank 0 has, found weights ")
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.slow
def test_sharpness_of_unlike_checkpoints_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    """Each rank finds a file of its own under the name of one run."""
    for rank, seed in enumerate((0, 1)):
        train_small(tmp_path / f"node{rank}" / "run", "l2-lamp", "--seed", str(seed))
    paths = [tmp_path / f"node{rank}" / "run" / "checkpoint.pt" for rank in range(2)]
    options = ("-m", "analysis.sharpness", "--threads", 1, "--out", tmp_path / "s.csv")
    done = run_unlike(*((*options, "--ckpt", path) for path in paths), timeout=SECONDS)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: rank 1: expected what rank 0 has, found run "checkpoint ')
    assert not (tmp_path / "s.csv").exists()


PLAN = """
[all]
dataset = "mnist"
normal = 3
width = 2
epochs = 1
"""


def refused_sweep(*ranks: tuple[object, ...]) -> str:
    done = run_unlike(*(("-m", "training.sweep", "--threads", 1, *rank) for rank in ranks), timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


def test_sweeps_of_unlike_plans_are_refused(tmp_path: Path) -> None:
    plans = [tmp_path / name for name in ("a.toml", "b.toml")]
    plans[0].write_text(PLAN)
    plans[1].write_text(PLAN + "seed = 1\n")
    line = refused_sweep(*((plan, "--out", tmp_path / "s") for plan in plans))
    assert line.startswith("error: rank 1: expected what rank 0 has, found runs ")
    assert not (tmp_path / "s").exists()


def test_a_sweep_of_unlike_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    write_mnist(tmp_path / "a" / "mnist")
    write_mnist(tmp_path / "b" / "mnist", train_images=idx(pixels(6, 7).tobytes(), 6, 28, 28))
    options = (tmp_path / "plan.toml", "--out", tmp_path / "s", "--data-dir")
    line = refused_sweep((*options, tmp_path / "a"), (*options, tmp_path / "b"))
    assert line.startswith("error: rank 1: expected what rank 0 has, found data of dataset=mnist,normal=3,")
    assert [path.name for path in (tmp_path / "s").iterdir() if path.is_dir()] == []

"""What the tests share: the data folder, a command runner, small checkpoints."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as commands have it, before torch is imported

import torch

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

#: Files and folders whose tests compute what a machine may round otherwise: the marker `numeric`, `make test-machines`.
NUMERIC = (
    *("landscape", "training/models", "training/fitting", "training/test_sweep.py", "training/test_probe.py"),
    *("training/data/test_classify.py", "training/data/test_score.py", "training/data/test_pixels.py"),
    *("analysis/measures", "analysis/pictures", "analysis/statistics", "analysis/test_sharpness.py"),
    *("figures/test_fig4.py", "docs/test_your_model.py", "docs/test_extending.py"),
)

Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [ROOT / "tests" / name for name in NUMERIC]
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker("numeric")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def double() -> Iterator[None]:
    """Models are made, and trained, in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal sends it, here and in processes started here, although `nohup … &` has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def data_dir() -> str:
    """The folder of full data sets, or a skip with its reason."""
    folder = os.environ.get("LANDSCAPE_DATA")
    if not folder:
        pytest.skip("LANDSCAPE_DATA is not set: the full data sets are not there")
    return folder


def run_python(
    *arguments: object, ranks: int = 0, env: dict[str, str] | None = None, timeout: int = 600
) -> "subprocess.CompletedProcess[str]":
    """Run `python arguments…` in the project, under mpirun if `ranks`; the output is captured as text."""
    launcher = [str(BIN / "mpirun"), "-n", str(ranks)] if ranks else []
    return run_words([*launcher, sys.executable, *map(str, arguments)], env, timeout)


def run_words(words: Sequence[str], env: dict[str, str] | None, timeout: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run_unlike(
    *ranks: Sequence[object], env: dict[str, str] | None = None, timeout: int = 600
) -> "subprocess.CompletedProcess[str]":
    """Run `python arguments…` in the project with other arguments for each rank; no arguments: a rank that only ends.

    A launcher that hangs is killed after `timeout` seconds, and the test fails.
    """
    words = [[sys.executable, *map(str, arguments)] if arguments else ["/bin/false"] for arguments in ranks]
    launcher = [str(BIN / "mpirun")]
    for number, command in enumerate(words):
        launcher += [*([":"] if number else []), "-n", "1", *command]
    return run_words(launcher, env, timeout)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small L2-LAMP autoencoder, two epochs on mnist-mini's digit 3."""
    return train_small(tmp_path_factory.mktemp("run"), "l2-lamp")


def train_small(folder: Path, loss: str, *options: str) -> Path:
    from training.train import main

    main([*SMALL, "--loss", loss, "--out", str(folder), *options])
    return folder / "checkpoint.pt"


SMALL = ("--dataset", "mnist-mini", "--normal", "3", "--epochs", "2", "--width", "4", "--threads", "1")

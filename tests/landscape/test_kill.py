"""`kill -9` at random instants, of whole runs and of single ranks: what is left can be read, and a re-run ends it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.files.grid import read_grid
from tests.conftest import BIN, ROOT, run_python
from tests.grids import same_content
from tests.processes import left_over, processes, until

pytestmark = pytest.mark.slow

KILLS = 4  # a scenario, of those that hit the run while some of its points were done; there are 9 scenarios
TRIES = 12
GRID = ("--x=-1:1:23", "--y=-1:1:17", "--metrics", "l2,slow", "--threads", 1)
ADAPTIVE = ("--adaptive", 0.0005)


def arguments(out: Path, adaptive: bool, factory: str = "points") -> list[str]:
    options = ["--problem", f"tests.mpi.slow:{factory}", *GRID, *(ADAPTIVE if adaptive else ()), "--out", out]
    return ["-m", "landscape.surface", *map(str, options)]


def launch(out: Path, ranks: int, adaptive: bool, factory: str = "points") -> "subprocess.Popen[bytes]":
    launcher = [str(BIN / "mpirun"), "-n", str(ranks)] if ranks else []
    return subprocess.Popen(
        [*launcher, sys.executable, *arguments(out, adaptive, factory)],
        cwd=ROOT,
        env={**os.environ, "LANDSCAPE_TEST_MS": "12" if adaptive else "5"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """The file of an uninterrupted run, by whether it is adaptive."""
    folder = tmp_path_factory.mktemp("whole")

    def make(adaptive: bool) -> Path:
        path = folder / f"{adaptive}.h5"
        if not path.exists():
            done = run_python(*arguments(path, adaptive), env={"LANDSCAPE_TEST_MS": "0"})
            assert done.returncode == 0, done.stderr
        return path

    return make


def family(pid: int) -> dict[int, int]:
    """All processes that `pid` started, and itself, each with its rank, or -1 if it is none."""
    running = processes()
    members = {pid}
    while more := {child for child, (parent, _, _) in running.items() if parent in members} - members:
        members |= more
    ranks = {}
    for member in members & set(running):
        variables = dict(entry.partition("=")[::2] for entry in running[member][2].split("\0"))
        ranks[member] = int(variables.get("PMI_RANK", -1))
    return ranks


def kill(process: "subprocess.Popen[bytes]", victim: int | str, out: Path) -> int:
    """Kill a rank, the launcher, or all; the status of the run, 0 if it had ended before. None of it may go on."""
    members = family(process.pid) or {process.pid: -1}
    pids = {"all": list(members), "launcher": [process.pid]}.get(
        str(victim), [pid for pid, rank in members.items() if rank == victim]
    )
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    status = process.wait(timeout=60)
    until(lambda: not left_over(out))
    time.sleep(0.1)  # the lock of one that is being ended lasts a moment longer than it is seen
    return status


def done_of(path: Path) -> int:
    return int(read_grid(path).done.sum()) if path.exists() else 0


def check_points(path: Path, whole: Path) -> float:
    """Hold what is done equal to an uninterrupted run's; returns its share."""
    grid, true = read_grid(path), read_grid(whole)
    for kind in ("values", "stderr"):
        for name, values in getattr(grid, kind).items():
            np.testing.assert_array_equal(values[grid.done], getattr(true, kind)[name][grid.done])
    np.testing.assert_array_equal(grid.evaluated[grid.done], true.evaluated[grid.done])
    return float(grid.done.mean())


def note(text: str) -> None:
    print(text)
    if path := os.environ.get("LANDSCAPE_TEST_KILLS"):
        with open(path, "a") as file:
            file.write(text + "\n")


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("ranks", "victim"), [(0, "all"), (2, "all"), (2, 0), (2, 1)])
def test_killed_again_and_again_it_ends_as_if_uninterrupted(
    whole: Callable[[bool], Path], tmp_path: Path, ranks: int, victim: int | str, adaptive: bool
) -> None:
    survive(whole(adaptive), tmp_path / "k.h5", ranks, victim, adaptive)


def test_a_killed_launcher_takes_its_ranks_along(whole: Callable[[bool], Path], tmp_path: Path) -> None:
    survive(whole(False), tmp_path / "k.h5", 2, "launcher", False)


def survive(whole: Path, out: Path, ranks: int, victim: int | str, adaptive: bool) -> None:
    """Kill runs on one file KILLS times while some points are done, then let it end."""
    instants = random.Random(f"{ranks} {victim} {adaptive}")
    hits: list[float] = []
    elsewhere = between = 0
    for _ in range(TRIES):
        if len(hits) == KILLS:
            break
        before = done_of(out)
        process = launch(out, ranks, adaptive)
        until(lambda process=process, before=before: process.poll() is not None or done_of(out) > before)
        time.sleep(instants.uniform(0, 0.6))
        status = kill(process, victim, out)
        share = check_points(out, whole)
        with h5py.File(out, locking=False) as file:
            between += bool((file["evaluated"][:] & ~file["done"][:]).any())
        if status != 0 and 0 < share < 1:
            hits.append(share)
        else:
            elsewhere += 1
        if share == 1:  # ended too early for enough kills: once more from the start
            out.unlink()
    note(f"{ranks} {victim} {adaptive}: hits at {hits}, {between} between two writes, {elsewhere} at other instants")
    assert len(hits) == KILLS
    done = run_python(*arguments(out, adaptive), ranks=ranks, env={"LANDSCAPE_TEST_MS": "0"})
    assert done.returncode == 0, done.stderr
    same_content(whole, out)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("ranks", [0, 2])
def test_killed_while_the_file_is_made_nothing_half_has_its_name(
    whole: Callable[[bool], Path], tmp_path: Path, ranks: int
) -> None:
    """Some at start-up and some before the file has its name; the last one is followed by a run that ends."""
    out = tmp_path / "k.h5"
    instants = random.Random(ranks)
    half = 0
    for number in range(5):
        process = launch(out, ranks, adaptive=False, factory="disk")
        if number:
            until(lambda process=process: process.poll() is not None or temporary_files(out))
            time.sleep(instants.uniform(0, 0.5))
        else:
            time.sleep(instants.uniform(0, 1))
        assert kill(process, "all" if number % 2 else 0 if ranks else "all", out) != 0
        half += bool(temporary_files(out))
        assert not out.exists() or check_points(out, whole(False)) < 1
        out.unlink(missing_ok=True)
    note(f"{ranks} creation: {half} half files under another name")
    assert half >= 2
    assert run_python(*arguments(out, False), ranks=ranks, env={"LANDSCAPE_TEST_MS": "0"}).returncode == 0
    same_content(whole(False), out)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def temporary_files(out: Path) -> list[Path]:
    return [path for path in out.parent.iterdir() if path.name.startswith(".")]

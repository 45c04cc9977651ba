"""Failures on any rank: all end within seconds with one message, nothing half is left, and a re-run completes it."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from landscape.files import gridfile
from landscape.files.grid import read_grid
from landscape.files.gridfile import GridWriter
from landscape.surface import main
from tests.conftest import BIN, ROOT, run_python
from tests.grids import same_content
from tests.landscape.files.test_gridfile import grid, point
from tests.processes import left_over, until
from training.runtime.command import InputError, is_out_of_memory, one_line
from training.runtime.lock import lock_path

SECONDS = 120  # what waits for a rank that failed waits for ever; the rest is for slow machines
GRID = ("--metrics", "test", "--x=-1:1:19", "--y=-1:1:15", "--threads", 1)


def options(factory: str, out: Path) -> list[str]:
    return [
        str(x) for x in ("-m", "landscape.surface", "--problem", f"tests.mpi.failing:{factory}", *GRID, "--out", out)
    ]


@pytest.fixture(autouse=True)
def _batches_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.runtime.farm.BATCH_SECONDS", 0.02)  # the problems set it too


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run without failures."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    complete(path)
    return path


def complete(out: Path) -> None:
    main(options("fine", out)[2:])


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


def is_locked(out: Path) -> bool:
    """Whether a process holds the file: one that is being ended does for a moment longer than it is seen."""
    try:
        with open(lock_path(out)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def run_failing(factory: str, out: Path, ranks: int, rank: int) -> "subprocess.CompletedProcess[str]":
    """Run a problem that fails on `rank`; it must do so in time, with one message."""
    start = time.monotonic()
    env = {"LANDSCAPE_TEST_RANK": str(rank), "LANDSCAPE_TEST_FOLDER": str(out.parent)}
    done = run_python(*options(factory, out), ranks=ranks, env=env)
    until(lambda: not left_over(out) and not is_locked(out), SECONDS)
    assert time.monotonic() - start < SECONDS
    assert done.returncode not in (0, 130), done.stderr
    assert done.returncode > 0, "it crashed"
    assert str(out) not in done.stdout
    if ranks or factory != "bug":
        assert len(errors(done.stderr)) == 1, done.stderr
    assert done.stderr.count("Traceback") == (factory == "bug"), done.stderr
    return done


MESSAGES = {
    "bug": r"something went wrong",
    "memory": r"error: (rank \d: )?out of memory: MemoryError",
    "torch_memory": r"error: (rank \d: )?out of memory: .*can't allocate memory: you tried to allocate",
    "lost_folder": r"error: (rank 0: )?\S*f.h5: expected the file that this run writes, found it removed or replaced",
    "full_disk": r"error: (rank 0: )?\S*f.h5: expected a file that can be written, found File too large; ",
}
FAILURES = [("bug", 0, 0), ("torch_memory", 0, 0), ("lost_folder", 0, 0), ("full_disk", 0, 0), ("full_disk", 2, 0)] + [
    (kind, 2, rank) for kind in ("bug", "memory", "lost_folder") for rank in (0, 1)
]


@pytest.mark.parametrize(("kind", "ranks", "rank"), FAILURES)
def test_a_failure_in_mid_run_ends_it_and_a_rerun_completes_it(
    whole: Path, tmp_path: Path, kind: str, ranks: int, rank: int
) -> None:
    out = tmp_path / "folder" / "f.h5"
    done = run_failing(kind, out, ranks, rank)
    assert re.search(MESSAGES[kind], done.stderr), done.stderr
    if kind == "lost_folder":
        assert not out.parent.exists()
    else:
        left, true = read_grid(out), read_grid(whole)
        assert 0 < left.done.sum() < left.done.size
        np.testing.assert_array_equal(left.values["test"][left.done], true.values["test"][left.done])
    complete(out)
    same_content(whole, out)
    assert [path.name for path in out.parent.iterdir()] == ["f.h5"]


FULL = """
folder=$1; shift
mount -t tmpfs -o size=16k none "$folder" || exit 77
"$@"; echo "status $?"
ls -A "$folder"
"""
THEN_READ_ONLY = """
mount -o remount,size=1m "$folder"
"$@" > /dev/null; echo "status $?"
mount -o remount,ro "$folder"
"$@" > /dev/null; echo "status $?"
ls -A "$folder"
"""


def mounting(script: str, folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run `script` where it may mount, or skip; what it mounts ends with it."""
    folder.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(folder), *command],
        cwd=ROOT,
        env={**os.environ, "LANDSCAPE_TEST_MS": "0"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"needs a small file system of its own: {done.stderr.strip()}")
    return done


def test_a_full_disk_and_a_read_only_one_are_refused_by_name(tmp_path: Path) -> None:
    """The file does not fit; then it does; then it is finished, but nothing can be locked."""
    out = tmp_path / "disk" / "f.h5"
    done = mounting(FULL + THEN_READ_ONLY, out.parent, sys.executable, *options("fine", out))
    assert done.stdout.split("\n") == ["status 2", "status 0", "status 2", "f.h5", ""], done
    assert errors(done.stderr) == [
        f"error: {out}: expected a folder that can be written, found No space left on device",
        f"error: {out}: expected a folder that can be written, found Read-only file system",
    ]
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_refused_over_ranks(tmp_path: Path) -> None:
    out = tmp_path / "disk" / "f.h5"
    done = mounting(FULL, out.parent, str(BIN / "mpirun"), "-n", "2", sys.executable, *options("fine", out))
    assert done.stdout == "status 2\n"
    assert done.stderr == f"error: {out}: expected a folder that can be written, found No space left on device\n"


def test_a_folder_that_cannot_be_made_is_refused_over_ranks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "folder" / "f.h5"
    done = run_python(*options("fine", out), ranks=2)
    assert done.returncode == 2
    assert done.stderr == f"error: {out}: expected a folder that can be written, found Not a directory\n"


def test_a_folder_without_permission_is_refused_by_name(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind root; the read-only file system above does")
    out = tmp_path / "closed" / "f.h5"
    out.parent.mkdir(mode=0o555)
    with pytest.raises(InputError, match="expected a folder that can be written, found Permission denied"):
        GridWriter(out, grid(), {})


def test_a_disk_that_is_full_when_the_run_is_named_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock holds without the name of its holder, and the file, whole from its start, needs no more room."""
    real = os.write

    def write(file: int, content: bytes) -> int:
        if content.startswith(b"landscape lock: "):
            raise OSError(28, "No space left on device")
        return real(file, content)

    monkeypatch.setattr(os, "write", write)
    writer = GridWriter(tmp_path / "g.h5", grid(), {})
    with pytest.raises(InputError, match="expected no other writer, found another process"):
        GridWriter(tmp_path / "g.h5", grid(), {})
    writer.write([((0, 0, 0), point(1.0))])
    writer.close()
    assert read_grid(tmp_path / "g.h5").done.sum() == 1


def test_after_any_single_write_the_file_is_whole_and_can_be_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends after its n-th write, for all n: what is done has its values, and a re-run does the rest."""
    points = [((0, 2, 3), 5.0), ((1, 0, 1), -np.inf), ((0, 0, 0), 2.0)]
    real = gridfile._write_at
    left = [0]

    def write_at(*arguments: object) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gridfile, "_write_at", write_at)
    seen = set()
    for writes in range(100):
        path = tmp_path / f"{writes}.h5"
        writer = GridWriter(path, grid(), {})
        left[0] = writes
        try:
            writer.write([(index, point(value)) for index, value in points])
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            writer.close()
        found = read_grid(path)
        seen.add((int(found.evaluated.sum()), int(found.done.sum())))
        for index, value in points:
            assert not found.done[index] or found.values["l2"][index] == value
        left[0] = 1000
        writer = GridWriter(path, grid(), {})
        assert (writer.grid.evaluated == writer.grid.done).all()
        writer.write([(index, point(value)) for index, value in points if not writer.grid.evaluated[index]])
        writer.close()
        assert read_grid(path).done.sum() == read_grid(path).evaluated.sum() == len(points)
    assert seen == {(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2)}


def start(factory: str, out: Path, milliseconds: int) -> "subprocess.Popen[str]":
    """A run that has begun to write."""
    process = subprocess.Popen(
        [sys.executable, *options(factory, out)],
        cwd=ROOT,
        env={**os.environ, "LANDSCAPE_TEST_MS": str(milliseconds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: process.poll() is not None or (out.exists() and read_grid(out).done.any()))
    assert process.poll() is None
    return process


def test_a_second_run_on_the_same_file_is_refused_with_the_firsts_identity(tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    first = start("fine", out, 100)
    try:
        done = run_python(*options("fine", out), ranks=2)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        holder = f"process {first.pid} on {socket.gethostname()}: "
        assert f"error: {out}: expected no other writer, found {holder}" in done.stderr
        assert (
            f"surface.py --problem tests.mpi.failing:fine {' '.join(map(str, GRID))} --out {out}; wait" in done.stderr
        )
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    GridWriter(out, read_grid(out), {}).close()  # the lock ended with its holder
    assert not lock_path(out).exists()


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_keeps_what_is_done(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "f.h5"
    process = start("fine", out, 60)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "interrupted\n"
    left = read_grid(out)
    assert 0 < left.done.sum() < left.done.size
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]
    complete(out)
    assert f"{left.done.size - left.done.sum()} of them now" in capsys.readouterr().out
    same_content(whole, out)


def test_a_rank_of_half_speed_leaves_the_other_idle_for_less_than_a_twentieth(tmp_path: Path) -> None:
    env = {"LANDSCAPE_TEST_RANK": "1", "LANDSCAPE_TEST_MS": "6"}
    shares = []
    for attempt in range(10):  # whatever else runs on the machine can only add to it
        done = run_python(*options("half_speed", tmp_path / f"{attempt}.h5"), ranks=2, env=env)
        assert done.returncode == 0, done.stderr
        found = re.search(r"ranks idle ([\d.]+)% of the time", done.stdout)
        assert found
        shares.append(float(found[1]))
        if shares[-1] < 5:
            break
    assert min(shares) < 5


@pytest.mark.parametrize(
    ("error", "memory", "line"),
    [
        (MemoryError(), True, "out of memory: MemoryError"),
        (RuntimeError("CUDA out of memory. Tried\nto allocate"), True, "out of memory: CUDA out of memory. Tried"),
        (RuntimeError("shapes differ"), False, "shapes differ"),
        (KeyError(), False, "KeyError"),
        (OSError(28, "No space left on device", "a.h5"), False, "a.h5: No space left on device"),
        (OSError("lost"), False, "lost"),
    ],
)
def test_an_error_is_told_in_one_line(error: BaseException, memory: bool, line: str) -> None:
    assert is_out_of_memory(error) == memory
    assert one_line(error) == line

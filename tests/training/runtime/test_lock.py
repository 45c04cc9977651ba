"""Locks: one writer at a time, nobody else's file touched, no writer seen where there is none."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import until
from training.runtime.command import InputError
from training.runtime.lock import FIRST_WORDS, SUFFIX, Lock, lock_path, writer_of

FOREIGN = "found a link or another's file of this name"


def test_a_second_writer_is_refused_with_the_firsts_identity_until_it_is_released(tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    lock = Lock(target)
    with pytest.raises(InputError, match=f"a.h5: expected no other writer, found process {os.getpid()} on .*; wait or"):
        Lock(target)
    assert str(writer_of(target)).startswith(f"process {os.getpid()} on ")
    lock.release()
    assert writer_of(target) is None
    with Lock(target):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_has_its_lock_inside(tmp_path: Path) -> None:
    with Lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [SUFFIX]
        with pytest.raises(InputError, match="expected no other writer"):
            Lock(tmp_path)


def test_the_name_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("precious")
    with Lock(tmp_path / "poetry"):
        pass
    assert (tmp_path / "poetry.lock").read_text() == "precious"


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "file", "folder", "FIFO"])
def test_what_is_not_a_lock_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    precious, target = tmp_path / "precious", tmp_path / "a.h5"
    precious.write_text("precious")
    place = lock_path(target)
    {
        "symbolic link": lambda: place.symlink_to(precious),
        "hard link": lambda: place.hardlink_to(precious),
        "file": lambda: place.write_text("precious"),
        "folder": place.mkdir,
        "FIFO": lambda: os.mkfifo(place),
    }[kind]()
    before = place.lstat()
    with pytest.raises(InputError, match=FOREIGN):
        Lock(target)
    assert writer_of(target) is None
    assert place.lstat() == before
    assert precious.read_text() == "precious"


def test_a_dangling_link_makes_no_file_elsewhere(tmp_path: Path) -> None:
    lock_path(tmp_path / "a.h5").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=FOREIGN):
        Lock(tmp_path / "a.h5")
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_to_a_file_has_the_files_lock(tmp_path: Path) -> None:
    (tmp_path / "real.h5").write_text("")
    (tmp_path / "link.h5").symlink_to("real.h5")
    with Lock(tmp_path / "real.h5"), pytest.raises(InputError, match="expected no other writer"):
        Lock(tmp_path / "link.h5")


HOLD = """
import os, pathlib, sys
from training.runtime.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_dead_writer_is_none_and_its_lock_is_taken(tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert str(writer_of(target)).startswith(f"process {process.pid} on ")
    process.kill()
    process.communicate()
    assert lock_path(target).read_bytes().startswith(FIRST_WORDS), "a kill removes nothing"
    until(lambda: writer_of(target) is None, 10)
    Lock(target).release()
    assert not lock_path(target).exists()


def test_who_looks_keeps_no_writer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader holds the lock for the instant in which it asks."""
    target = tmp_path / "a.h5"
    Lock(target).release()
    lock_path(target).write_bytes(FIRST_WORDS)
    reader = os.open(lock_path(target), os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    monkeypatch.setattr("time.sleep", lambda seconds: fcntl.flock(reader, fcntl.LOCK_UN))
    Lock(target).release()
    os.close(reader)


def test_a_file_system_without_locks_is_named_and_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with Lock(tmp_path / "a.h5"):
        assert writer_of(tmp_path / "a.h5") is None
    assert "this file system has no locks" in capsys.readouterr().err


def test_a_long_name_has_a_lock_too(tmp_path: Path) -> None:
    names = [tmp_path / (letter + "x" * 254) for letter in "ab"]
    with Lock(names[0]), Lock(names[1]):
        assert len(list(tmp_path.iterdir())) == 2


def test_what_a_lock_says_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a.h5")
    lock_path(tmp_path / "a.h5").write_bytes(FIRST_WORDS + b"process 1\x1b[2J\n")
    assert writer_of(tmp_path / "a.h5") == "process 1?[2J"
    lock.release()

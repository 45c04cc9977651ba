"""Writing: whole files, and failures that name them; what a command makes of errors."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_python
from training.runtime import command as module
from training.runtime.command import InputError, RunError, WriteError, command, whole_file, write_whole, writing


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_name_that_is_no_utf8_is_written_as_an_escape(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.csv", f"{os.fsdecode(bytes([255]))}.png,é\n")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "\\udcff.png,é\n"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_is_full_at_any_step_is_one_line_with_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")
    monkeypatch.setattr(os, step, no_space)
    with pytest.raises(
        WriteError, match=r"/a\.csv: expected a file that can be written, found No space left on device"
    ):
        write_whole(path, "after")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.csv", "before")]


def library() -> None:
    try:
        no_space()
    except OSError as error:
        raise RuntimeError("unexpected pos 64 vs 0") from error


def test_what_a_library_makes_of_a_full_disk_is_the_same(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"a\.pt: .* found No space left"), whole_file(tmp_path / "a.pt"):
        library()


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    for error in (KeyError("a"), InputError("b"), RunError("c"), FileNotFoundError(2, "none", "other.png")):
        with pytest.raises(type(error)) as caught, writing(tmp_path / "a"):
            raise error
        assert caught.value is error


def test_a_folder_that_is_gone_is_named_by_the_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"gone/a\.csv: expected a file that can be written, found No such file"):
        write_whole(tmp_path / "gone" / "a.csv", "")


def test_a_link_of_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f".a.{os.getpid()}{module.TEMPORARY}.csv").symlink_to("precious")
    write_whole(tmp_path / "a.csv", "new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "a.csv").read_text() == "new"


def test_a_run_that_cannot_write_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = command(lambda argv: write_whole(tmp_path / "gone" / "a", ""))
    assert run([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/gone/a: expected")


SAY = """
import sys
from training.runtime.command import command
sys.exit(command(lambda argv: print(sys.argv[1] * int(sys.argv[2])))())
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("times", [1, 100_000])
def test_a_full_disk_under_the_standard_output_is_one_line(times: int) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SAY, "a", str(times)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("No space left on device")


def test_a_name_that_the_terminal_cannot_say_ends_nothing() -> None:
    done = run_python("-c", SAY, "é", 1, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\xe9\n", "")

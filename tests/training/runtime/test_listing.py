"""The list of commands: complete, quick, without imports; short names run the modules that they stand for."""

import resource
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BIN, run_python
from tests.project.test_commands import COMMANDS
from training.runtime.command import InputError
from training.runtime.listing import PURPOSES, commands_of, find_command, run_or_list, short_names, text_of

EVERY = commands_of(tuple(PURPOSES))


def test_every_command_is_listed_with_its_sentence() -> None:
    assert sorted(command.module for command in EVERY) == COMMANDS
    for command in EVERY:
        assert len(command.sentence) > 20, command
        assert not command.sentence.endswith((".", '"')), command


def test_the_list_has_a_line_each_below_its_purpose() -> None:
    text = text_of(tuple(PURPOSES), "landscape")
    for name, command in short_names(EVERY).items():
        assert [line.split()[0] for line in text.splitlines() if line.endswith(command.sentence)] == [name]
    own = text_of(("figures",), "python -m figures")
    assert "python -m figures COMMAND" in own
    assert "  fig1 " in own
    assert "  surface " not in own


@pytest.mark.parametrize("package", PURPOSES)
def test_it_answers_in_under_a_second_without_torch(package: str) -> None:
    code = (
        f"import sys; sys.argv = ['-m']; import {package}.__main__ as module\n"
        "sys.argv = ['x']; module.main(); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run_python("-c", code).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    done = run_python("-m", package)
    assert done.returncode == 0
    assert PURPOSES[package] in done.stdout
    assert done.stderr == ""


def test_names_are_found_with_and_without_their_package() -> None:
    assert find_command("surface", EVERY).module == "landscape.surface"
    assert find_command("figures.surface", EVERY).module == "figures.surface"
    assert find_command("surface", commands_of(("figures",))).module == "figures.surface"
    assert find_command("training.train", EVERY).module == "training.train"
    assert find_command("specification", commands_of(("figures",))).module == "figures.specification"
    with pytest.raises(InputError, match=r"found analysis\.specification and figures\.specification; name one"):
        find_command("specification", EVERY)
    with pytest.raises(InputError, match=r"surfce: expected the name of a command, found no such command; .*surface"):
        find_command("surfce", EVERY)
    with pytest.raises(InputError, match=r"perhaps landscape\.surface"):
        find_command("landscape.surfaces", EVERY)
    with pytest.raises(InputError, match="python -m landscape lists all"):
        find_command("qqqqq", EVERY)


def test_an_unknown_command_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_or_list(tuple(PURPOSES), "landscape", ["surfce"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: surfce: expected")
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["surfce"]])
def test_only_the_root_speaks(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    assert run_or_list(tuple(PURPOSES), "landscape", words) == (2 if words else 0)
    assert capsys.readouterr() == ("", "")


def test_under_mpirun_the_list_is_printed_once() -> None:
    done = run_python("-m", "figures", ranks=2)
    assert done.returncode == 0
    assert done.stdout.count(PURPOSES["figures"]) == 1


def test_a_short_name_is_the_long_one(tmp_path: Path) -> None:
    quadratic = ("--problem", "tests.problems:quadratic", "--x=-1:1:3", "--metrics", "l2", "--threads", 1)
    for number, words in enumerate((("landscape", "surface"), ("landscape.surface",))):
        done = run_python("-m", *words, *quadratic, "--out", tmp_path / f"{number}.h5")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(tmp_path / f"{number}.h5")
    shown = run_python("-m", "landscape", "inspect", tmp_path / "0.h5").stdout
    assert "python -m landscape.surface --problem tests.problems:quadratic" in shown  # as it is to be repeated
    refused = run_python("-m", "landscape", "surface", "--x=-1:1:3", "--out", tmp_path / "2.h5")
    assert refused.returncode == 2
    assert refused.stderr == "error: --ckpt, --problem: expected one of them, found neither\n"


@pytest.mark.skipif(not (BIN / "landscape").is_file(), reason="the script is there where the project is installed")
def test_the_script_is_the_same() -> None:
    done = subprocess.run([BIN / "landscape"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == text_of(tuple(PURPOSES), "landscape") + "\n"

"""docs/command-line.md: every command is there, and its examples, like those of --help, are understood."""

import importlib
import re
import shlex
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from tests.conftest import ROOT
from tests.project.test_commands import COMMANDS
from training.runtime.listing import PURPOSES, commands_of, find_command

PAGE = (ROOT / "docs" / "command-line.md").read_text()
LINE = re.compile(r"^(?:.*?Example: |\s*)((?:mpirun -n \d+ )?python -m .*)$", re.M)


class UnderstoodError(Exception):
    """The words were parsed; what they ask for is not done."""


def examples_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, its words) of each line that runs a command; what is after ", then" is a line of its own."""
    for line in LINE.findall(text):
        for part in re.split(r", then\s*", re.sub(r"\s{4}\(.*", "", line)):
            words = shlex.split(part)
            if "-m" in words:
                command, *others = words[words.index("-m") + 1 :]
                if command not in PURPOSES:
                    yield command, others
                elif others:  # `python -m landscape surface …`; alone it lists the commands
                    yield find_command(others[0], commands_of(tuple(PURPOSES))).module, others[1:]


ON_PAGE = list(examples_of(PAGE))
IN_HELP = [
    example for command in COMMANDS for example in examples_of(str(importlib.import_module(command).DESCRIPTION))
]


def test_every_command_has_its_line_and_example() -> None:
    named = re.findall(r"^\*\*`([\w.]+)`\*\* .+\.$", PAGE, re.M)
    assert sorted(named) == COMMANDS
    assert len(set(named)) == len(named)
    assert {command for command, _ in ON_PAGE} == set(COMMANDS)


def test_each_line_is_followed_by_an_example_of_its_own_command() -> None:
    for section in re.split(r"^(?=\*\*`)", PAGE, flags=re.M)[1:]:
        name = section[3 : section.index("`", 3)]
        assert {command for command, _ in examples_of(section)} == {name}


def test_help_has_examples_of_every_command() -> None:
    assert {command for command, _ in IN_HELP} == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "words"),
    [*ON_PAGE, *IN_HELP],
    ids=[f"{where}-{command}" for where, found in (("page", ON_PAGE), ("help", IN_HELP)) for command, _ in found],
)
def test_examples_are_understood(command: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = importlib.import_module(command)
    names = [name for name in ("parse", "parse_one_of") if hasattr(module, name)]
    for name in names:
        monkeypatch.setattr(module, name, stopping(getattr(module, name)))
    with pytest.raises(UnderstoodError):
        module.main(words)


def stopping(parse: Any) -> Any:
    def parse_and_stop(*arguments: Any) -> NoReturn:
        parse(*arguments)
        raise UnderstoodError

    return parse_and_stop


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_each_example_on_a_line_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    module: Any = importlib.import_module(command)
    with pytest.raises(SystemExit):
        module.main(["--help"])
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for line in LINE.findall(module.DESCRIPTION):
        assert line.strip() in shown


def test_a_wrong_option_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        test_examples_are_understood("landscape.inspect", ["a.h5", "--no-such-option"], monkeypatch)

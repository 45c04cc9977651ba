"""What commands there are, by what one wants to do, and the way from a command's short name to its module.

A command is a module that lies open in a package and runs when it is called. What it is for stands once, as the first
sentence of its docstring; it is read from the source, so that listing imports none of them.
"""

import difflib
import re
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from training.runtime.command import InputError, launched_rank

#: package -> what one wants to do
PURPOSES = {
    "training": "Train models, and score them",
    "landscape": "Compute a landscape of a model, and look into files",
    "analysis": "Measure, test and tabulate",
    "figures": "Draw",
}
HOME = "landscape."  # of names that two packages have, its own keep the short one
EXAMPLES = (
    "train --dataset mnist-mini --normal 3 --loss l2-lamp --epochs 5 --out runs/a",
    "surface --ckpt runs/a/checkpoint.pt --x=-1:1:17 --y=-1:1:17 --out runs/a/surface.h5",
    "viewer runs/a/surface.h5 --out view.html",
)
FIRST_LINE = re.compile(r'"""`python -m [\w.]+`: (?P<sentence>.+?)\.?(""")?$', re.M)
IS_RUN = 'if __name__ == "__main__":'


class Command(NamedTuple):
    """module: such as `landscape.surface`. sentence: what it makes."""

    module: str
    sentence: str

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]


def commands_of(packages: Sequence[str]) -> list[Command]:
    """The commands of `packages`, in their order and within each by the alphabet."""
    found = []
    for package in packages:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).glob("*.py")):
                text = path.read_text(encoding="utf-8")
                if IS_RUN in text and path.stem != "__main__":
                    line = FIRST_LINE.match(text)
                    found.append(Command(f"{package}.{path.stem}", line["sentence"] if line else ""))
    return found


def short_names(commands: Sequence[Command]) -> dict[str, Command]:
    """What each command is called: its own name, or with its package's where two share it and it is not at home."""
    names = [command.name for command in commands]
    return {
        one.name if names.count(one.name) == 1 or one.module.startswith(HOME) else one.module: one for one in commands
    }


def find_command(word: str, commands: Sequence[Command]) -> Command:
    """The command that `word` names, with or without its package; InputError with the nearest names if none or two."""
    found = [command for command in commands if word in (command.name, command.module)]
    found = [command for command in found if command.module.startswith(HOME)] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{word}: expected one command, found {' and '.join(one.module for one in found)}; name one")
    every = commands_of(tuple(PURPOSES))
    known = [one.module for one in every] if "." in word else list(short_names(every))
    near = difflib.get_close_matches(word, known, 3, 0.5)
    remedy = f"perhaps {', '.join(near)}" if near else "python -m landscape lists all"
    raise InputError(f"{word}: expected the name of a command, found no such command; {remedy}")


def text_of(packages: Sequence[str], program: str) -> str:
    """The commands of `packages`, a line each below what they are for, and what to begin with."""
    every = short_names(commands_of(tuple(PURPOSES)))
    width = max(map(len, every))
    lines = [f"{program} COMMAND …  runs a command; {program} COMMAND --help explains it.", ""]
    for package in packages:
        lines.append(f"{PURPOSES[package]} (python -m {package}.COMMAND is the same)")
        of_package = {name: one for name, one in every.items() if one.module.startswith(f"{package}.")}
        lines += [f"  {name.ljust(width)}  {one.sentence}" for name, one in of_package.items()]
        lines.append("")
    if len(packages) > 1:
        lines += ["To begin with:", *(f"  {program} {example}" for example in EXAMPLES)]
    return "\n".join(lines).rstrip()


def run_or_list(packages: Sequence[str], program: str, argv: Sequence[str] | None = None) -> int:
    """Run the command that the first word names, with the other words as its own; without any, list all.

    Returns the exit status. Under a launcher the root alone speaks.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    speaks = launched_rank() == 0
    if not words or words[0] in ("-h", "--help"):
        if speaks:
            print(text_of(packages, program))
        return 0
    try:
        found = find_command(words[0], commands_of(packages))
    except InputError as error:
        if speaks:
            print(f"error: {error}", file=sys.stderr)
        return 2
    sys.argv = [found.module, *words[1:]]
    runpy.run_module(found.module, run_name="__main__", alter_sys=True)  # ends in SystemExit with its status
    return 0

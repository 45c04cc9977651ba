"""The make files: what they run is what they are documented to run, whatever other make files define."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from training.sweeps.plan import read_plan

FILES = ("Makefile", "paper.mk", "sharpness.mk")


def commands(*words: str) -> list[list[str]]:
    """What `make words…` would run, a list of words each; nothing is run."""
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if not line.startswith("make")]


def options(command: list[str]) -> dict[str, str]:
    """Options of a command with their values, of those given twice the last."""
    found = {}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found[name] = value if equals else following
    return found


def surfaces(*words: str) -> list[dict[str, str]]:
    return [options(command) for command in commands("demo", *words) if "landscape.surface" in command]


@pytest.mark.parametrize(("words", "points"), [((), "51"), (("GRID=9",), "9")])
def test_the_demo_computes_what_it_says(words: tuple[str, ...], points: str) -> None:
    found = surfaces(*words)
    assert len(found) == 2
    for surface in found:
        assert surface["--x"] == surface["--y"] == f"-1:1:{points}"
        assert surface["--metrics"] == "l2,own"
        assert surface["--adaptive"] == "0.01"
        assert surface["--seed"] == "0"


def test_every_variable_of_the_demo_is_honoured() -> None:
    words = ("GRID=5", "RANKS=3", "OUT=elsewhere", "EPOCHS=2", "DIGIT=7", "SEEDS=4, 5")
    made = commands("demo", *words)
    assert not any("out/demo" in word for command in made for word in command)
    (sweep,) = [command for command in made if "training.sweep" in command]
    assert [sweep[at + 1] for at, word in enumerate(sweep) if word == "--set"] == [
        "normal=7",
        "epochs=2",
        "seed=[4, 5]",
    ]
    launched = [command for command in made if "landscape.surface" in command]
    assert all(command[command.index("-n") + 1] == "3" for command in launched)


@pytest.mark.parametrize("words", [(), ("EPOCHS=2", "SEEDS=4, 5", "DIGIT=7")])
def test_the_surfaces_are_of_runs_that_the_sweep_makes(words: tuple[str, ...]) -> None:
    (sweep,) = [command for command in commands("demo", *words) if "training.sweep" in command]
    changes = [sweep[at + 1] for at, word in enumerate(sweep) if word == "--set"]
    names = {run.name for run in read_plan(ROOT / "sweeps/seeds.toml", changes)}
    used = {Path(surface["--ckpt"]).parent.name for surface in surfaces(*words)}
    assert len(used) == 2
    assert used <= names


def test_no_two_make_files_read_together_set_one_variable() -> None:
    def texts(name: str) -> list[str]:
        text = (ROOT / name).read_text()
        included = [word for line in re.findall(r"^-?include (.+)$", text, re.M) for word in line.split()]
        return [text, *(part for other in included for part in texts(other))]

    for name in FILES:
        names = [found for text in texts(name) for found in re.findall(r"^(\w+)\s*[:?+]?=", text, re.M)]
        assert names
        assert sorted(names) == sorted(set(names)), name


@pytest.mark.parametrize(("target", "said"), [("estimate", "--dry-run"), ("sharpness", "analysis.sharpness")])
def test_experiments_have_a_make_of_their_own(target: str, said: str) -> None:
    """`$(MAKE) -f other.mk` runs with -n too: its commands are shown."""
    assert any(said in command for command in commands(target))

"""docs/your-model.md: every block of it runs as it stands there, and gives surfaces that have the models' numbers."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.files.grid import read_grid
from landscape.surface import main as surface
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "your-model.md").read_text()
BLOCKS = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FILES = {name: code for _, name, code in BLOCKS if name}
LINE = "# " + "-" * 117


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tutorial followed from its beginning to its end, in a folder of its own."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, code in FILES.items():
        (folder / name).write_text(code)
    with chdir(folder), pytest.MonkeyPatch.context() as patch, open("out.txt", "w") as out, redirect_stdout(out):
        patch.syspath_prepend(str(folder))
        torch.set_num_threads(1)
        for language, name, code in BLOCKS:
            if language == "sh":
                for line in code.strip().splitlines():
                    command = shlex.split(line)
                    assert command[:3] == ["python", "-m", "landscape.surface"]
                    surface([*command[3:], "--threads", "1"])
            elif not name:
                exec(code, {})
        out.flush()
        yield folder
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_what_is_the_users_own_is_short() -> None:
    assert set(FILES) == {"words.py", "pictures.py", "losses.py"}
    for code in FILES.values():
        ours = code.split(LINE)[1]
        assert len([line for line in ours.splitlines() if line.strip()]) < 20


def test_the_transformer_has_learnt_something_that_the_plane_shows(folder: Path) -> None:
    grid = read_grid(folder / "words.h5")
    loss, accuracy = grid.values["cross-entropy"][0], grid.values["accuracy"][0]
    assert loss.shape == (9, 9)
    assert loss[4, 4] < 0.9 * np.log(12)  # the model's own, below that of guessing
    assert accuracy[4, 4] > 2 / 12
    found = grid.meta["ranges"]
    assert found["x"]["radius"] == found["y"]["radius"] == grid.x.values[-1] == grid.y.values[-1]
    ends = [loss[4, 0], loss[4, -1], loss[0, 4], loss[-1, 4]]
    assert np.mean(ends) == pytest.approx(2 * loss[4, 4], rel=0.15)
    assert grid.meta["identity"]["samples"] == {"train": 256}


def test_the_notebook_gives_the_commands_numbers(folder: Path) -> None:
    command, notebook = read_grid(folder / "words.h5"), read_grid(folder / "notebook.h5")
    middle = notebook.values["cross-entropy"][0, 4, 4]
    assert middle == pytest.approx(command.values["cross-entropy"][0, 4, 4], rel=1e-6)
    assert notebook.meta["identity"]["weights"] == command.meta["identity"]["weights"]
    text = (folder / "out.txt").read_text()
    assert f"smallest loss {command.values['cross-entropy'].min():.3f}" in text


def test_the_resnet_and_its_two_sets(folder: Path) -> None:
    grid = read_grid(folder / "pictures.h5")
    assert set(grid.values) == {"loss", "loss@test", "confidence"}
    assert grid.values["loss"][0, 3, 3] < 0.9 * np.log(3)
    assert grid.values["loss"][0, 3, 3] < grid.values["loss"][0].max()
    assert (grid.values["confidence"] > 1 / 3).all()
    assert (grid.values["confidence"] <= 1).all()
    frozen, fresh = grid.values["loss"][0, 3], read_grid(folder / "recalibrated.h5").values["loss"][0, 0]
    assert np.isfinite(fresh).all()
    assert (np.abs(fresh / frozen - 1) > 1e-3).any()


def test_the_loss_that_is_returned_is_that_of_a_loop(folder: Path) -> None:
    losses = importlib.import_module("losses")
    problem = losses.problem()
    batch = problem.sets["train"].inputs
    with torch.no_grad():
        batches = zip(batch["x"].split(32), batch["y"].split(32), strict=True)
        expected = sum(len(x) * float(problem.model({"x": x, "y": y})["loss"]) for x, y in batches) / 200
    grid = read_grid(folder / "losses.h5")
    assert grid.values["loss"][0, 0, 4] == pytest.approx(expected, rel=1e-6)
    assert "consecutive batches of 32" in grid.meta["metrics"]["loss"]["definition"]

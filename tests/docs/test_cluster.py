"""docs/cluster.md: its lines of srun run with mpirun in place of it, on smaller work."""

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.test_command_line import examples_of, test_examples_are_understood
from tests.docs.test_pages import run

SURFACE, SWEEP, *REST = re.findall(r"^srun .*$", (ROOT / "docs" / "cluster.md").read_text(), re.M)
SRUN = re.compile(r"^srun( --[\w-]+ \d+)* ")


@pytest.mark.parametrize("line", [SURFACE, SWEEP, *REST])
def test_lines_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ((command, words),) = examples_of(SRUN.sub("", line))
    test_examples_are_understood(command, words, monkeypatch)
    assert (ROOT / shlex.split(line)[-3]).is_file() or command == "landscape.surface"


@pytest.mark.slow
def test_a_surface_and_a_sweep_over_ranks(checkpoint: Path, tmp_path: Path) -> None:
    line = SRUN.sub("mpirun -n 3 ", SURFACE).replace(":101", ":9")
    run(line.replace("runs/a/checkpoint.pt", str(checkpoint)), tmp_path)
    assert (tmp_path / "surface.h5").exists()
    run(SRUN.sub("mpirun -n 3 ", SWEEP).replace("full/table1", "demo"), tmp_path)
    assert (tmp_path / "runs/table1/results.csv").read_text().count(",done,") == 8

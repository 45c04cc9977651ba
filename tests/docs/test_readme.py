"""Every command in the README runs as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.strip().splitlines()]


def run(line: str, folder: Path) -> None:
    words = shlex.split(line)
    words = [str(ROOT / word) if word.startswith("sweeps/") else word for word in words]
    words = [{"python": sys.executable, "mpirun": str(BIN / "mpirun")}.get(word, word) for word in words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LANDSCAPE_CACHE": str(folder / "cache")}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makes = [line for line in COMMANDS if line.startswith("make ")]
    assert makes == ["make demo", "make test"]  # .ci/run runs both
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "test-slow", "lint"} <= set(targets)
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(f"make {target}" in ci for target in ("lint", "test", "test-slow", "demo"))


@pytest.mark.slow
def test_one_model_step_by_step(tmp_path: Path) -> None:
    lines = [
        line for line in COMMANDS if "python -m" in line and "--dataset mnist " not in line and "mvtec" not in line
    ]
    assert len(lines) >= 9
    for line in lines:
        run(line, tmp_path)
    for name in (
        "fig1.pdf",
        "auroc.png",
        "fig2.svg",
        "fig4.png",
        "scores.pdf",
        "runs/a/surface.h5",
        "runs/demo/results.csv",
    ):
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.slow
def test_the_full_data(tmp_path: Path, data_dir: str) -> None:
    lines = [line for line in COMMANDS if "--dataset mnist " in line or "mvtec" in line]
    assert len(lines) == 2
    for line in lines:
        run(f"{line} --data-dir {Path(data_dir).resolve()}", tmp_path)

"""Every command of every page runs as it stands there, on one page after the other, in one folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT

#: pages whose commands use what those before them have made
IN_ORDER = ("first-steps", "viewer", "sweeps", "measuring-sharpness")
WRITTEN = (
    "fig1.pdf",
    "auroc.png",
    "fig2.svg",
    "fig3-autoencoders.png",
    "fig4.png",
    "scores.pdf",
    "trajectory.png",
    "view.html",
    "bands.png",
    "scatter.png",
    "runs/a/surface.h5",
    "runs/demo/results.csv",
)
#: pages with commands -> the test that runs them, or sees that they are understood
ELSEWHERE = {
    "cluster": "test_cluster.py",
    "command-line": "test_command_line.py",
    "files": "test_files.py",
    "your-model": "test_your_model.py",
    "data": "test_pages.py",
}


def commands(path: Path) -> list[str]:
    """The lines of the `sh` blocks of a page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.M | re.S)
    return [line for block in blocks for line in block.strip().splitlines()]


def run(line: str, folder: Path) -> None:
    """Run a command line of a page in `folder`, with this Python; it must end well."""
    words = shlex.split(line)
    words = [str(ROOT / word) if word.startswith("sweeps/") else word for word in words]
    words = [{"python": sys.executable, "mpirun": str(BIN / "mpirun")}.get(word, word) for word in words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LANDSCAPE_CACHE": str(folder / "cache")}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_no_page_has_commands_that_nobody_runs() -> None:
    with_commands = {path.stem for path in (ROOT / "docs").glob("*.md") if commands(path)}
    assert with_commands == {*IN_ORDER, *ELSEWHERE}
    for page, test in ELSEWHERE.items():
        assert f'"{page}.md"' in (ROOT / "tests/docs" / test).read_text() or page == "data"


def test_what_readme_and_contributing_say_to_make_can_be_made() -> None:
    readme, contributing = (commands(ROOT / name) for name in ("README.md", "CONTRIBUTING.md"))
    assert readme == ["make demo", "make test"]
    named = {line.removeprefix("make ") for line in [*readme, *contributing]} | {"docs"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert named <= set(targets)
    continuous = (ROOT / ".ci" / "run").read_text()
    in_part = {"test-machines": "test-on-avx2"}  # what takes too long in whole
    assert all(re.search(rf"\bmake {in_part.get(target, target)}\b", continuous) for target in named)


@pytest.mark.slow
def test_the_pages_from_top_to_bottom(tmp_path: Path) -> None:
    for page in IN_ORDER:
        lines = [line for line in commands(ROOT / "docs" / f"{page}.md") if not line.startswith("pip install")]
        assert lines
        for line in lines:
            assert "python -m" in line
            run(line, tmp_path)
    for name in WRITTEN:
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.slow
def test_the_full_data(tmp_path: Path, data_dir: str) -> None:
    lines = commands(ROOT / "docs" / "data.md")
    assert len(lines) == 2
    for line in lines:
        run(f"{line} --data-dir {Path(data_dir).resolve()}", tmp_path)

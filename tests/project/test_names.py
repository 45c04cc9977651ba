"""A package of another project that has the name of one of ours is said to be that, in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lamp_landscape
from lamp_landscape import PACKAGES, check_packages, place_of
from tests.conftest import ROOT


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`python …` in `folder`, which Python looks into before this project."""
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_packages_are_found_where_they_are() -> None:
    check_packages(*PACKAGES)
    for name in PACKAGES:
        assert place_of(name) == str(ROOT / name)
    assert place_of("no_such_package") is None
    assert str(ROOT) == lamp_landscape.HERE


@pytest.mark.parametrize(
    ("command", "shadowed"),
    [
        ("landscape.surface", "training"),
        ("landscape", "training"),
        ("analysis.tables", "training"),
        ("analysis.tables", "landscape"),
        ("figures.fig1", "analysis"),
    ],
)
def test_a_folder_of_that_name_is_named(command: str, shadowed: str, tmp_path: Path) -> None:
    (tmp_path / shadowed).mkdir()
    (tmp_path / shadowed / "__init__.py").write_text("raise SystemExit('imported')")
    done = run(tmp_path, "-m", command, "--help")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    found = os.path.realpath(tmp_path / shadowed)
    expected = f"error: {shadowed}: expected the package of lamp-landscape in {ROOT}, found {found}; start in another"
    assert done.stderr.startswith(expected)


def test_a_module_of_that_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text("")
    assert f"found {os.path.realpath(tmp_path / 'training.py')}" in run(tmp_path, "-m", "landscape.inspect").stderr


def test_a_script_gets_an_import_error(tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text("")
    done = run(tmp_path, "-c", "import landscape")
    assert done.returncode == 1
    assert "ImportError: training: expected the package of lamp-landscape" in done.stderr.splitlines()[-1]


def test_packages_that_are_not_needed_may_be_anybodys(tmp_path: Path) -> None:
    for name in ("analysis", "figures"):
        (tmp_path / f"{name}.py").write_text("")
    assert run(tmp_path, "-c", "import landscape; landscape.Grid").returncode == 0


def test_the_script_says_so_too(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "__init__.py").write_text("")
    done = run(tmp_path, "-c", "import lamp_landscape, sys; sys.exit(lamp_landscape.main())")
    assert done.returncode == 2
    assert done.stderr.startswith("error: figures: expected the package of lamp-landscape")


def test_looking_takes_little() -> None:
    code = "import time, lamp_landscape as names; start = time.process_time(); names.check_packages('training'); "
    code += "print(time.process_time() - start)"
    done = run(ROOT, "-c", code)
    assert float(done.stdout) < 0.02

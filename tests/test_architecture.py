"""The rules of the layout: import arrows, what imports torch, packages, no leftovers."""

import ast
import configparser
from pathlib import Path

import pytest
from conftest import ROOT, run_python

ORDER = ("training", "landscape", "analysis", "figures")
#: what landscape may take from training: see DESIGN's layout; sources.py alone turns a checkpoint into a Problem
TAKEN_BY_LANDSCAPE = {"losses", "score", "farm", "command", "device", "config", "rewrite", "layers"}
TAKEN_BY_SOURCES = {"checkpoint", "data", "models", "patches"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in ORDER}
    return names


@pytest.mark.parametrize(
    "path", [p for package in ORDER for p in modules(package)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_one_way(path: Path) -> None:
    later = ORDER[ORDER.index(path.relative_to(ROOT).parts[0]) + 1 :]
    wrong = {name for name in imports(path) if name.split(".")[0] in (*later, "tests", "benchmarks")}
    assert not wrong


def test_landscape_takes_little_from_training() -> None:
    for path in modules("landscape"):
        taken = {name.split(".")[1] for name in imports(path) if name.startswith("training.")}
        allowed = TAKEN_BY_LANDSCAPE | (TAKEN_BY_SOURCES if path.name == "sources.py" else set())
        assert taken <= allowed, path.name


@pytest.mark.parametrize("path", modules("figures"), ids=lambda p: p.name)
def test_figures_see_numpy_only(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"torch", "mpi4py"}
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'mpi4py' in sys.modules)"
    assert run_python("-c", code).returncode == 0


def test_packages_are_listed_one_by_one() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options"]["packages"].split() == list(ORDER)
    assert (ROOT / "constraints.txt").read_text().splitlines()[0] == "torch==2.13.0"

"""Releasing: one version, what the wheel and the source archive hold, the workflow of the public host."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import landscape
from tests.conftest import ROOT, run_python

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PACKAGES = [name.removesuffix("*") for name in SETUP["options.packages.find"]["include"].split()]
VERSION = SETUP["metadata"]["version"]
LEFT_BEHIND = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "out", "runs")
#: what a user needs besides the modules, by the command that needs it
NEEDED = (
    *(f"{package}/py.typed" for package in PACKAGES),
    "training/assets/mnist-mini.npz",  # training.train --dataset mnist-mini
    "analysis/assets/paper_table1.csv",  # analysis.tables
    *(f"figures/assets/{name}" for name in ("page.html", "page.css", "page.js", "plots.js", "numbers.js")),  # viewer
)


def test_the_version_is_told_once() -> None:
    assert landscape.__version__ == VERSION
    assert VERSION in (ROOT / "CHANGELOG.md").read_text()
    for other in (ROOT / "pyproject.toml", ROOT / "CITATION.cff"):
        assert not re.search(r"^version\s*[:=]", other.read_text(), re.M), other


def test_asking_for_the_version_imports_no_torch() -> None:
    code = "import sys, landscape; landscape.__version__; sys.exit('torch' in sys.modules)"
    assert run_python("-c", code).returncode == 0


def test_the_workflow_uses_pinned_actions_and_targets_that_there_are() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in uses)
    made = re.findall(r"make (\S+)", text)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert {"lint", "test"} <= set(made) <= set(targets)
    assert "constraints.txt" in text


def modules() -> set[str]:
    """The modules of the four packages, and the one with the distribution's name, as they lie in the checkout."""
    return {"lamp_landscape.py"} | {
        str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source archive of a copy of the project, and the wheel made from that archive alone."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "copy", ignore=LEFT_BEHIND)
    archive = build(folder / "copy", "sdist", folder / "dist")
    with tarfile.open(archive) as file:
        file.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    return archive, build(source, "wheel", folder / "dist")


def build(source: Path, kind: str, out: Path) -> Path:
    out.mkdir(exist_ok=True)
    code = f"import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_what_they_read(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        metadata = message_from_bytes(wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))))
    inside = {name for name in names if ".dist-info/" not in name}
    assert {name for name in inside if name.endswith(".py")} == modules()
    assert set(NEEDED) <= inside
    assert {name.split("/")[0] for name in inside} == {*PACKAGES, "lamp_landscape.py"}
    assert any(name.endswith("/LICENSE") for name in names - inside)
    assert (metadata["Name"], metadata["Version"]) == ("lamp-landscape", VERSION)
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == set(SETUP["options.extras_require"])


@pytest.mark.slow
def test_the_source_archive_holds_what_tests_and_docs_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert modules() | set(NEEDED) <= names
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "constraints.txt", "Makefile"}
    assert wanted <= names
    assert {"docs/concepts.md", "docs/fig1.png", "tests/conftest.py", "tests/mpi/slow.py", "sweeps/demo.toml"} <= names
    assert not [name for name in names if re.search(r"__pycache__|\.pyc$|^(out|runs)/|^\.", name)]


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(built: tuple[Path, Path], tmp_path: Path) -> None:
    """From the unpacked wheel alone; dependencies are this environment's."""
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(tmp_path / "site")
    run = tmp_path / "run"
    run.mkdir()
    train = ["training.train", "--dataset", "mnist-mini", "--max-train", "64", "--epochs", "1", "--width", "4"]
    for words in (
        [*train, "--threads", "1", "--out", "a"],
        ["landscape.surface", "--ckpt", "a/checkpoint.pt", "--x=-1:1:3", "--y=-1:1:3", "--out", "a.h5"],
        ["figures.viewer", "a.h5", "--out", "a.html"],
    ):
        code = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv.pop(0); "
        code += "import landscape; assert landscape.__file__.startswith(sys.path[0]), landscape.__file__; "
        code += "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "site"), *words],
            cwd=run, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (run / "a.html").stat().st_size > 10**6

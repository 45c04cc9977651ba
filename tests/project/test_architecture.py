"""The rules of the layout, read from docs/architecture.md: rooms, import arrows, what imports torch, sizes."""

import ast
import configparser
import functools
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_python

PACKAGES = ("training", "landscape", "analysis", "figures")
PAGE = (ROOT / "docs/architecture.md").read_text()
#: `package.room` -> the rooms that it may import from; a package's own name stands for its commands
ARROWS: dict[str, set[str]] = {
    room: set(re.findall(r"`([\w.]+)`", taken))
    for room, taken in re.findall(r"^\| `([\w.]+)` \|[^|]*\|([^|]*)\|$", PAGE, re.M)
}
LONGEST_MODULE, LONGEST_TEST = 350, 400  # lines
MOST_MODULES = 12  # in a room; commands lie open, as many as there are


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


EVERY = [path for package in PACKAGES for path in modules(package)]


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Full names of the modules that a file imports, anywhere in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def room_of(name: str) -> str | None:
    """The room of a module or of a name in it; the package itself for what lies open; None for other projects."""
    first, _, rest = name.partition(".")
    if first not in PACKAGES:
        return None
    room = rest.partition(".")[0]
    return f"{first}.{room}" if (ROOT / first / room / "__init__.py").is_file() and room else first


def room_of_file(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return ".".join(parts[:2]) if len(parts) > 2 else parts[0]


def test_the_page_lists_the_rooms_there_are() -> None:
    assert set(ARROWS) == {room_of_file(path) for path in EVERY}
    assert {name for taken in ARROWS.values() for name in taken} <= set(ARROWS)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room = room_of_file(path)
    taken = {found for name in imports(path) if (found := room_of(name)) and found != room}
    assert taken <= ARROWS[room], taken - ARROWS[room]
    assert not {name.split(".")[0] for name in imports(path)} & {"tests", "benchmarks"}


def test_every_arrow_is_used() -> None:
    used = {(room_of_file(path), room_of(name)) for path in EVERY for name in imports(path)}
    assert {(room, name) for room, taken in ARROWS.items() for name in taken} <= used


def test_arrows_between_packages_point_one_way() -> None:
    for room, taken in ARROWS.items():
        rank = PACKAGES.index(room.split(".")[0])
        assert all(PACKAGES.index(name.split(".")[0]) <= rank for name in taken), room


def test_arrows_make_no_circle() -> None:
    left = {room: taken.copy() for room, taken in ARROWS.items()}
    while free := [room for room, taken in left.items() if not taken & set(left)]:
        left = {room: taken for room, taken in left.items() if room not in free}
    assert not left


def test_modules_make_no_circle() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in EVERY}
    left = {
        name: {full for found in imports(path) for full in (found, found.rpartition(".")[0]) if full in names}
        for name, path in names.items()
        if path.stem != "__init__"
    }
    while free := [name for name, taken in left.items() if not taken & set(left)]:
        left = {name: taken for name, taken in left.items() if name not in free}
    assert not left


def test_tests_mirror_the_packages() -> None:
    """A test of a package lies in the folder of the module that it is named after."""
    for package in PACKAGES:
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            assert (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir(), path


@pytest.mark.parametrize("path", [*EVERY, *modules("tests"), *modules("benchmarks")], ids=lambda path: path.name)
def test_modules_hold_one_idea(path: Path) -> None:
    longest = LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST_MODULE
    assert len(path.read_text().splitlines()) <= longest


@pytest.mark.parametrize("room", sorted(room for room in ARROWS if "." in room))
def test_rooms_are_small(room: str) -> None:
    assert len([path for path in EVERY if room_of_file(path) == room and path.stem != "__init__"]) <= MOST_MODULES


@pytest.mark.parametrize("path", modules("figures"), ids=lambda path: path.name)
def test_figures_see_numpy_only(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"torch", "mpi4py"}


def test_figures_import_no_torch() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in EVERY]
    figures = [name for name in names if name.startswith("figures") and not name.endswith("__main__")]
    code = f"import sys, {', '.join(figures)}; sys.exit('torch' in sys.modules or 'mpi4py' in sys.modules)"
    assert run_python("-c", code).returncode == 0


def test_packages_are_found_by_their_names() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options.packages.find"]["include"].split() == [f"{name}*" for name in PACKAGES]
    assert (ROOT / "constraints.txt").read_text().splitlines()[0] == "torch==2.13.0"

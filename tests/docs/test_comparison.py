"""docs/comparison.md: what is said of this tool is shown by tests that exist; no cell is empty."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| |")
]
NAMED = sorted(set(re.findall(r"\[`(test_\w+)::(test_\w+)`\]\((\S+)\)", PAGE)))


def test_every_cell_says_something() -> None:
    assert len(ROWS) >= 40
    for row in ROWS:
        assert len(row) == 6, row
        assert all(row), row
    features = [row[0] for row in ROWS]
    assert len(set(features)) == len(features)


def test_what_is_here_has_its_test() -> None:
    for feature, here, *_ in ROWS:
        assert "::test_" in here or here.startswith("no"), feature
    assert sum(row[1].startswith("no") for row in ROWS) >= 5  # what others have, and this tool has not


@pytest.mark.parametrize(("module", "name", "link"), NAMED, ids=[name for _, name, _ in NAMED])
def test_every_test_named_exists(module: str, name: str, link: str) -> None:
    path = (ROOT / "docs" / link).resolve()
    assert path.stem == module
    tree = ast.parse(path.read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_column_has_its_source() -> None:
    (header,) = {line for line in PAGE.splitlines() if line.startswith("| |")}
    for mark in "¹²³⁴":
        assert mark in header
        assert re.search(rf"^{mark} \[[\w./-]+\]\(https://", PAGE, re.M)

"""docs/measures.md: its table is the catalogue, and the tests that it names are there."""

import re
from dataclasses import asdict

from analysis.measures.catalogue import MEASURES
from analysis.measures.settings import Settings
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "measures.md").read_text()


def test_the_table_of_measures_is_the_catalogue() -> None:
    settings = asdict(Settings())
    lines = [line for line in TEXT.splitlines() if line.startswith("| `")]
    rows = {line.split("|")[1].strip(" `"): line for line in reversed(lines)}  # the first table counts
    for name, what in MEASURES.items():
        assert what.definition.format(**settings).replace("|", r"\|") in rows[name]
        unchanged = ["yes" if holds else "no" for holds in (what.filters, what.scale)]
        assert re.split(r"(?<!\\)\|", rows[name])[-3:-1] == [f" {word} " for word in unchanged]


def test_the_tests_that_it_names_exist() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    files = set(re.findall(r"`(?:tests/[\w/]*)?(test_\w+\.py)", TEXT))
    assert files <= set(sources)
    names = {name for name in re.findall(r"\b(test_\w+)(?!\.py|\w)", TEXT) if f"{name}.py" not in sources}
    everything = "\n".join(sources.values())
    assert names
    assert all(f"def {name}(" in everything for name in names)

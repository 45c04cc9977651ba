"""README.md: short, its example runs, and its numbers stand in the files that it names."""

import re
from pathlib import Path

from analysis.measures.catalogue import MEASURES
from tests.conftest import ROOT, run_python
from tests.docs.numbers import without_marks

README = (ROOT / "README.md").read_text()
LINES = README.splitlines()
LONGEST, LONGEST_ITEM = 130, 3  # lines
NUMBER = re.compile(r"\d[\d.]*(?:e-\d+)?")


def items(lines: list[str]) -> list[list[str]]:
    """The bullets of a page, each with the lines that go on with it."""
    found: list[list[str]] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("- "):
            found.append([line])
        elif line.startswith("  ") and found and before == found[-1][-1]:
            found[-1].append(line)
    return found


def test_it_is_short() -> None:
    assert len(LINES) <= LONGEST
    assert items(LINES)
    assert all(len(item) <= LONGEST_ITEM for item in items(LINES))
    assert [len(item) for item in items(["- a", "  b", "", "- c"])] == [2, 1]


def test_the_example_runs_and_has_ten_lines_at_most(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert len([line for line in code.splitlines() if line]) <= 10
    (tmp_path / "mine.py").write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{code}")
    done = run_python(tmp_path / "mine.py", env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    shape, stderr = done.stdout.rsplit(" ", 1)
    assert shape == "(1, 31, 31)"
    assert float(stderr) > 0
    assert (tmp_path / "mine.h5").stat().st_size > 1000


def test_the_answer_is_five_lines_with_marked_numbers() -> None:
    (answer,) = re.findall(r"<!-- answer -->\n(.*?)<!-- /answer -->", README, re.S)
    assert len(re.findall(r"^- \*\*", answer, re.M)) <= 5
    # tests/docs/test_numbers.py recomputes them; what is left besides has no result without a source
    assert re.findall(r"[+-]\d+\.\d+|\d+\.\d{3,}", without_marks(answer)) == []


def test_the_table_has_the_numbers_of_the_pages_it_links() -> None:
    (table,) = re.findall(r"^\| what \| number \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.M)
    assert 1 <= len(table.splitlines()) <= 8
    comparison = (ROOT / "docs/comparison.md").read_text()
    counted = {"definitions": len(MEASURES), "questions": len(re.findall(r"^\| [^|\s]", comparison, re.M))}
    for line in table.splitlines():
        _, number, link = (cell.strip() for cell in line.strip("|").split("|"))
        (target,) = re.findall(r"\]\(([\w./-]+)", link)
        text = (ROOT / target).read_text()
        if (unit := number.split()[-1]) in counted:
            assert int(number.split()[0]) == counted[unit]
        elif found := NUMBER.findall(number):
            assert all(re.search(rf"(?<![\d.]){re.escape(value)}(?![\d.]*\d)", text) for value in found), line
        else:
            assert number in text, line

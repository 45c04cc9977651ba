"""Every number of the results' pages is what the files in results/ give."""

import re

import pytest

from tests.docs.numbers import NUMBER, PAGES, ROOT, renewed, value_of, without_marks, written_as

#: what looks like a result: a sign with decimals, or three decimals and more
RESULT = re.compile(r"[+-]\d+\.\d+|\d+\.\d{3,}")


@pytest.mark.parametrize("page", PAGES)
def test_numbers_of_a_page_are_those_of_the_files(page: str) -> None:
    text = (ROOT / page).read_text()
    assert NUMBER.search(text), page
    assert renewed(text) == text, "python -m tests.docs.numbers --write"


@pytest.mark.parametrize("page", PAGES[:2])
def test_no_result_stands_in_a_page_without_its_source(page: str) -> None:
    found = set(RESULT.findall(without_marks((ROOT / page).read_text())))
    assert found <= {"0.001"}  # a learning rate, and LAMP's ε


def test_numbers_are_written_as_they_stand() -> None:
    assert written_as(0.01449, "+0.015", "") == "+0.014"
    assert written_as(-0.5, "+0.1", "") == "-0.5"
    assert written_as(-0.0004, "+0.015", "") == "+0.000"
    assert written_as(0.123, "99", "%") == "12"
    assert written_as(10830, "1,000", "") == "10,830"
    assert renewed("LAMP's AUROC is 0.0<!-- = 2 / 3 --> here.") == "LAMP's AUROC is 0.7<!-- = 2 / 3 --> here."
    assert renewed("+0 (+0 to +0)<!-- = (1, 2, 3) -->") == "+1 (+2 to +3)<!-- = (1, 2, 3) -->"
    assert renewed("0.0 to 0.0<!-- = (1, 2, 3) -->") == "2.0 to 3.0<!-- = (1, 2, 3) -->"
    assert renewed('+0.0<!-- = gain("table1", 32) -->') == '+0.0<!-- = gain("table1", 32) -->'
    assert without_marks("a 0.512<!-- = 1 --> b `0.345` c") == "a  b  c"


def test_values_come_from_the_files() -> None:
    assert value_of('len(pick("table1", batch_size=1024, loss="l2", seed=0))') == 10
    with pytest.raises(LookupError, match="no row"):
        value_of('cell("table1", "auroc", batch_size=7)')

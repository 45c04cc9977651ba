"""Every link of the pages to something in the repository leads somewhere: files, folders, and headings of pages."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs/reference/index.md",
    *sorted((ROOT / "results").glob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "training/assets/README.md",
]
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
LARGEST_PICTURE = 300_000  # bytes


def prose(text: str) -> str:
    """A page without its blocks and spans of code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "`code`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """What headings can be linked by, as code hosts make it: small letters, hyphens for blanks, no punctuation."""
    headings = re.findall(r"^#{1,6} (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken(page: Path, text: str) -> list[str]:
    """The links of a page's text to nothing; those to other sites are not looked at."""
    found = []
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        there = target.is_relative_to(ROOT) and target.exists()
        if there and anchor:
            there = target.suffix == ".md" and anchor in anchors(target.read_text() if path else text)
        if not there:
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_links_to_nothing_are_found() -> None:
    text = "# A `b`: c\n[a](docs/none.md) [b](#a-b-c) [c](#d) `[d](e)` [f](docs/paper.md#none) ![g](https://h)"
    assert broken(ROOT / "README.md", text) == ["docs/none.md", "#d", "docs/paper.md#none"]


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = set(re.findall(r"^(docs/[\w-]+)$", (ROOT / "docs/site/navigation.md").read_text(), re.M))
    assert listed == {f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")}


def test_pictures_are_used_and_small() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for path in (ROOT / "docs").glob("*.png"):
        assert path.stat().st_size <= LARGEST_PICTURE
        assert re.search(rf"[(/]{re.escape(path.name)}\)", text), path

"""What the site takes from the repository: navigation, a page a room of the code, files of the tutorial, figures.

A Sphinx extension; `conf.py` names it.
"""

import configparser
import importlib
import inspect
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from matplotlib.figure import Figure
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ROOT / "docs/reference/rooms"
WORK = ROOT / "out/examples"  # where the examples of the gallery run
PAGES = ROOT / "out/example-pages"  # what they write for the site's root, such as the viewer's page

#: names in signatures that no page of this site explains: other packages' and aliases
FOREIGN = [
    r"(torch|nn|np|numpy|h5py|pandas|tyro|matplotlib|mpi4py|MPI|scipy|PIL|pathlib|collections|types|typing)(\..*)?",
    r"(argparse|concurrent|datetime|io|os)\..*",
    r".*\[.*",  # pieces of Annotated, which signatures are split at
    r"_?[A-Z]\w*",  # aliases of types, which annotations of constants name without their module
    r"[\w.]+\.(Prepared|Result|T|Value)",  # variables that stand for any type
]


def version() -> str:
    """The version, which stands in setup.cfg alone."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup["metadata"]["version"]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", lambda app, config: prepare())
    app.connect("source-read", complete_page)
    app.connect("doctree-read", unlink_folders)
    app.connect("autodoc-process-docstring", mark_up)
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare() -> None:
    """Write what is made from other files: a page a room, and the modules of docs/your-model.md for the gallery."""
    for folder in (ROOMS, WORK, PAGES):
        folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{room}.md": room_page(room, *cells) for room, *cells in rooms()}
    for old in ROOMS.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    tutorial = re.findall(r"^```python (\w+\.py)\n(.*?)^```", (ROOT / "docs/your-model.md").read_text(), re.M | re.S)
    for path, text in [
        *((ROOMS / name, text) for name, text in pages.items()),
        *((WORK / name, text) for name, text in tutorial),
    ]:
        if not path.exists() or path.read_text() != text:  # an old page that has not changed is not read again
            path.write_text(text)
    sys.path.insert(0, str(WORK))
    importlib.invalidate_caches()  # the modules may be newer than the last look into their folder


def rooms() -> list[tuple[str, str, str]]:
    """(room, what it holds, what it imports from), the rows of docs/architecture.md."""
    page = (ROOT / "docs/architecture.md").read_text()
    return re.findall(r"^\| `([\w.]+)` \|([^|]*)\|([^|]*)\|$", page, re.M)


def room_page(room: str, holds: str, imports: str) -> str:
    """The page of a room: what it holds, and the docstrings of its modules."""
    known = {name for name, *_ in rooms()}
    folder = ROOT.joinpath(*room.split("."))
    lines = [f"# `{room}`", "", f"{holds.strip().capitalize()}.", ""]
    if imports.strip():
        lines += ["Imports from " + re.sub(r"`([\w.]+)`", r"[`\1`](\1.md)", imports.strip()) + ".", ""]
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem not in ("__init__", "__main__"))
    assert room in known
    for module in [room, *(f"{room}.{name}" for name in modules)]:
        if module != room:
            lines += [f"## `{module}`", ""]
        options = "   :members:\n" if module != room else ""
        lines += ["```{eval-rst}", f".. automodule:: {module}", f"{options}```", ""]
    return "\n".join(lines)


def complete_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Add what a page has on the site alone: navigation to the first one, a heading to tables without one."""
    if page == "README":
        source[0] += "\n" + (ROOT / "docs/site/navigation.md").read_text()
    elif page == "results/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
    elif page == "docs/reference/index":
        names = "\n".join(f"rooms/{room}" for room, *_ in rooms())
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    elif page.startswith("results/") and not source[0].lstrip().startswith("#"):
        source[0] = f"# {page}.md\n\n{source[0]}"


def unlink_folders(app: Sphinx, page: nodes.document) -> None:
    """Links to folders of the repository, which are no pages, become text. Any other link must lead somewhere."""
    for link in list(page.findall(addnodes.pending_xref)):
        if link["reftype"] == "myst" and ((ROOT / app.env.docname).parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def mark_up(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with code: |x| is a norm, no substitution; arguments, as in `x: …`, are bold."""
    arguments = names_of_arguments(thing) if what in ("class", "function", "method") else set()
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        for index in range(0, len(parts), 2):
            text = parts[index].replace("|", r"\|")
            parts[index] = re.sub(r"(^|(?<=[.;] ))((?:\w+, )*\w+)(?=: )", lambda found: bold(found[2], arguments), text)
        lines[number] = "".join(parts)


def bold(text: str, arguments: set[str]) -> str:
    return f"**{text}**" if set(text.split(", ")) <= arguments else text


def names_of_arguments(thing: Any) -> set[str]:
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return set()


def readable(app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str, returns: str) -> Any:
    """Defaults that are no Python, such as <factory>, keep Sphinx from reading a signature: `...` stands for them."""
    return arguments and re.sub(r"<[^<>]*>", "...", arguments), returns


def start_example(gallery: dict[str, Any], example: str) -> None:
    """Each example begins with no figure drawn, in its working folder."""
    SAVED.clear()
    from figures.parts.style import use_style

    use_style()
    os.environ["MPLBACKEND"] = "Agg"


SAVED: set[int] = set()  # of figures, by their identity; an example keeps its figures, so none is reused


def scrape_figures(block: Any, variables: dict[str, Any], gallery: dict[str, Any]) -> str:
    """Save the figures that a part of an example has drawn, and its pages; return the text that shows the figures."""
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for value in variables["example_globals"].values():
        if isinstance(value, Figure) and id(value) not in SAVED:
            SAVED.add(id(value))
            path = next(variables["image_path_iterator"])
            value.savefig(path, bbox_inches="tight", dpi=110)
            paths.append(path)
        elif isinstance(value, Path) and value.suffix == ".html" and value.exists():
            shutil.copy(value, PAGES)
    return figure_rst(paths, gallery["src_dir"])

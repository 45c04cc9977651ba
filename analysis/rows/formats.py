"""Rows of text as Markdown, CSV or LaTeX, alone or with a title and notes."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from training.runtime.command import printable

Rows = list[list[str]]
FormatName = Literal["markdown", "csv", "latex"]


@dataclass(frozen=True)
class Table:
    """A header and rows, a title above them, and notes on how they were made."""

    title: str
    rows: Rows
    notes: list[str] = field(default_factory=list)


def markdown(rows: Rows) -> str:
    """A Markdown table; columns are padded, so that it reads on a terminal too."""
    rows = [[text.replace("|", r"\|") for text in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return printable("\n".join(lines) + "\n")


def comma_separated(rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


LATEX_SPECIALS = str.maketrans(
    {char: "\\" + char for char in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def latex(rows: Rows) -> str:
    """A booktabs table."""
    body = [" & ".join(text.translate(LATEX_SPECIALS) for text in row) + r" \\" for row in rows]
    columns = "l" * len(rows[0])
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[Rows], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}


def markdown_table(table: Table) -> str:
    notes = "".join(f"- {note}\n" for note in table.notes)
    return printable(f"**{table.title}**\n\n{markdown(table.rows)}\n{notes}")


def csv_table(table: Table) -> str:
    """The title and the notes are lines that start with `#`, as pandas' `comment="#"` skips them."""
    return "".join(f"# {line}\n" for line in (table.title, *table.notes)) + comma_separated(table.rows)


def latex_table(table: Table) -> str:
    notes = "".join(f"{note.translate(LATEX_SPECIALS)}\\par\n" for note in table.notes)
    caption = table.title.translate(LATEX_SPECIALS)
    body = latex(table.rows)
    return f"\\begin{{table}}\n\\caption{{{caption}}}\n{body}\n\\footnotesize\n{notes}\\end{{table}}\n"


TABLE_FORMATS: dict[str, Callable[[Table], str]] = {
    "markdown": markdown_table,
    "csv": csv_table,
    "latex": latex_table,
}

"""`python -m analysis.tables`: result tables as Markdown, CSV or LaTeX."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from training.command import InputError, command, make_parent, parse_one_of, write_whole

DESCRIPTION = """Make a table of results, on the terminal or as a file.

Example: python -m analysis.tables runs runs/a runs/b --format markdown --out auroc.md"""

Rows = list[list[str]]


@dataclass(frozen=True)
class Runs:
    """AUROC with its 95% interval of the runs in some folders."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that training.train wrote."""
    format: Literal["markdown", "csv", "latex"] = "markdown"
    """How the table is written."""
    out: Path | None = None
    """Also write the table to this file; its path is then the last line."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_one_of({"runs": Runs}, argv, "analysis.tables", DESCRIPTION)
    text = FORMATS[arguments.format](runs_table(arguments.folders))
    print(text, end="")
    if arguments.out:
        make_parent(arguments.out)
        write_whole(arguments.out, text)
        print(arguments.out)


def runs_table(folders: Sequence[Path]) -> Rows:
    """A row for each folder's run, below a header; InputError for a folder without metrics.json."""
    if not folders:
        raise InputError("folders: expected one or more folders that training.train wrote, found none")
    header = ["run", "data", "normal", "loss", "batch size", "epochs", "train L2", "AUROC", "95% interval"]
    return [header, *(run_row(folder, read_metrics(folder)) for folder in folders)]


def run_row(folder: Path, metrics: dict[str, Any]) -> list[str]:
    config = metrics["config"]
    normal = {"mvtec": config["category"], "folder": Path(config["train_dir"]).name}
    return [
        folder.name,
        config["dataset"],
        str(normal.get(config["dataset"], config["normal"])),
        config["loss"],
        str(config["batch_size"]),
        str(metrics["epoch"]),
        f"{metrics['train_l2']:.2f}",
        f"{metrics['auroc']:.4f}",
        f"{metrics['auroc_low']:.4f} to {metrics['auroc_high']:.4f}",
    ]


def read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise InputError(
            f"{path}: expected what training.train writes beside a checkpoint, found nothing usable"
        ) from None
    numbers = ("epoch", "train_l2", "auroc", "auroc_low", "auroc_high")
    texts = ("dataset", "category", "train_dir", "normal", "loss", "batch_size")
    config = metrics.get("config") if isinstance(metrics, dict) else None
    complete = isinstance(config, dict) and set(texts) <= set(config)
    if not complete or not all(isinstance(metrics.get(name), (int, float)) for name in numbers):
        raise InputError(f"{path}: expected a config and {', '.join(numbers)}, found other content")
    return metrics


def markdown(rows: Rows) -> str:
    """A Markdown table; columns are padded, so that it reads on a terminal too."""
    rows = [[text.replace("|", r"\|") for text in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


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


if __name__ == "__main__":
    raise SystemExit(command(main)())

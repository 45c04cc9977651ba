"""`python -m figures.specification`: the gain of every specification over plain L2, sorted, above its choices."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from matplotlib.figure import Figure

from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse, unusable

DESCRIPTION = """Draw a specification curve: AUROC minus that of plain L2 for every setting tried, sorted.

Example: python -m figures.specification results/ablation_curve.csv --out specification.png"""

NEEDED = ("optimizer", "loss", "matching", "difference", "low", "high")
#: the rows of the lower panel: (column, how its values are written)
ROWS: tuple[tuple[str, str], ...] = (
    ("loss", "{}"),
    ("optimizer", "{}"),
    ("lamp_scale", "maximum over {}"),
    ("lamp_detach", "{}"),
    ("lamp_eps", "ε = {}"),
    ("reduction", "reduction {}"),
    ("loss_factor", "constant ×{}"),
    ("lr", "learning rate {}"),
    ("matching", "{}"),
)
WRITTEN = {"True": "maximum detached", "False": "maximum attached", "epochs": "equal epochs", "fit": "matched fit"}


@dataclass(frozen=True)
class Arguments:
    curve: Annotated[Path, tyro.conf.Positional]
    """What analysis.specification wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.specification", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    save(draw(read_curve(arguments.curve)), arguments.out)
    print(arguments.out)


def read_curve(path: Path) -> list[dict[str, str]]:
    """The rows that have a difference with an interval; InputError if the file is no such curve."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        complete = bool(rows) and all(name in rows[0] for name in (*NEEDED, *(name for name, _ in ROWS)))
        drawn = [row for row in rows if row["low"] and float(row["high"]) >= float(row["low"])] if complete else []
    except OSError as error:
        raise unusable(path, "a CSV file written by analysis.specification", error) from None
    except (csv.Error, ValueError):
        drawn = []
    if not drawn:
        raise InputError(f"{path}: expected a CSV file written by analysis.specification, found none such")
    return drawn


def draw(rows: Sequence[Mapping[str, str]]) -> Figure:
    """The figure of `rows` (columns as analysis.specification writes them): differences above, choices below.

    The plain L2s themselves, whose difference is 0 by definition, are left out.
    """
    rows = sorted((row for row in rows if not is_plain(row)), key=lambda row: float(row["difference"]))
    choices = [(name, value) for name, _ in ROWS for value in values_of(rows, name)]
    figure = Figure(figsize=(PAGE, 2.2 + 0.135 * len(choices)), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.9, 0.135 * len(choices)))
    draw_differences(top, rows)
    draw_choices(bottom, rows, choices)
    return figure


def is_plain(row: Mapping[str, str]) -> bool:
    return float(row["low"]) == float(row["high"]) == 0


def values_of(rows: Sequence[Mapping[str, str]], name: str) -> list[str]:
    """The values of a choice that vary, numbers in order; none if it is the same in all rows."""
    values = {row[name] for row in rows if row[name]}
    return sorted(values, key=sort_key) if len({row[name] for row in rows}) > 1 else []


def sort_key(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def family(row: Mapping[str, str]) -> str:
    """What colours a specification: LAMP, L4, or L2 with another step."""
    loss = row["loss"]
    return "LAMP" if loss.endswith("-lamp") else "L2, other step size" if loss == "l2" else label(loss)


def draw_differences(ax: Any, rows: Sequence[Mapping[str, str]]) -> None:
    """Points with intervals, coloured by family, filled at matched fit."""
    families = sorted({family(row) for row in rows})
    for number, name in enumerate(families):
        for matching, face in (("epochs", "white"), ("fit", COLORS[number])):
            at = [i for i, row in enumerate(rows) if family(row) == name and row["matching"] == matching]
            if not at:
                continue
            middle = [float(rows[i]["difference"]) for i in at]
            low = [float(rows[i]["difference"]) - float(rows[i]["low"]) for i in at]
            high = [float(rows[i]["high"]) - float(rows[i]["difference"]) for i in at]
            kind = f"{name}, {WRITTEN[matching]}"
            style = {"color": COLORS[number], "markerfacecolor": face, "markersize": 3.5, "linewidth": 0.7}
            ax.errorbar(at, middle, (low, high), fmt="o", label=kind, **style)
    ax.axhline(0, color="0.4", linewidth=0.6)
    ax.set_ylabel("AUROC minus that of plain L2\n(mean over tasks, 95% interval)")
    ax.legend(loc="lower right", ncols=2, frameon=False)


def draw_choices(ax: Any, rows: Sequence[Mapping[str, str]], choices: Sequence[tuple[str, str]]) -> None:
    """A dot wherever a specification has a choice; lines part the kinds of choices."""
    written = dict(ROWS)
    for height, (name, value) in enumerate(choices):
        at = [i for i, row in enumerate(rows) if row[name] == value]
        ax.plot(at, [height] * len(at), "s", color="0.2", markersize=2.5)
        if height and choices[height - 1][0] != name:
            ax.axhline(height - 0.5, color="0.85", linewidth=0.6)
    names = [WRITTEN.get(value) or written[name].format(label(value)) for name, value in choices]
    ax.set_yticks(range(len(choices)), names)
    ax.set_ylim(len(choices) - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_xlabel(f"{len(rows)} specifications, sorted")


if __name__ == "__main__":
    raise SystemExit(command(main)())

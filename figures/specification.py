"""`python -m figures.specification`: the gain of every specification over plain L2, sorted, above its choices."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from matplotlib.figure import Figure

from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse, unusable

DESCRIPTION = """Draw a specification curve: AUROC minus that of plain L2 for every setting tried, sorted.

Example: python -m figures.specification results/ablation_curve.csv --out specification.png
Left at equal epochs, right at matched fit. Differences beyond --limit are arrows with their value."""

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
)
WRITTEN = {"True": "maximum detached", "False": "maximum attached"}
#: the two panels: how runs were matched -> title
PANELS = {"epochs": "equal epochs", "fit": "matched fit"}


@dataclass(frozen=True)
class Arguments:
    curve: Annotated[Path, tyro.conf.Positional]
    """What analysis.specification wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    limit: float = 0.05
    """Differences are drawn from minus this to this."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.specification", DESCRIPTION)
    check_out(arguments.out)
    if not 0 < arguments.limit < 1:
        raise InputError(f"--limit: expected a difference of AUROC above 0, below 1, found {arguments.limit:g}")
    use_style()
    save(draw(read_curve(arguments.curve), arguments.limit), arguments.out)
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


def draw(rows: Sequence[Mapping[str, str]], limit: float = 0.05) -> Figure:
    """The figure of `rows` (columns as analysis.specification writes them): differences above, choices below.

    A column for each way of matching, sorted on its own. The plain L2s themselves, whose difference is 0 by definition,
    are left out.
    """
    rows = sorted((row for row in rows if not is_plain(row)), key=lambda row: float(row["difference"]))
    choices = [(name, value) for name, _ in ROWS for value in values_of(rows, name)]
    panels = {name: [row for row in rows if row["matching"] == name] for name in PANELS}
    panels = {name: of for name, of in panels.items() if of}
    figure = Figure(figsize=(PAGE, 2.5 + 0.125 * len(choices)), layout="constrained")
    axes = figure.subplots(
        2, len(panels), sharex="col", sharey="row", squeeze=False, height_ratios=(1.9, 0.125 * len(choices))
    )
    colors = {name: COLORS[number] for number, name in enumerate(sorted({family(row) for row in rows}))}
    handles: dict[str, Any] = {}
    for (top, bottom), (name, of) in zip(axes.T, panels.items(), strict=True):
        handles |= draw_differences(top, of, colors, limit)
        draw_choices(bottom, of, choices)
        top.set_title(PANELS[name])
    axes[0, 0].set_ylim(-1.1 * limit, 1.1 * limit)
    axes[0, 0].set_ylabel("AUROC minus that of plain L2\n(mean over tasks, 95% interval)")
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles), frameon=False)
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


def draw_differences(
    ax: Any, rows: Sequence[Mapping[str, str]], colors: Mapping[str, str], limit: float
) -> dict[str, Any]:
    """Points with intervals, coloured by family, and arrows with their value beyond the limit; for the legend."""
    handles = {}
    for name, color in colors.items():
        at = [i for i, row in enumerate(rows) if family(row) == name]
        if not at:
            continue
        middle, low, high = ([float(rows[i][column]) for i in at] for column in ("difference", "low", "high"))
        errors = [[m - a for m, a in zip(middle, low, strict=True)], [b - m for m, b in zip(middle, high, strict=True)]]
        handles[name] = ax.errorbar(at, middle, errors, fmt="o", color=color, markersize=3.5, linewidth=0.7)
        for place, value in zip(at, middle, strict=True):
            if abs(value) > limit:
                ax.plot([place], [math.copysign(limit, value)], "^" if value > 0 else "v", color=color, markersize=4)
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
                height = math.copysign(0.8 * limit, value)
                ax.text(place, height, f"{value:+.2f}", ha="center", va="center", rotation=90, fontsize=5, bbox=box)
    ax.axhline(0, color="0.4", linewidth=0.6)
    return handles


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

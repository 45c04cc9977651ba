"""`python -m figures.jumps`: AUROC along training, seed by seed, and how far it jumps between neighbouring epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.figure import Figure

from analysis.rows.jumps import COLUMNS, WAYS, jump
from analysis.rows.results import read_table
from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import command, parse

DESCRIPTION = """Draw how steady AUROC is along training.

Example: python -m figures.jumps jumps.csv --out jumps.png
The file is that of analysis.jumps. Left: AUROC of L2 and of L2-LAMP against updates, a line a seed. Right: the mean
distance between neighbouring checkpoints of the second half, a point a seed, by loss and by how it was scored."""

WAY_NAMES = dict(zip(WAYS, ("as trained", "batch norm anew", "mean of weights"), strict=True))
WAY_COLORS = dict(zip(WAYS, ("0.2", COLORS[0], COLORS[2]), strict=True))
Row = Mapping[str, str]


@dataclass(frozen=True)
class Arguments:
    jumps: Annotated[Path, tyro.conf.Positional]
    """The CSV file that analysis.jumps wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.jumps", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    header, rows = read_table(arguments.jumps, COLUMNS, "what analysis.jumps writes")
    save(draw(runs_of([dict(zip(header, row, strict=True)) for row in rows])), arguments.out)
    print(arguments.out)


def runs_of(rows: Sequence[Row]) -> dict[str, list[list[Row]]]:
    """By arm (a loss and its reading), the rows of each run in the order of updates."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: float(row["updates"])):
        found.setdefault(arm_name(row), {}).setdefault(row["run"], []).append(row)
    return {arm: list(runs.values()) for arm, runs in found.items()}


def arm_name(row: Row) -> str:
    """Such as `L2` or `L2-LAMP, batch, detached`."""
    if not row["loss"].endswith("-lamp"):
        return label(row["loss"])
    maximum = {"batch": "maximum over the batch", "sample": "over each image", "none": "no maximum"}[row["lamp_scale"]]
    detached = ", detached" if row["lamp_detach"] == "True" and row["lamp_scale"] != "none" else ""
    return f"{label(row['loss'])}, {maximum}{detached}"


def draw(arms: Mapping[str, Sequence[Sequence[Row]]]) -> Figure:
    """The figure: curves of the first arm and of the first LAMP arm; jumps of all arms."""
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    shown = [name for name in arms if "LAMP" not in name][:1] + [name for name in arms if "LAMP" in name][:1]
    for number, name in enumerate(shown):
        for index, run in enumerate(arms[name]):
            x, y = ([float(row[column]) for row in run] for column in ("updates", "auroc"))
            left.plot(x, y, color=COLORS[number], linewidth=0.7, label=name.partition(",")[0] if index == 0 else None)
    left.set(xlabel="updates", ylabel="AUROC")
    left.legend(frameon=False)
    for height, runs in enumerate(arms.values()):
        for offset, way in zip((0.25, 0.0, -0.25), WAYS, strict=True):
            jumps = [jump([float(row[way]) for row in run]) for run in runs]
            place = np.full(len(jumps), -height + offset)
            legend = WAY_NAMES[way] if height == 0 else None
            right.plot(jumps, place, "|", color=WAY_COLORS[way], markersize=6)
            right.plot([np.mean(jumps)], place[:1], "o", color=WAY_COLORS[way], markersize=4, label=legend)
    right.set_yticks([-height for height in range(len(arms))], [name.replace(", ", "\n", 1) for name in arms])
    right.set_xlim(left=0)
    right.set_xlabel("mean jump of AUROC from epoch to epoch")
    right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    raise SystemExit(command(main)())

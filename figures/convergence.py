"""`python -m figures.convergence`: the common L2 against updates, and AUROC against the common L2, by batch size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from analysis.rows.results import Run, chosen, read_history, read_runs
from analysis.specification import beside
from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw how runs of a sweep converge, and what AUROC they have when they fit equally well.

Example: python -m figures.convergence results/table1.csv --where "normal!=8" --out convergence.png
Above: the common L2 (evaluation mode, training images) against updates. Below: AUROC against that L2, so that losses
are compared at equal fit. Lines are means over tasks and seeds, bands the quartiles."""

FIELDS = ("updates", "train_l2", "auroc")


@dataclass(frozen=True)
class Arguments:
    results: Annotated[Path, tyro.conf.Positional]
    """A sweep's results.csv; its history is beside it."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    where: tuple[str, ...] = ()
    """Only runs with these settings, each name=value, or without them, name!=value."""
    history: Path | None = None
    """Another history file."""


@dataclass(frozen=True)
class Curve:
    """Runs of one loss and batch size at the updates at which all of them were evaluated; arrays (runs, updates)."""

    updates: NDArray[np.float64]
    train_l2: NDArray[np.float64]
    auroc: NDArray[np.float64]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.convergence", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    runs = [run for run in chosen(read_runs(arguments.results), arguments.where) if not run.trouble]
    histories = read_history(arguments.history or beside(arguments.results))
    save(draw(curves(runs, histories, arguments.results)), arguments.out)
    print(arguments.out)


def curves(runs: Sequence[Run], histories: Any, source: Path) -> dict[int, dict[str, Curve]]:
    """By batch size, descending, and loss; InputError if no runs of a group have evaluations in common.

    The evaluations at updates that all runs of a group have, and then the last of each, at their mean updates.
    """
    groups: dict[tuple[int, str], list[NDArray[np.float64]]] = {}
    for run in runs:
        rows = [[getattr(at, name) for name in FIELDS] for at in histories.get(run.name, ())]
        if rows:
            groups.setdefault((run.group.batch_size, run.settings["loss"]), []).append(np.array(rows))
    found: dict[int, dict[str, Curve]] = {}
    for (batch, loss), tables in sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1])):
        common = sorted(set.intersection(*(set(table[:, 0]) for table in tables)))
        if common:
            kept = np.stack([table[np.isin(table[:, 0], common)] for table in tables])
            last = np.stack([table[-1:] for table in tables])
            if last[:, 0, 0].max() > common[-1]:
                last[:, 0, 0] = last[:, 0, 0].mean()
                kept = np.concatenate([kept, last], axis=1)
            found.setdefault(batch, {})[loss] = Curve(kept[0, :, 0], kept[:, :, 1], kept[:, :, 2])
    if not found:
        raise InputError(f"{source}: expected runs with evaluations in its history, found none; name it with --history")
    return found


def draw(groups: dict[int, dict[str, Curve]]) -> Figure:
    """The figure: a column a batch size; above L2 against updates, below AUROC against L2."""
    figure = Figure(figsize=(PAGE, 3.6), layout="constrained")
    axes = figure.subplots(2, len(groups), squeeze=False, sharey="row")
    for column, (batch, losses) in enumerate(groups.items()):
        for number, (loss, curve) in enumerate(losses.items()):
            draw_curve(axes[0, column], curve.updates, curve.train_l2, COLORS[number], label(loss))
            draw_at_fit(axes[1, column], curve, COLORS[number])
        above, below = axes[:, column]
        above.set_title(f"batch size {batch}")
        above.set(xscale="log", yscale="log", xlabel="updates")
        below.set(xscale="log", xlabel="training L2")
        below.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        below.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        below.xaxis.set_minor_formatter(NullFormatter())
    limits = [values for losses in groups.values() for curve in losses.values() for values in curve.train_l2.mean(0)]
    for ax in axes[1]:
        ax.set_xlim(max(limits) * 1.2, min(limits) / 1.2)  # training goes to the right
    axes[0, 0].set_ylabel("training L2\n(sum over pixels)")
    axes[1, 0].set_ylabel("AUROC")
    axes[0, 0].legend(frameon=False)
    return figure


def draw_curve(ax: Any, x: NDArray[np.float64], values: NDArray[np.float64], color: str, name: str) -> None:
    """The mean over runs with its quartiles."""
    low, high = np.quantile(values, (0.25, 0.75), axis=0)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(x, values.mean(0), color=color, label=name)


def draw_at_fit(ax: Any, curve: Curve, color: str) -> None:
    """Mean AUROC against mean L2, an evaluation a point, the last one marked."""
    x, y = curve.train_l2.mean(0), curve.auroc.mean(0)
    low, high = np.quantile(curve.auroc, (0.25, 0.75), axis=0)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(x, y, color=color, marker=".", markersize=3)
    ax.plot(x[-1:], y[-1:], "o", color=color, markersize=4)


if __name__ == "__main__":
    raise SystemExit(command(main)())

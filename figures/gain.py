"""`python -m figures.gain`: the gain of LAMP against updates and against the training L2, for each batch size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from analysis.paper.gains import Curve, Group, against_fit, against_updates, grouped, levels
from analysis.rows.results import chosen, read_history, read_runs
from analysis.specification import beside
from figures.parts.style import COLORS, PAGE, check_out, save, use_style
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw what LAMP gains in AUROC along training, so that the answer does not hang on when it stops.

Example: python -m figures.gain results/long.csv --out gain.png
A column a batch size. Above: the gain at equal updates; below: at equal fit, where the common training L2 of either
first falls to a level. Lines are means over tasks and seeds, bands Student's 95% interval over seeds of the mean over
tasks; of one seed there is no band."""


@dataclass(frozen=True)
class Arguments:
    results: Annotated[Path, tyro.conf.Positional]
    """A sweep's results.csv; its history is beside it."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only runs with this setting, name=value, or without it, name!=value; may be repeated."""
    history: Path | None = None
    """Another history file."""
    limit: float = 0.0
    """Gains are drawn from minus this to this; 0: as far as the lines go."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.gain", DESCRIPTION)
    check_out(arguments.out)
    if not 0 <= arguments.limit < 1:
        raise InputError(f"--limit: expected a gain above 0, below 1, or 0 for none, found {arguments.limit:g}")
    use_style()
    histories = read_history(arguments.history or beside(arguments.results))
    groups = grouped(chosen(read_runs(arguments.results), arguments.where), histories, arguments.results)
    save(draw(groups, arguments.limit), arguments.out)
    print(arguments.out)


def draw(groups: Sequence[Group], limit: float = 0.0) -> Figure:
    """The figure: a column a batch size; above gains against updates, below against the training L2."""
    figure = Figure(figsize=(PAGE, 3.4), layout="constrained")
    axes = figure.subplots(2, len(groups), squeeze=False, sharey=True)
    furthest = 0.0
    for column, group in enumerate(groups):
        above, below = axes[:, column]
        seeds = len(group.pairs)
        above.set_title(f"batch size {group.batch_size}\n{seeds} {'seed' if seeds == 1 else 'seeds'}")
        for ax, curve in ((above, against_updates(group)), (below, against_fit(group, levels(group)))):
            furthest = max(furthest, draw_curve(ax, curve))
            ax.axhline(0, color="0.5", linewidth=0.6)
            ax.set_xscale("log")
        above.set_xlabel("updates")
        below.set_xlabel("training L2")
        below.xaxis.set_major_locator(few_ticks(levels(group)))
        below.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        below.xaxis.set_minor_formatter(NullFormatter())
        below.invert_xaxis()  # training goes to the right
    end = limit or 1.1 * furthest or 1.0
    axes[0, 0].set_ylim(-end, end)
    axes[0, 0].set_ylabel("gain in AUROC\nat equal updates")
    axes[1, 0].set_ylabel("gain in AUROC\nat equal fit")
    return figure


def few_ticks(at: NDArray[np.float64]) -> Locator:
    """Ticks of a logarithmic axis that do not run into one another, however far it reaches."""
    return LogLocator(subs=(1, 3)) if len(at) and at[0] > 4 * at[-1] else MaxNLocator(2)


def draw_curve(ax: Any, curve: Curve) -> float:
    """The mean with its interval, where there is one; how far from 0 the mean goes."""
    found = curve.intervals()
    means, low, high = (np.array([getattr(one, name) for one in found]) for name in ("mean", "low", "high"))
    ax.fill_between(curve.at, low, high, color=COLORS[1], alpha=0.25, linewidth=0)
    ax.plot(curve.at, means, color=COLORS[1], marker=".", markersize=3)
    return float(np.nanmax(np.abs(means), initial=0.0))


if __name__ == "__main__":
    raise SystemExit(command(main)())

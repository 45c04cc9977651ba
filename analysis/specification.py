"""`python -m analysis.specification`: the gain over plain L2 of every setting that a sweep tried, as one CSV file.

A specification curve (Simonsohn, Simmons and Nelson, 2020): all defensible choices side by side, so that none is picked
after the fact.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from analysis.rows.formats import comma_separated
from analysis.rows.matching import History, first_crossing
from analysis.rows.results import Run, read_history, read_runs
from analysis.statistics.paired import MeanInterval, mean_interval
from training.runtime.command import InputError, command, make_parent, parse, write_whole
from training.runtime.kinds import TABLES

DESCRIPTION = """Compare every specification of a sweep with its plain L2, task by task: equal epochs and matched fit.

Example: python -m analysis.specification results/ablation.csv --threshold 20 --out results/ablation_curve.csv
A specification is a choice of optimizer, loss, LAMP reading, factor, reduction and learning rate. Its plain L2 is the
first L2 of the same optimizer that the sweep lists."""

CHOICES = ("optimizer", "loss", "lamp_scale", "lamp_detach", "lamp_eps", "loss_factor", "reduction", "lr")
OF_LAMP = ("lamp_scale", "lamp_detach", "lamp_eps")
MATCHINGS = ("epochs", "fit")
COLUMNS = (
    *CHOICES,
    *("matching", "threshold", "tasks", "pairs", "missing", "auroc", "difference", "low", "high", "train_l2"),
)
Specification = tuple[str, ...]


@dataclass(frozen=True)
class Arguments:
    results: Annotated[Path, tyro.conf.Positional]
    """A sweep's results.csv; its history.csv, or NAME_history.csv, is beside it."""
    threshold: float
    """Matched fit: the common training L2 whose first crossing is compared."""
    out: Path
    """The CSV file, a row a specification and matching."""
    history: Path | None = None
    """Another history file."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.specification", DESCRIPTION)
    make_parent(arguments.out, TABLES["optimizer", "loss", "lamp_scale"])
    runs = read_runs(arguments.results)
    histories = read_history(arguments.history or beside(arguments.results))
    rows = [COLUMNS, *curve(runs, histories, arguments.threshold)]
    write_whole(arguments.out, comma_separated([list(row) for row in rows]))
    print(arguments.out)


def beside(results: Path) -> Path:
    """The history that belongs to `results` by its name; InputError if there is none."""
    for path in (results.with_name(f"{results.stem}_history.csv"), results.with_name("history.csv")):
        if path.is_file():
            return path
    raise InputError(f"--history: expected {results.stem}_history.csv beside {results}, found none; name the file")


def curve(runs: Sequence[Run], histories: Mapping[str, History], threshold: float) -> list[tuple[str, ...]]:
    """A row of text for each specification and matching, in the sweep's order; the plain L2s have difference 0.

    The difference is the mean over tasks of the mean over seeds; its 95% interval is Student's over tasks. Runs that
    failed, or never crossed the threshold, are missing together with their counterpart. Raises InputError without L2.
    """
    specifications = list(dict.fromkeys(specification(run) for run in runs))
    found = {(specification(run), run.task, run.seed): run for run in runs if run.done}
    places = sorted({(run.task, run.seed) for run in runs})
    rows = []
    for chosen in specifications:
        plain = plain_l2(specifications, chosen[0])
        for matching in MATCHINGS:
            gains: dict[str, list[float]] = {}
            values, losses = [], []
            for task, seed in places:
                pair = [found.get((which, task, seed)) for which in (chosen, plain)]
                one, other = (compared(run, histories, matching, threshold) for run in pair)
                if one is not None and other is not None:
                    gains.setdefault(task, []).append(one[0] - other[0])
                    values.append(one[0])
                    losses.append(one[1])
            interval = mean_interval([sum(of_task) / len(of_task) for of_task in gains.values()])
            rows.append(row_of(chosen, matching, threshold, interval, len(places), values, losses))
    return rows


def specification(run: Run) -> Specification:
    """The run's choices as text; those of LAMP are empty without it."""
    return tuple("" if name in OF_LAMP and not run.lamp else run.settings[name] for name in CHOICES)


def plain_l2(specifications: Sequence[Specification], optimizer: str) -> Specification:
    """The first plain L2 of this optimizer."""
    for chosen in specifications:
        if chosen[0] == optimizer and chosen[1] == "l2":
            return chosen
    raise InputError(f"results: expected runs of plain L2 with {optimizer} to compare with, found none")


def compared(
    run: Run | None, histories: Mapping[str, History], matching: str, threshold: float
) -> tuple[float, float] | None:
    """AUROC and common training L2 of the evaluation that `matching` compares, None if the run has none such."""
    if run is None:
        return None
    if matching == "epochs":
        return run.last.auroc, run.last.train_l2
    history = histories.get(run.name, ())
    at = first_crossing(history, threshold).at
    return None if at is None else (at.auroc, at.train_l2)


def row_of(
    chosen: Specification,
    matching: str,
    threshold: float,
    interval: MeanInterval,
    places: int,
    values: Sequence[float],
    losses: Sequence[float],
) -> tuple[str, ...]:
    count = len(values)
    means = [sum(numbers) / count if count else math.nan for numbers in (values, losses)]
    text = [text_of(x) for x in (means[0], interval.mean, interval.low, interval.high, means[1])]
    limit = f"{threshold:g}" if matching == "fit" else ""
    return (*chosen, matching, limit, str(interval.count), str(count), str(places - count), *text)


def text_of(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


if __name__ == "__main__":
    raise SystemExit(command(main)())

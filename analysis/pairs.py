"""`python -m analysis.pairs`: paired DeLong tests and bootstrapped averages of a sweep's scores, as two CSV files."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from analysis.paper.selection import COLUMN, Selection, select
from analysis.paper.stored import AVERAGE_COLUMNS, PAIR_COLUMNS
from analysis.rows.formats import comma_separated
from analysis.rows.results import (
    LAMP_FIELDS,
    Group,
    Key,
    Run,
    by_key,
    check_one_reading,
    read_runs,
    task_order,
)
from training.data.config import DIGIT_SETS
from training.runtime.command import InputError, check_out, command, make_parent, parse, write_whole
from training.runtime.kinds import table_kind

if TYPE_CHECKING:
    from analysis.rows.scores import RunScores
    from analysis.statistics.bootstrap import Average
    from analysis.statistics.delong import PairedResult

DESCRIPTION = """Compare each LAMP run with the base run that differs in the loss alone, on the same test images.

Example: python -m analysis.pairs runs/table1 --out results/table1
Writes results/table1_pairs.csv (paired DeLong, a row a task, group and seed) and results/table1_averages.csv (means
over tasks, bootstrapped over images and seeds together). Both are of the last evaluation, as the scores are. The second
records --where and --tune, and analysis.tables then takes the same runs unless told otherwise."""


@dataclass(frozen=True)
class Arguments:
    folder: Annotated[Path, tyro.conf.Positional]
    """A sweep's folder: results.csv, and scores.csv of each run."""
    out: Path
    """Start of the names of both files."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only runs with this setting, name=value, may be repeated; LAMP's options choose among LAMP runs."""
    tune: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting, such as lr or patches, of which each task, loss and group takes the best; may be repeated."""
    tune_by: Literal["oracle", "validation"] = "oracle"
    """What is best: test AUROC, or the L2 of held-out normal images, both of the last evaluation."""
    resamples: int = 1000
    """Bootstrap resamples."""
    seed: int = 0
    """Seed of the bootstrap."""


@dataclass(frozen=True)
class Pair:
    """A place in the design, and the done runs that are there."""

    group: Group
    task: str
    seed: int
    base: Run | None
    lamp: Run | None
    status: str


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.pairs", DESCRIPTION)
    if arguments.resamples < 100:
        raise InputError(f"--resamples: expected at least 100, found {arguments.resamples}")
    if arguments.seed < 0:
        raise InputError(f"--seed: expected at least 0, found {arguments.seed}")
    if not arguments.out.name:
        check_out(arguments.out)
    names = [arguments.out.with_name(f"{arguments.out.name}_{what}.csv") for what in ("pairs", "averages")]
    for name, columns in zip(names, (PAIR_COLUMNS[:3], AVERAGE_COLUMNS[:4]), strict=True):
        check_out(name, table_kind(list(columns)))
    source = arguments.folder / "results.csv"
    selection = Selection(arguments.where, arguments.tune, arguments.tune_by)
    runs = select(read_runs(source), selection, lambda run: run.trouble or run.last)
    reading = check_one_reading(runs, source)
    pairs = pairs_of(runs, source)
    scores = read_all_scores(arguments.folder, pairs)
    averages = average_rows(pairs, scores, reading, arguments.resamples, arguments.seed)
    tables: tuple[list[list[str]], ...] = (
        [[*PAIR_COLUMNS], *(pair_row(pair, scores, reading) for pair in pairs)],
        [[*AVERAGE_COLUMNS, COLUMN], *([*row, str(selection)] for row in averages)],
    )
    for name, rows in zip(names, tables, strict=True):
        make_parent(name)
        write_whole(name, comma_separated(rows))
        print(name)


def pairs_of(runs: Sequence[Run], source: Path) -> list[Pair]:
    """Each group × task × seed that the sweep has in any loss, with its runs or why they are missing."""
    keyed = by_key(runs, source)
    found = []
    for group in sorted(
        {run.group for run in runs}, key=lambda group: (-group.batch_size, group.base, group.optimizer)
    ):
        of_group = [run for run in runs if run.group == group]
        found += [
            pair_at(keyed, group, task, seed)
            for task in task_order(run.task for run in runs)
            for seed in sorted({run.seed for run in of_group})
        ]
    return found


def pair_at(keyed: dict[Key, Run], group: Group, task: str, seed: int) -> Pair:
    both = [keyed.get((group, task, seed, lamp)) for lamp in (False, True)]
    names = (group.base, f"{group.base}-lamp")
    troubles = [
        f"{name} {'missing' if run is None else run.trouble}"
        for name, run in zip(names, both, strict=True)
        if run is None or not run.done
    ]
    base, lamp = (run if run is not None and run.done else None for run in both)
    return Pair(group, task, seed, base, lamp, ", ".join(troubles) or "done")


def read_all_scores(folder: Path, pairs: Iterable[Pair]) -> dict[str, "RunScores"]:
    """The scores of every run that is half of a complete pair, by its name."""
    from analysis.rows.scores import check_same_images, read_scores

    found: dict[str, RunScores] = {}
    for pair in pairs:
        if pair.base and pair.lamp:
            for run in (pair.base, pair.lamp):
                found[run.name] = read_scores(folder / run.name / "scores.csv")
            check_same_images(found[pair.base.name], found[pair.lamp.name], f"{pair.base.name} and {pair.lamp.name}")
    return found


def pair_row(pair: Pair, scores: dict[str, "RunScores"], reading: Sequence[str]) -> list[str]:
    from analysis.statistics.delong import paired_delong

    place = [pair.task, str(pair.group.batch_size), pair.group.base, pair.group.optimizer, str(pair.seed)]
    names = [run.name if run else "" for run in (pair.base, pair.lamp)]
    start = [*place, *names, *(reading or [""] * len(LAMP_FIELDS))]
    if not (pair.base and pair.lamp):
        auroc = [exact(run.last.auroc) if run else "" for run in (pair.base, pair.lamp)]
        return [*start, *auroc, *[""] * 7, pair.status]
    base, lamp = scores[pair.base.name], scores[pair.lamp.name]
    result = paired_delong(base.scores, lamp.scores, base.anomalous)
    sizes = [str(int((~base.anomalous).sum())), str(int(base.anomalous.sum()))]
    return [*start, *numbers_of(result), *sizes, pair.status]


def numbers_of(result: "PairedResult") -> list[str]:
    values = (result.base, result.other, result.difference, result.stderr, result.low, result.high, result.p)
    return [exact(value) for value in values]


def average_rows(
    pairs: Sequence[Pair], scores: dict[str, "RunScores"], reading: Sequence[str], resamples: int, seed: int
) -> list[list[str]]:
    """Three rows a group, base loss, LAMP loss and difference, over complete pairs, or saying what is missing."""
    found = []
    for group in dict.fromkeys(pair.group for pair in pairs):
        of_group = [pair for pair in pairs if pair.group == group]
        complete = [pair for pair in of_group if pair.base and pair.lamp]
        tasks = task_order(pair.task for pair in of_group)
        there = task_order(pair.task for pair in complete)
        lacking = [task for task in tasks if task not in there]
        status = f"missing: no pair of {' '.join(lacking)}" if lacking else "done"
        if len(complete) < len(of_group) and not lacking:
            status = f"done without {len(of_group) - len(complete)} of {len(of_group)} pairs"
        counts = [sum(pair.task == task for pair in complete) for task in there] or [0]
        end = [str(len(there)), str(min(counts)), str(max(counts)), str(resamples), str(seed), status]
        numbers = (
            [["", "", ""]] * 3
            if lacking
            else [average_text(one) for one in group_averages(complete, scores, resamples, seed)]
        )
        start = [str(group.batch_size), group.base, group.optimizer]
        for what, values in zip((group.base, f"{group.base}-lamp", "difference"), numbers, strict=True):
            found.append([*start, what, *(reading or [""] * len(LAMP_FIELDS)), *values, *end])
    return found


def group_averages(
    complete: Sequence[Pair], scores: dict[str, "RunScores"], resamples: int, seed: int
) -> list["Average"]:
    """Averages of base, LAMP and difference. Tasks of MNIST share their images; other tasks have their own."""
    import numpy as np

    from analysis.rows.scores import check_same_images
    from analysis.statistics.bootstrap import Task, averages

    worlds: dict[str, list[Task]] = {}
    first: dict[str, RunScores] = {}
    for task in task_order(pair.task for pair in complete):
        of_task = [(pair.base, pair.lamp) for pair in complete if pair.task == task and pair.base and pair.lamp]
        dataset = of_task[0][0].settings["dataset"]
        world = dataset if dataset in DIGIT_SETS else task
        known = [[scores[run.name] for run in runs] for runs in of_task]
        for runs, found in zip(of_task, known, strict=True):
            # The halves of a pair are known to be of the same images; seeds and tasks are not yet.
            check_same_images(known[0][0], found[0], runs[0].name)
            check_same_images(first.setdefault(world, found[0]), found[0], runs[0].name, labels=False)
        stacked = np.stack([[one.scores for one in ones] for ones in zip(*known, strict=True)])
        worlds.setdefault(world, []).append(Task(stacked, known[0][0].anomalous))
    each, difference = averages(list(worlds.values()), resamples, seed)
    return [*each, difference]


def average_text(average: "Average") -> list[str]:
    return [exact(value) for value in (average.mean, average.low, average.high)]


def exact(value: float) -> str:
    """A number in full, for files; empty if there is none."""
    return "" if math.isnan(value) else repr(float(value))


if __name__ == "__main__":
    raise SystemExit(command(main)())

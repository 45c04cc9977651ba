"""What `analysis.pairs` wrote, read back: paired tests and bootstrapped averages."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.paper.cells import Cells
from analysis.rows.results import LAMP_FIELDS, Group, Key, Run, number, read_table
from training.runtime.command import InputError

PAIR_COLUMNS = (
    *("task", "batch_size", "base", "optimizer", "seed", "run_base", "run_lamp", *LAMP_FIELDS),
    *("auroc_base", "auroc_lamp", "difference", "stderr", "low", "high", "p", "n_normal", "n_anomalous", "status"),
)
AVERAGE_COLUMNS = (
    *("batch_size", "base", "optimizer", "what", *LAMP_FIELDS, "mean", "low", "high"),
    *("tasks", "seeds_least", "seeds_most", "resamples", "bootstrap_seed", "status"),
)


@dataclass(frozen=True)
class StoredPair:
    group: Group
    task: str
    seed: int
    difference: float
    p: float


@dataclass(frozen=True)
class StoredAverage:
    mean: float
    low: float
    high: float
    resamples: int
    status: str


Averages = dict[tuple[Group, str], StoredAverage]


def read_pairs(path: Path, runs: dict[Key, Run]) -> list[StoredPair]:
    """The complete pairs whose runs are among `runs`; InputError if their AUROC is not that of the runs."""
    header, rows = read_table(path, PAIR_COLUMNS, "what analysis.pairs writes as _pairs.csv")
    by_name = {run.name: run for run in runs.values()}
    found = []
    for line, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        base, lamp = by_name.get(values["run_base"]), by_name.get(values["run_lamp"])
        if values["status"] != "done" or base is None or lamp is None:
            continue
        for run, name in ((base, "auroc_base"), (lamp, "auroc_lamp")):
            if not abs(number(path, line, name, values[name]) - run.last.auroc) < 1e-6:
                raise InputError(
                    f"{path}, line {line}: expected {name} {run.last.auroc:.6f} of {run.name}, found {values[name]}; "
                    "re-make it with python -m analysis.pairs"
                )
        difference, p = (number(path, line, name, values[name]) for name in ("difference", "p"))
        found.append(StoredPair(base.group, base.task, base.seed, difference, p))
    return found


def read_averages(path: Path, reading: Sequence[str]) -> Averages:
    """The averages by group and what (a loss, or "difference"), those of the same reading of LAMP."""
    header, rows = read_table(path, AVERAGE_COLUMNS, "what analysis.pairs writes as _averages.csv")
    found: Averages = {}
    for line, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        if reading and tuple(values[name] for name in ("lamp_scale", "lamp_detach", "lamp_eps")) != tuple(reading):
            continue
        mean, low, high = (number(path, line, name, values[name]) for name in ("mean", "low", "high"))
        batch, resamples = (number(path, line, name, values[name]) for name in ("batch_size", "resamples"))
        if not (math.isfinite(batch) and math.isfinite(resamples)):
            raise InputError(
                f"{path}, line {line}: expected numbers as batch_size and resamples, found others; re-make the file"
            )
        group = Group(int(batch), values["base"], values["optimizer"])
        found[group, values["what"]] = StoredAverage(mean, low, high, int(resamples), values["status"])
    return found


def same_runs(averaged: Sequence[Run], cells: Cells) -> bool:
    """Whether in each column of the table the runs are those that were averaged; both may have other columns."""

    def by_group(runs: Iterable[Run]) -> dict[Group, set[str]]:
        found: dict[Group, set[str]] = {}
        for run in runs:
            found.setdefault(run.group, set()).add(run.name)
        return found

    theirs, ours = by_group(averaged), by_group(cells.runs.values())
    return all(theirs.get(group) == names for group, names in ours.items())


def check_averages(averages: Averages, cells: Cells, path: Path) -> None:
    """Raise InputError if the averaged differences are not those of the cells' runs."""
    for group in cells.groups:
        stored, gains = averages.get((group, "difference")), cells.gains(group)
        if stored is None or math.isnan(stored.mean) or np.isnan(gains).any():
            continue
        if not abs(stored.mean - gains.mean()) < 1e-6:
            raise InputError(
                f"{path}: expected a mean gain of {gains.mean():.6f} at batch size {group.batch_size}, "
                f"found {stored.mean:.6f}; re-make it with python -m analysis.pairs and the same --where and --tune"
            )

"""Checkpoints with their measures of sharpness, as columns: what `analysis.sharpness` writes.

A measure's column is `MEASURE@LOSS`, such as `half_curvature@l2`; its standard error, if there is one, is in
`MEASURE@LOSS:stderr`. Other columns with a colon are details that are not read here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.rows.results import NEEDED, Run, chosen, number, read_runs, read_table, task_order
from training.runtime.command import InputError

Floats = NDArray[np.float64]
TASK_SETTINGS = ("normal", "category", "train_dir", "test_normal_dir", "test_anomalous_dir")
BASICS = ("auroc", "train_l2")  # what every checkpoint has, besides its measures
STDERR = ":stderr"


@dataclass(frozen=True)
class Checkpoints:
    """Done checkpoints with an AUROC; arrays (checkpoints,), NaN where the file has nothing.

    values: by measure, `auroc` and `train_l2` among them; stderr: of those measures that have one, and of `auroc`;
    notes: what was left out, and why.
    """

    runs: list[Run]
    values: dict[str, Floats]
    stderr: dict[str, Floats]
    notes: list[str] = field(default_factory=list)

    @property
    def measures(self) -> list[str]:
        return [name for name in self.values if name not in BASICS]

    @property
    def tasks(self) -> list[str]:
        """The digits (or categories) that there are."""
        return task_order(run.task for run in self.runs)

    def task_codes(self) -> NDArray[np.int64]:
        """The number of each checkpoint's digit in `tasks`."""
        place = {task: code for code, task in enumerate(self.tasks)}
        return np.array([place[run.task] for run in self.runs], np.int64)

    def seed_codes(self) -> NDArray[np.int64]:
        return np.array([run.seed for run in self.runs], np.int64)

    def setting(self, name: str) -> list[str]:
        return [run.settings[name] for run in self.runs]

    def varying(self) -> list[str]:
        """The settings, other than those that name the task, which are not the same for all checkpoints."""
        names = [name for name in self.runs[0].settings if name not in TASK_SETTINGS]
        return [name for name in names if len(set(self.setting(name))) > 1]

    def taken(self, indices: Sequence[int] | NDArray[np.int64]) -> "Checkpoints":
        """These checkpoints alone."""
        where = np.asarray(indices, np.int64)
        return Checkpoints(
            [self.runs[i] for i in where],
            {name: column[where] for name, column in self.values.items()},
            {name: column[where] for name, column in self.stderr.items()},
            self.notes,
        )


def read_checkpoints(path: Path, where: Sequence[str] = (), measures: Sequence[str] = ()) -> Checkpoints:
    """The checkpoints with the settings `where`, and of their measures those named; InputError if none can be used.

    A measure is named whole (`trace@l2`), for all losses (`trace`) or for all measures of a loss (`@l2`). Failed rows
    and rows without an AUROC are left out, which the notes say.
    """
    header, rows = read_table(path, NEEDED, "what analysis.sharpness writes")
    runs = read_runs(path)
    kept = {id(run) for run in chosen(runs, where)}
    pairs = [(i, run) for i, run in enumerate(runs) if id(run) in kept]
    there = [i for i, run in pairs if run.done]
    if not there:
        troubles = ", ".join(sorted({run.trouble for _, run in pairs}))
        raise InputError(f"{path}: expected checkpoints that are done and have an AUROC, found {len(pairs)} {troubles}")
    border = header.index("status")
    names = chosen_measures([name for name in header[border:] if "@" in name and ":" not in name], measures, path)
    columns = {name: header.index(name, border) for name in (*BASICS, *names) if name in header[border:]}
    errors = {name: header.index(name + STDERR) for name in names if name + STDERR in header}

    def column(name: str, index: int) -> Floats:
        return np.array([number(path, i + 2, name, rows[i][index]) for i in there], np.float64)

    values = {name: np.full(len(there), math.nan) for name in BASICS}
    values |= {name: column(name, index) for name, index in columns.items()}
    stderr = {name: column(name + STDERR, index) for name, index in errors.items()}
    of_auroc = np.array([runs[i].last.auroc_stderr for i in there], np.float64)
    if not np.isnan(of_auroc).all():
        stderr["auroc"] = of_auroc
    return Checkpoints([runs[i] for i in there], values, stderr, left_out([run for _, run in pairs]))


def joined(parts: Sequence[Checkpoints]) -> Checkpoints:
    """Checkpoints of several files as one, in their order, with the measures that all of them have."""
    names = [name for name in parts[0].values if all(name in part.values for part in parts)]
    errors = [name for name in parts[0].stderr if all(name in part.stderr for part in parts)]
    return Checkpoints(
        [run for part in parts for run in part.runs],
        {name: np.concatenate([part.values[name] for part in parts]) for name in names},
        {name: np.concatenate([part.stderr[name] for part in parts]) for name in errors},
        list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def left_out(runs: Iterable[Run]) -> list[str]:
    """A note that counts the rows without which the rest is made, if there are any."""
    troubles = [run.trouble for run in runs if run.trouble]
    counts = {trouble: troubles.count(trouble) for trouble in dict.fromkeys(troubles)}
    listed = ", ".join(f"{count} {trouble}" for trouble, count in counts.items())
    return [f"Left out: checkpoints {listed}."] if counts else []


def chosen_measures(there: Sequence[str], wanted: Sequence[str], path: Path) -> list[str]:
    """The measures of the file that are named, in the file's order; all without names."""
    if not there:
        raise InputError(
            f"{path}: expected columns of measures such as half_curvature@l2, found none; "
            "make them with python -m analysis.sharpness"
        )
    for name in wanted:
        if not any(is_named(measure, name) for measure in there):
            raise InputError(f"--measures {name}: expected names among {', '.join(there)}, found another")
    return [measure for measure in there if not wanted or any(is_named(measure, name) for name in wanted)]


def units_of_own(runs: Sequence[Run], measures: Sequence[str]) -> list[str]:
    """A caution of measures under each model's own loss, if there are any and the own losses are not the same."""
    losses, batches = len({run.settings["loss"] for run in runs}), len({run.settings["batch_size"] for run in runs})
    if max(losses, batches) < 2 or not any(name.endswith("@own") for name in measures):
        return []
    return [
        "Measures @own are of each model's own training loss, which is another loss in other units for each loss and "
        "batch size: differences between those under it are differences of units."
    ]


def is_named(measure: str, name: str) -> bool:
    base, _, loss = measure.partition("@")
    return name in (measure, base, f"@{loss}")

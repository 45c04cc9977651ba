"""What has become of a sweep's runs, read from their folders and kept in two tables: results.csv and history.csv.

The folders are the truth, so a sweep that was killed at any moment loses no run that was finished: the tables are made
from them anew. Needs no torch.
"""

import csv
import dataclasses
import json
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from training.data.config import RunConfig, with_later_fields
from training.fitting.results import csv_text, is_complete, make_run_folder
from training.runtime.command import InputError, RunError, unusable, write_whole
from training.sweeps.plan import PlannedRun

MEASURED = (
    *("epoch", "updates", "loss", "train_l2", "validation_l2", "recon_variance"),
    *("auroc", "auroc_stderr", "auroc_low", "auroc_high", "auroc_n_normal", "auroc_n_anomalous"),
    *("pixel_auroc", "accuracy", "train_s", "digest", "data_digest"),
)
#: measured values under other names in the table, where `loss` is the name of the training loss
COLUMN_OF = {"loss": "final_loss", "auroc_n_normal": "n_normal", "auroc_n_anomalous": "n_anomalous"}
CONFIG = tuple(field.name for field in dataclasses.fields(RunConfig))
COLUMNS = ("run", *CONFIG, "status", "error", *(COLUMN_OF.get(name, name) for name in MEASURED))
HISTORY = (
    *("epoch", "updates", "loss", "train_l2", "validation_l2", "recon_variance"),
    *("auroc", "auroc_stderr", "auroc_low", "auroc_high", "accuracy"),
)
FAILURE = "failed.json"
WRITE_EVERY = 5.0  # seconds


class State(Enum):
    DONE = "done"
    FAILED = "failed"
    LEFT = "left"


class Records:
    """The state of each of `runs` under `folder`; on the root, the two tables."""

    def __init__(self, folder: Path, runs: Sequence[PlannedRun], known: Path | None = None):
        self.folder = folder
        self.runs = runs
        self.known = known_rows(known, runs) if known else {}
        self.results = folder / "results.csv"
        self._rows: dict[str, list[Any]] = {}
        self._histories: dict[str, list[list[Any]]] = {}
        self._states: dict[str, State] = {}
        self._written = 0.0

    def state(self, run: PlannedRun) -> State:
        if run.name not in self._states:
            self._states[run.name] = self._look(run)
        return self._states[run.name]

    def count(self, state: State) -> int:
        return sum(self.state(run) is state for run in self.runs)

    def load(self, retry: bool) -> None:
        """Find what was done before, and write the tables; `retry` forgets failures. Raises InputError."""
        for leftover in self.folder.glob(".running-*"):
            leftover.unlink()
        for run in self.runs:
            if retry:
                (self.folder / run.name / FAILURE).unlink(missing_ok=True)
            self.state(run)
        self.write()

    def update(self, runs: Sequence[PlannedRun]) -> None:
        """Take the news of `runs` from their folders; the tables follow at most every few seconds."""
        for run in runs:
            self._states[run.name] = self._look(run)
        if time.monotonic() - self._written > WRITE_EVERY:
            self.write()

    def check_all_done(self) -> None:
        """Raise RunError, naming one and why, unless all runs are done, by what their folders hold now."""
        for run in self.runs:
            self._states[run.name] = self._look(run)
        failed = [run for run in self.runs if self.state(run) is State.FAILED]
        missing = [run for run in self.runs if self.state(run) is State.LEFT]
        if failed or missing:
            first = (missing or failed)[0]
            why = "has no results" if missing else self._rows[first.name][COLUMNS.index("error")]
            counts = [f"{len(runs)} {what}" for runs, what in ((failed, "failed"), (missing, "missing")) if runs]
            raise RunError(
                f"{self.results}: expected {len(self.runs)} runs done, found {' and '.join(counts)}, such as "
                f"{first.name} ({why}); {'start it again' if missing else '--retry trains failed runs again'}"
            )

    def running(self) -> int:
        """Runs being trained now, on all ranks."""
        names = [name for file in self.folder.glob(".running-*") for name in read_lines(file)]
        return sum(self._states.get(name) is State.LEFT for name in names)

    def write(self) -> None:
        """Write results.csv, a row a run that is done or failed, and history.csv, a row an evaluation."""
        names = [run.name for run in self.runs if run.name in self._rows]
        write_whole(self.results, csv_text([COLUMNS, *(self._rows[name] for name in names)]))
        history = [row for name in names for row in self._histories.get(name, [])]
        write_whole(self.folder / "history.csv", csv_text([("run", *HISTORY), *history]))
        self._written = time.monotonic()

    def _look(self, run: PlannedRun) -> State:
        if run.name in self.known:
            self._rows[run.name], self._histories[run.name] = self.known[run.name]
            return State.DONE
        folder = self.folder / run.name
        config = list(vars(run.config).values())
        if failure := read_json(folder / FAILURE):
            self._rows[run.name] = [run.name, *config, "failed", failure["error"], *("" for _ in MEASURED)]
            return State.FAILED
        metrics = read_json(folder / "metrics.json") if (folder / "checkpoint.pt").is_file() else None
        if metrics is None or not is_complete(run.config, metrics):
            return State.LEFT
        check_same(folder, metrics, run.config)
        values = [plain(metrics.get(name)) for name in MEASURED]
        self._rows[run.name] = [run.name, *config, "done", "", *values]
        self._histories[run.name] = history_rows(run.name, folder / "history.csv")
        return State.DONE


def known_rows(path: Path, runs: Sequence[PlannedRun]) -> dict[str, tuple[list[Any], list[list[Any]]]]:
    """Of each of `runs` that is done in another results.csv, its row there and those of the history beside it.

    The history of NAME.csv is NAME_history.csv, that of results.csv history.csv. Raises InputError if a file cannot be
    used, or if a run of the same name had another config.
    """
    beside = path.with_name("history.csv" if path.name == "results.csv" else f"{path.stem}_history.csv")
    rows = dict_rows(path, ("run", "status", *MEASURED[:1]))
    histories: dict[str, list[list[Any]]] = {}
    for row in dict_rows(beside, ("run",)):
        histories.setdefault(row["run"], []).append([row["run"], *(row.get(column, "") for column in HISTORY)])
    configs = {run.name: run.config for run in runs}
    found = {}
    for row in rows:
        name = row["run"]
        if name not in configs or row["status"] != "done":
            continue
        for field, value in vars(configs[name]).items():
            if field in row and row[field] != str(value):
                raise InputError(
                    f"{path}: expected {name} with {field} {value}, found {row[field]}; leave the file out"
                )
        values = [row.get(COLUMN_OF.get(column, column), "") for column in MEASURED]
        found[name] = [name, *vars(configs[name]).values(), "done", "", *values], histories.get(name, [])
    return found


def dict_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by column; InputError if it is none or lacks a column."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unusable(path, "a table that training.sweep wrote", error) from None
    if rows and (missing := sorted(set(needed) - set(rows[0]))):
        raise InputError(f"{path}: expected a table that training.sweep wrote, found no column {', '.join(missing)}")
    return rows


def write_failure(folder: Path, run: PlannedRun, error: str) -> None:
    """Record in the run's folder that it failed, and why."""
    make_run_folder(folder / run.name)
    content = {"config": vars(run.config), "error": error}
    write_whole(folder / run.name / FAILURE, json.dumps(content, indent=1) + "\n")


def check_same(folder: Path, metrics: dict[str, Any], config: RunConfig) -> None:
    """Raise InputError if the folder holds the results of another config."""
    found = with_later_fields(metrics.get("config", {}))
    different = [f"{name} {found.get(name)}" for name, value in vars(config).items() if found.get(name) != value]
    if different:
        raise InputError(
            f"{folder}: expected no other run's results, found {', '.join(different)}; choose another --out"
        )


def history_rows(name: str, path: Path) -> list[list[Any]]:
    """The rows of a run's history.csv in this module's columns, headed by its name."""
    with path.open(newline="", encoding="utf-8") as file:
        return [[name, *(row.get(column, "") for column in HISTORY)] for row in csv.DictReader(file)]


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_lines(path: Path) -> list[str]:
    """The lines of a file that may vanish at any moment."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def plain(value: Any) -> Any:
    return "" if value is None else value

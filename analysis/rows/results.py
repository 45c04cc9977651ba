"""What a sweep wrote: `results.csv` (a row a run) and `history.csv` (a row an evaluation), as typed rows."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.config import DIGIT_SETS
from training.runtime.command import InputError, unusable

LAMP_FIELDS = ("lamp_scale", "lamp_detach", "lamp_eps")
NEEDED = ("run", "dataset", "loss", *LAMP_FIELDS, "optimizer", "batch_size", "epochs", "seed", "status", "auroc")
MEASURED = (
    "epoch",
    "updates",
    "train_l2",
    "validation_l2",
    "recon_variance",
    "auroc",
    "auroc_stderr",
    "auroc_low",
    "auroc_high",
)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run; NaN where the file has nothing."""

    epoch: float
    updates: float
    train_l2: float
    validation_l2: float
    recon_variance: float
    auroc: float
    auroc_stderr: float
    auroc_low: float
    auroc_high: float


@dataclass(frozen=True, order=True)
class Group:
    """What a column of a table stands for: runs of it differ in task, seed and LAMP alone."""

    batch_size: int
    base: str
    optimizer: str


@dataclass(frozen=True)
class Run:
    """One row of results.csv: its settings as text, why it has no AUROC ("" if it has one), and its last evaluation."""

    name: str
    settings: dict[str, str]
    trouble: str
    last: Evaluation

    @property
    def done(self) -> bool:
        return not self.trouble

    @property
    def lamp(self) -> bool:
        return self.settings["loss"].endswith("-lamp")

    @property
    def group(self) -> Group:
        base = self.settings["loss"].removesuffix("-lamp")
        return Group(int(self.settings["batch_size"]), base, self.settings["optimizer"])

    @property
    def task(self) -> str:
        """The digit, the category, or the name of the training folder."""
        dataset = self.settings["dataset"]
        if dataset in DIGIT_SETS:
            return self.settings.get("normal", "")
        if dataset == "mvtec":
            return self.settings.get("category", "")
        return Path(self.settings.get("train_dir", "")).name

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    @property
    def reading(self) -> tuple[str, ...]:
        """How LAMP was read: scope of the maximum, detached or not, epsilon."""
        return tuple(self.settings[name] for name in LAMP_FIELDS)


Key = tuple[Group, str, int, bool]  # group, task, seed, LAMP


def key_of(run: Run) -> Key:
    return run.group, run.task, run.seed, run.lamp


def read_runs(path: Path) -> list[Run]:
    """The runs of a results.csv in its order, failed ones too; InputError if it cannot be used.

    The settings are the columns between `run` and `status`, what was measured those after it: the name `loss` is in
    both.
    """
    header, rows = read_table(path, NEEDED, "what training.sweep writes as results.csv")
    border = header.index("status")
    return [_run(path, number, header, row, border) for number, row in enumerate(rows, start=2)]


def _run(path: Path, line: int, header: list[str], row: list[str], border: int) -> Run:
    settings = {name: text for name, text in zip(header[:border], row[:border], strict=True) if name != "run"}
    failed = row[border] == "failed"  # whose settings may not be known
    for name in ("batch_size", "epochs", "seed"):
        if not settings[name].isdecimal() and not (failed and not settings[name]):
            raise InputError(
                f"{path}, line {line}: expected a whole number as {name}, found {settings[name]!r}; re-make the file"
            )
    found = dict(zip(header[border:], row[border:], strict=True))
    last = evaluation(path, line, found)
    trouble = "failed" if found["status"] != "done" else "" if math.isfinite(last.auroc) else "without AUROC"
    return Run(row[header.index("run")], settings, trouble, last)


def read_history(path: Path) -> dict[str, tuple[Evaluation, ...]]:
    """The evaluations of each run, by updates; InputError if the file cannot be used."""
    header, rows = read_table(path, ("run", *MEASURED[:3], "auroc"), "what training.sweep writes as history.csv")
    found: dict[str, list[Evaluation]] = {}
    for line, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        found.setdefault(values["run"], []).append(evaluation(path, line, values))
    return {name: tuple(sorted(history, key=lambda at: at.updates)) for name, history in found.items()}


def evaluation(path: Path, line: int, values: dict[str, str]) -> Evaluation:
    return Evaluation(*(number(path, line, name, values.get(name, "")) for name in MEASURED))


def number(path: Path, line: int, name: str, text: str) -> float:
    """`text` as a number, NaN if empty."""
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise InputError(
            f"{path}, line {line}: expected a number as {name}, found {text!r}; re-make the file"
        ) from None


def read_table(path: Path, needed: Iterable[str], what: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file that has at least the columns `needed` and one row."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unusable(path, what, error) from None
    header = lines[0] if lines else []
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(f"{path}: expected {what}, found no column {', '.join(missing)}")
    if len(lines) < 2:
        raise InputError(f"{path}: expected at least one row, found none")
    for line, row in enumerate(lines[1:], start=2):
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {line}: expected {len(header)} values, found {len(row)}; the file may be cut off"
            )
    return header, lines[1:]


def chosen(runs: Sequence[Run], where: Sequence[str]) -> list[Run]:
    """The runs with the settings `where`, each `name=value`; a LAMP option chooses among LAMP runs alone.

    `name!=value` leaves runs out.
    """
    for condition in where:
        name, equals, value = condition.partition("=")
        if name.endswith("!"):
            name = name.removesuffix("!")
            there = sorted({run.settings[name] for run in runs if name in run.settings})
            if value not in there:
                raise InputError(f"--where {condition}: expected one of {', '.join(there)} to leave out, found {value}")
            runs = [run for run in runs if run.settings[name] != value]
            continue
        if not equals or name not in runs[0].settings:
            raise InputError(
                f"--where {condition}: expected name=value with a setting of the runs, found no such setting; "
                "their names are the columns of results.csv"
            )
        there = sorted({run.settings[name] for run in runs})
        runs = [run for run in runs if run.settings[name] == value or (name in LAMP_FIELDS and not run.lamp)]
        if not any(run.settings[name] == value for run in runs):
            raise InputError(f"--where {condition}: expected one of {', '.join(there)}, found {value}")
    return list(runs)


def by_key(runs: Sequence[Run], path: Path) -> dict[Key, Run]:
    """The runs by group, task, seed and LAMP; InputError if two share a key, naming the settings they differ in."""
    found: dict[Key, Run] = {}
    for run in runs:
        other = found.setdefault(key_of(run), run)
        if other is not run:
            differ = differing(run, other)
            raise InputError(
                f"{path}: expected one run for each task, batch size, optimizer, loss and seed, "
                f"found two that differ in {', '.join(differ) or 'nothing'}"
                + (f"; choose with --where {differ[0]}=…" if differ else "; remove one")
            )
    return found


def differing(one: Run, other: Run) -> list[str]:
    """The settings in which two runs differ."""
    return [name for name, value in one.settings.items() if other.settings.get(name) != value]


def check_one_reading(runs: Sequence[Run], path: Path) -> tuple[str, ...]:
    """The one reading of LAMP that the runs share, () without LAMP; InputError if there are several."""
    readings = sorted({run.reading for run in runs if run.lamp})
    if len(readings) > 1:
        differ = next(
            name for name, values in zip(LAMP_FIELDS, zip(*readings, strict=True), strict=True) if len(set(values)) > 1
        )
        raise InputError(
            f"{path}: expected one reading of LAMP in a table, found {len(readings)}; choose with --where {differ}=…"
        )
    return readings[0] if readings else ()


def describe_reading(reading: Sequence[str]) -> str:
    """A reading of LAMP in words."""
    if not reading:
        return "no LAMP runs"
    scale, detach, eps = reading
    return f"maximum over {scale}, {'detached' if detach == 'True' else 'attached'}, eps {eps}"


def task_order(tasks: Iterable[str]) -> list[str]:
    """Digits as numbers, then names."""
    return sorted(set(tasks), key=lambda task: (not task.isdigit(), int(task) if task.isdigit() else 0, task))

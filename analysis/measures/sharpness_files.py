"""Reports of sharpness: a JSON file a model, and the table of many, a row a checkpoint. No torch."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analysis.measures.catalogue import MEASURES, column
from analysis.rows.results import chosen, read_runs
from training.data.config import RunConfig
from training.fitting.results import csv_text
from training.runtime.command import InputError, unusable, write_whole

FORMAT = "landscape-sharpness"
VERSION = 3  # of what measures mean: reports of another are not mixed with
CONFIG = tuple(field.name for field in dataclasses.fields(RunConfig))
KEPT = ("train_l2", "auroc", "auroc_stderr", "auroc_low", "auroc_high", "stopped_at_fit")
EXTRAS = ("", ":stderr", ":residual", ":steps", ":starts", ":agreeing", ":spread", ":draws", ":converged")


class Task(NamedTuple):
    """A checkpoint to measure: its name in the table, its file, and the file of its report."""

    name: str
    checkpoint: Path
    report: Path


@dataclass(frozen=True)
class Report:
    """What was measured of a model, on what, with which settings; or the error that it could not be measured for."""

    name: str
    settings: dict[str, Any]
    digest: str = ""
    data_digest: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, float | None] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    directional: dict[str, Any] = field(default_factory=dict)
    density: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    error: str = ""
    version: int = VERSION


def write_report(path: Path, report: Report) -> None:
    """Write a report with the definition of each of its measures, whole or not at all."""
    content = {
        "format": FORMAT,
        **dataclasses.asdict(report),
        "definitions": {
            name: {**dataclasses.asdict(what), "definition": what.definition.format(**report.settings)}
            for name, what in MEASURES.items()
        },
    }
    write_whole(path, json.dumps(content, indent=1) + "\n")


def read_report(path: Path) -> Report:
    """A report that :func:`write_report` wrote; InputError if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise unusable(path, "a report of sharpness", error, "make one with python -m analysis.sharpness") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: expected a report of sharpness, found another kind of JSON file")
    try:
        return Report(**{name.name: content[name.name] for name in dataclasses.fields(Report)})
    except KeyError as error:
        raise InputError(f"{path}: expected a report of this version, found none of {error}; measure again") from None


def sweep_tasks(sweep: Path, folder: Path, where: Sequence[str] = ()) -> list[Task]:
    """A task for each finished run of a sweep's folder with the settings `where`, their reports in `folder`."""
    runs = chosen(read_runs(sweep / "results.csv"), where)
    names = [run.name for run in runs if run.trouble != "failed"]
    if not names:
        raise InputError(f"--sweep {sweep}: expected finished runs, found none; run training.sweep first")
    return [Task(name, sweep / name / "checkpoint.pt", folder / f"{name}.json") for name in names]


class Table:
    """The table of many reports at `path`; the reports are the truth, so it is made anew from them.

    Raises InputError if there is a report with other settings, or one of another checkpoint than `digests` has for it.
    """

    def __init__(
        self, path: Path, tasks: Sequence[Task], settings: dict[str, Any], digests: Mapping[str, str] | None = None
    ):
        self.digests = digests or {}
        self.path = path
        self.tasks = tasks
        self.settings = settings
        self.reports: dict[str, Report] = {}
        for task in tasks:
            self._look(task)
        self.write()

    def left(self) -> list[Task]:
        """What has no report yet, or one of an error."""
        return [task for task in self.tasks if task.name not in self.reports or self.reports[task.name].error]

    def failed(self) -> list[str]:
        """The names of the checkpoints whose report is one of an error."""
        return [name for name, report in self.reports.items() if report.error]

    def update(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._look(task)
        self.write()

    def _look(self, task: Task) -> None:
        if not task.report.exists():
            return
        report = read_report(task.report)
        if report.version != VERSION:
            raise InputError(
                f"{task.report}: expected a report of version {VERSION}, found {report.version}, whose measures mean "
                "something else; choose another --out, or delete the folder"
            )
        if report.settings != self.settings:
            differ = [name for name, value in self.settings.items() if report.settings.get(name) != value]
            raise InputError(
                f"{task.report}: expected reports with the settings given, "
                f"found other {', '.join(differ) or 'settings'}; choose another --out, or delete the folder"
            )
        if not report.error and report.digest != self.digests.get(task.name, report.digest):
            raise InputError(
                f"{task.report}: expected the report of this checkpoint, found that of another; choose another --out, "
                "or delete it"
            )
        self.reports[task.name] = report

    def write(self) -> None:
        rows = [row_of(self.reports[task.name], self.columns) for task in self.tasks if task.name in self.reports]
        header = ("run", *CONFIG, "status", "error", "epoch", *KEPT, "digest", "data_digest", "images", *self.columns)
        write_whole(self.path, csv_text([header, *rows]))

    @property
    def columns(self) -> list[str]:
        """The columns of measures that any report has."""
        present = set().union(*(report.measures for report in self.reports.values()))
        names = (
            column(name + extra, loss) for name in MEASURES for loss in self.settings["losses"] for extra in EXTRAS
        )
        return [name for name in names if name in present]


def row_of(report: Report, columns: Sequence[str]) -> list[Any]:
    """A report as a row of the table; what is missing is empty, what is beyond all that was measured `inf`."""

    def text(value: Any) -> Any:
        return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value

    config = [report.config.get(name, "") for name in CONFIG]
    status = ["failed" if report.error else "done", report.error]
    kept = [text(report.metrics.get(name)) for name in KEPT]
    values = ["inf" if name in report.beyond else text(report.measures.get(name)) for name in columns]
    images = report.settings["images"]
    return [
        report.name,
        *config,
        *status,
        text(report.epoch),
        *kept,
        report.digest,
        report.data_digest,
        images,
        *values,
    ]

"""A sweep that no table of one run a place can hold: each task, column and loss with a row for every setting tried."""

from collections.abc import Sequence
from pathlib import Path

from analysis.paper.cells import Histories, Rule, choose, describe_rule
from analysis.paper.table1 import ABSENT, number_text
from analysis.rows.formats import Rows, Table
from analysis.rows.results import LAMP_FIELDS, Evaluation, Key, Run, differing, key_of, task_order
from analysis.statistics.paired import mean_sd
from training.runtime.command import InputError


def settings_that_vary(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs of the same task, batch size, loss, optimizer and seed differ, in the file's order."""
    places: dict[Key, list[Run]] = {}
    for run in runs:
        places.setdefault(key_of(run), []).append(run)
    found = {name for first, *others in places.values() for other in others for name in differing(first, other)}
    return [name for name in runs[0].settings if name in found]


def settings_table(runs: Sequence[Run], histories: Histories | None, rule: Rule, source: Path) -> Table:
    """A row for each task, batch size, loss, optimizer and setting that varies: mean AUROC and its spread over seeds.

    Nothing is chosen among the settings, so that nothing is tuned.
    """
    names = settings_that_vary(runs)
    rows_of: dict[tuple[str, ...], list[Run]] = {}
    tasks = task_order(run.task for run in runs)
    in_order = sorted(runs, key=lambda run: (-run.group.batch_size, run.group, tasks.index(run.task), run.lamp))
    for run in in_order:
        of_setting = [ABSENT if name in LAMP_FIELDS and not run.lamp else run.settings[name] for name in names]
        place = (run.task, str(run.group.batch_size), run.settings["loss"], run.group.optimizer, *of_setting)
        rows_of.setdefault(place, []).append(run)
    rows: Rows = [["task", "batch size", "loss", "optimizer", *names, "seeds", "mean AUROC", "sd over seeds"]]
    for place, of_place in rows_of.items():
        found = [one.auroc for run in of_place if isinstance(one := choose(run, histories, rule), Evaluation)]
        mean, sd = mean_sd(found)
        rows.append([*place, f"{len(found)} of {len(of_place)}", number_text(mean), number_text(sd)])
    notes = [describe_rule(rule)]
    if names:
        notes.insert(
            0,
            f"The runs of {source.name} differ in {', '.join(names)}, which no column tells apart: a row each. One of "
            f"them is chosen with --where {names[0]}=…, the best of each cell with --tune {names[0]}.",
        )
    return Table("AUROC by task and setting", rows, notes)


def several_values(runs: Sequence[Run], column: str) -> list[str]:
    """The values of a part of a group that a table's columns do not tell apart; none if there is one value."""
    values = sorted({str(getattr(run.group, column)) for run in runs})
    return values if len(values) > 1 else []


def check_one_value(values: Sequence[str], column: str, source: Path) -> None:
    """Raise InputError if a table's columns would hold several groups."""
    if values:
        raise InputError(
            f"{source}: expected one {column} in this table, found {', '.join(values)}; "
            f"choose with --where {column}={values[0]}"
        )

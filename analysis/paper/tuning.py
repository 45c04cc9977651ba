"""Settings tuned in each cell: of runs that differ in some settings alone, those of the best setting stay."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from analysis.rows.results import Evaluation, Group, Run
from training.runtime.command import InputError

Cell = tuple[Group, str, bool]  # group, task, LAMP
Choose = Callable[[Run], Evaluation | str]

#: what is largest at the best setting
CRITERIA: dict[str, Callable[[Evaluation], float]] = {
    "oracle": lambda at: at.auroc,
    "validation": lambda at: -at.validation_l2,
}
CRITERION_TEXTS = {"oracle": "best test AUROC, that is tuning on the test set", "validation": "least held-out L2"}


def tune(runs: Sequence[Run], names: Sequence[str], by: str, choose: Choose) -> list[Run]:
    """The runs of the best setting of each task, group and loss; `names` are the settings that were tuned.

    The best setting has the largest mean over seeds of the criterion `by` at the evaluation that `choose` picks, among
    the settings with the most seeds done; the first of equals. A cell of which nothing is done keeps its first setting,
    so that it shows as missing. Raises InputError for a name that is no setting, or without held-out images.
    """
    for name in names:
        if name not in runs[0].settings:
            raise InputError(
                f"--tune {name}: expected a setting of the runs, found no such setting; "
                "their names are the columns of results.csv"
            )
    cells: dict[Cell, dict[tuple[str, ...], list[Run]]] = {}
    for run in runs:
        setting = tuple(run.settings[name] for name in names)
        cells.setdefault((run.group, run.task, run.lamp), {}).setdefault(setting, []).append(run)
    kept = [run for settings in cells.values() for run in settings[best_setting(settings, by, choose)]]
    return [run for run in runs if run in kept]


def best_setting(settings: Mapping[tuple[str, ...], Sequence[Run]], by: str, choose: Choose) -> tuple[str, ...]:
    """The setting of one cell that the criterion picks."""
    values = {setting: [value_of(run, by, choose) for run in runs] for setting, runs in settings.items()}
    known = {setting: [x for x in found if not math.isnan(x)] for setting, found in values.items()}
    done = any(not isinstance(choose(run), str) for runs in settings.values() for run in runs)
    if done and not any(known.values()):
        raise InputError(f"--tune-by {by}: expected runs with {by} values, found none; train with --validation")
    most = max(len(found) for found in known.values())
    if most == 0:
        return next(iter(settings))
    return max(
        (setting for setting in known if len(known[setting]) == most), key=lambda one: float(np.mean(known[one]))
    )


def value_of(run: Run, by: str, choose: Choose) -> float:
    """The criterion of a run, NaN if it has no evaluation."""
    found = choose(run)
    return math.nan if isinstance(found, str) else CRITERIA[by](found)


def tuning_note(runs: Sequence[Run], names: Sequence[str], by: str) -> str:
    """What was tuned, over what, and how."""
    tried = [f"{name} ({', '.join(dict.fromkeys(run.settings[name] for run in runs))})" for name in names]
    return f"Tuned for each task, loss and column: {'; '.join(tried)}, by {CRITERION_TEXTS[by]} (mean over seeds)."

"""The gain of LAMP as a curve, against updates and against the common training L2; intervals over training seeds.

One number a batch size hangs on when training stops. A seed gives all tasks the same initial weights, so a gain at a
point is the mean over tasks of each seed, and its interval Student's over seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.rows.formats import Table
from analysis.rows.matching import best_auroc, first_crossing, least_validation
from analysis.rows.results import Evaluation, Run, by_key, task_order
from analysis.statistics.paired import MeanInterval, mean_interval
from training.runtime.command import InputError

Floats = NDArray[np.float64]
History = Sequence[Evaluation]
LEVELS_A_DECADE = 16
LAST = 5  # evaluations
ABSENT = "–"


@dataclass(frozen=True)
class Group:
    """Pairs of runs of a batch size that differ in the loss alone: by seed, a history of each task and loss.

    Only seeds that have all tasks of both losses are here.
    """

    batch_size: int
    tasks: list[str]
    pairs: dict[int, list[tuple[History, History]]]


@dataclass(frozen=True)
class Curve:
    """Gains (seeds, points) over tasks at each of `at` (points,); NaN where a seed has no value."""

    at: Floats
    gains: Floats

    def intervals(self) -> list[MeanInterval]:
        """Mean and Student's interval at each point, over the seeds that have a value there."""
        return [mean_interval(column[~np.isnan(column)].tolist()) for column in self.gains.T]


def grouped(runs: Sequence[Run], histories: Mapping[str, History], source: Path) -> list[Group]:
    """The pairs by batch size, descending; InputError where no seed has all tasks of both losses."""
    keyed = by_key(runs, source)
    groups: list[Group] = []
    for group in sorted({run.group for run in runs}, key=lambda group: -group.batch_size):
        mine = {key[1:]: run for key, run in keyed.items() if key[0] == group and run.done and run.name in histories}
        tasks = task_order(key[1] for key in keyed if key[0] == group)
        pairs: dict[int, list[tuple[History, History]]] = {}
        for seed in sorted({key[1] for key in mine}):
            places = [((task, seed, False), (task, seed, True)) for task in tasks]
            if all(a in mine and b in mine for a, b in places):
                pairs[seed] = [(histories[mine[a].name], histories[mine[b].name]) for a, b in places]
        if pairs:
            groups.append(Group(group.batch_size, tasks, pairs))
    if not groups:
        raise InputError(f"{source}: expected a seed with all tasks of a loss and its LAMP form, found none")
    return groups


def against_updates(group: Group) -> Curve:
    """The gain at each number of updates at which all runs were evaluated, and at the end of each.

    Tasks have unequal numbers of images, so that their runs end after unequal updates: the mean of these is shown.
    """
    histories = [history for pairs in group.pairs.values() for pair in pairs for history in pair]
    common = sorted(set.intersection(*({at.updates for at in history} for history in histories)))
    ends = [history[-1].updates for history in histories]
    at = [*common, *[float(np.mean(ends))] * (max(ends) > max(common, default=0))]
    known = [[_by_updates(a, b, common)[: len(at)] for a, b in pairs] for pairs in group.pairs.values()]
    return Curve(np.array(at), np.array(known).mean(axis=1))


def _by_updates(base: History, lamp: History, updates: Sequence[float]) -> Floats:
    """Gains at each of `updates`, and at the end."""
    found = [{at.updates: at.auroc for at in history} for history in (base, lamp)]
    return np.array([*(found[1][at] - found[0][at] for at in updates), lamp[-1].auroc - base[-1].auroc])


def levels(group: Group) -> Floats:
    """Levels of the training L2, evenly spaced in its logarithm, from what all runs begin above to what all reach."""
    histories = [history for pairs in group.pairs.values() for pair in pairs for history in pair]
    high = min(history[0].train_l2 for history in histories)
    low = max(min(at.train_l2 for at in history) for history in histories)
    if not 0 < low < high:
        return np.array([])
    first, last = (LEVELS_A_DECADE * math.log10(value) for value in (low, high))
    return 10 ** (np.arange(math.ceil(first), math.floor(last) + 1)[::-1] / LEVELS_A_DECADE)


def against_fit(group: Group, at: Floats) -> Curve:
    """The gain where the training L2 of either first falls to each level, interpolated; NaN where a task does not."""
    known = [[[_at_fit(*pair, level) for level in at] for pair in pairs] for pairs in group.pairs.values()]
    return Curve(at, np.array(known).reshape(len(group.pairs), len(group.tasks), len(at)).mean(axis=1))


def _at_fit(base: History, lamp: History, level: float) -> float:
    found = [first_crossing(history, level).at for history in (base, lamp)]
    return math.nan if found[0] is None or found[1] is None else found[1].auroc - found[0].auroc


def gain(group: Group, rule: str, level: float = math.nan) -> MeanInterval:
    """The gain by a rule: `end`, `last` (mean of the last evaluations), `validation`, `oracle` or `fit` at a level."""
    if rule == "fit":
        values = against_fit(group, np.array([level])).gains[:, 0]
    else:
        of_run = RULES[rule]
        values = np.array([np.mean([of_run(b) - of_run(a) for a, b in pairs]) for pairs in group.pairs.values()])
    return mean_interval(values[~np.isnan(values)].tolist())


def _auroc(at: Evaluation | None) -> float:
    return math.nan if at is None else at.auroc


RULES = {
    "end": lambda history: history[-1].auroc,
    "last": lambda history: float(np.mean([at.auroc for at in history[-LAST:]])),
    "validation": lambda history: _auroc(least_validation(history)),
    "oracle": lambda history: _auroc(best_auroc(history)),
}
RULE_TEXTS = {
    "end": "last epoch",
    "last": f"mean of the last {LAST} evaluations",
    "validation": "least L2 of held-out normal images",
    "oracle": "best test AUROC (tuning on the test set)",
}


def gains_table(groups: Sequence[Group], thresholds: Sequence[float]) -> Table:
    """A row a rule, a column a batch size: the gain with its interval over seeds."""
    rows = [["gain of LAMP, batch size", *(str(group.batch_size) for group in groups)]]
    rows.append(["seeds", *(str(len(group.pairs)) for group in groups)])
    rows.append(["updates at the end", *(f"{next(iter(g.pairs.values()))[0][0][-1].updates:.0f}" for g in groups)])
    for name, lamp in (("training L2 at the end, base", 0), ("training L2 at the end, LAMP", 1)):
        rows.append([name, *(f"{mean_at_end(group, lamp, 'train_l2'):.2f}" for group in groups)])
    for name, lamp in (("AUROC at the end, base", 0), ("AUROC at the end, LAMP", 1)):
        rows.append([name, *(f"{mean_at_end(group, lamp, 'auroc'):.4f}" for group in groups)])
    rows += [[text, *(interval_text(gain(group, rule)) for group in groups)] for rule, text in RULE_TEXTS.items()]
    for level in thresholds:
        row = [interval_text(gain(group, "fit", level)) for group in groups]
        rows.append([f"equal fit, training L2 {level:g}", *row])
    tasks = groups[0].tasks
    title = f"Gain of LAMP: mean over {len(tasks)} tasks ({', '.join(tasks)}) with its 95% interval over seeds"
    return Table(title, rows, list(NOTES))


NOTES = (
    "Intervals: Student's over training seeds of the mean over tasks; with two seeds there is one degree of freedom.",
    "Equal fit: where the common training L2 first falls to the level, interpolated; a dash where a task never does.",
)


def mean_at_end(group: Group, lamp: int, field: str) -> float:
    return float(np.mean([getattr(pair[lamp][-1], field) for pairs in group.pairs.values() for pair in pairs]))


def interval_text(found: MeanInterval) -> str:
    if not found.count:
        return ABSENT
    if found.count == 1:
        return f"{found.mean:+.4f}"
    return f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"

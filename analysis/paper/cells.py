"""The cells of a comparison: each task, group, loss and seed with the evaluation that a protocol and a match choose."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.rows.matching import MATCHINGS, PROTOCOL_TEXTS, PROTOCOLS, common_updates, first_crossing
from analysis.rows.results import (
    LAMP_FIELDS,
    Evaluation,
    Group,
    Key,
    Run,
    by_key,
    check_one_reading,
    describe_reading,
    differing,
    task_order,
)
from analysis.statistics.paired import Outcome, WinsTiesLosses, signed_rank, wins_ties_losses
from training.runtime.command import InputError

Floats = NDArray[np.float64]
Histories = Mapping[str, Sequence[Evaluation]]
CENSORED = "censored: threshold not reached"


@dataclass(frozen=True)
class Rule:
    """How the evaluation of each run is chosen.

    `target`: epochs (0 or NaN: as trained), updates (0: the most that all runs have), or the threshold.
    """

    protocol: str = "last"
    matching: str = "epochs"
    target: float = math.nan

    @property
    def is_last(self) -> bool:
        """Whether it is each run's last evaluation, which needs no history."""
        return self.protocol == "last" and self.matching == "epochs" and not self.target > 0


@dataclass(frozen=True)
class Cells:
    """The runs of a table by their place, the evaluation chosen of each done run, and why one is missing."""

    rule: Rule
    runs: dict[Key, Run]
    chosen: dict[Key, Evaluation]
    why: dict[Key, str]
    groups: list[Group]
    tasks: list[str]
    reading: tuple[str, ...]

    def seeds(self, group: Group) -> list[int]:
        return sorted({key[2] for key in self.runs if key[0] == group})

    def matrix(self, group: Group, lamp: bool, field: str = "auroc") -> Floats:
        """A field of the evaluations, (tasks, seeds), NaN where a run is missing."""
        found = [
            [
                getattr(self.chosen[key], field) if (key := (group, task, seed, lamp)) in self.chosen else math.nan
                for seed in self.seeds(group)
            ]
            for task in self.tasks
        ]
        return np.array(found, np.float64).reshape(len(self.tasks), -1)

    def pair_differences(self, group: Group, field: str = "auroc") -> Floats:
        """LAMP - base of runs with the same task and seed, (tasks, seeds); NaN unless both are there."""
        return self.matrix(group, True, field) - self.matrix(group, False, field)

    def gains(self, group: Group) -> Floats:
        """The mean over seeds of the paired differences, (tasks,); NaN for a task without a pair."""
        return mean_over(self.pair_differences(group), axis=1)

    def wins(self, group: Group, tolerance: float) -> WinsTiesLosses:
        return wins_ties_losses(self.gains(group), tolerance)

    def wilcoxon(self, group: Group) -> Outcome:
        return signed_rank(self.gains(group))

    def missing(self, group: Group) -> tuple[int, int]:
        """How many of the group's expected runs have no value, and how many are expected."""
        expected = [
            (group, task, seed, lamp) for task in self.tasks for seed in self.seeds(group) for lamp in (False, True)
        ]
        return sum(key not in self.chosen for key in expected), len(expected)

    def censored(self, group: Group, lamp: bool) -> int:
        """How many of the group's runs with that loss never reached the threshold of a matched fit."""
        return sum(key[0] == group and key[3] == lamp and reason == CENSORED for key, reason in self.why.items())


def mean_over(values: Floats, axis: int) -> Floats:
    """The mean of what is there; NaN, without a warning, where nothing is."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(axis=axis) / there.sum(axis=axis)


def make_cells(runs: Sequence[Run], histories: Histories | None, rule: Rule, source: Path) -> Cells:
    """Choose each run's evaluation. InputError without a history where the rule needs one, or with ambiguous runs."""
    rule = complete_rule(runs, histories, rule)
    keyed = by_key(runs, source)
    chosen: dict[Key, Evaluation] = {}
    why: dict[Key, str] = {}
    for key, run in keyed.items():
        found = choose(run, histories, rule)
        if isinstance(found, Evaluation):
            chosen[key] = found
        else:
            why[key] = found
    groups = sorted({run.group for run in runs}, key=lambda group: (-group.batch_size, group.base, group.optimizer))
    tasks = task_order(run.task for run in runs)
    return Cells(rule, keyed, chosen, why, groups, tasks, check_one_reading(runs, source))


def complete_rule(runs: Sequence[Run], histories: Histories | None, rule: Rule) -> Rule:
    """The rule with the most updates that all done runs have in place of 0; InputError if it lacks something."""
    check_rule(rule, histories)
    if rule.matching == "updates" and not rule.target > 0 and histories is not None:
        most = common_updates(histories[run.name] for run in runs if run.done and run.name in histories)
        return dataclasses.replace(rule, target=most)
    return rule


def check_rule(rule: Rule, histories: Histories | None) -> None:
    """Raise InputError for a rule that lacks its history or its threshold."""
    if not rule.is_last and histories is None:
        raise InputError(
            f"--history: expected a sweep's history.csv for --protocol {rule.protocol} --matching {rule.matching}, "
            "found none; name it"
        )
    if rule.matching == "fit" and not rule.target > 0:
        raise InputError("--threshold: expected a common training L2 above 0 for --matching fit, found none")


def choose(run: Run, histories: Histories | None, rule: Rule) -> Evaluation | str:
    """The evaluation of a run that the rule chooses, or in words why there is none."""
    if run.trouble:
        return run.trouble
    if histories is None or rule.is_last:
        return run.last
    if run.name not in histories:
        return "without a history"
    if rule.matching == "fit" and first_crossing(histories[run.name], rule.target).censored:
        return CENSORED
    left = MATCHINGS[rule.matching](histories[run.name], rule.target)
    if not left:
        return "without an evaluation that early"
    found = PROTOCOLS[rule.protocol](left)
    if found is None:
        return "without held-out images" if rule.protocol == "validation" else "without AUROC"
    return found if math.isfinite(found.auroc) else "without AUROC"


def describe(cells: Cells) -> list[str]:
    """What every table says of its runs: protocol, match, epochs, seeds, reading of LAMP, and what is missing."""
    epochs = sorted({int(run.settings["epochs"]) for run in cells.runs.values()})
    seeds = sorted({run.seed for run in cells.runs.values()})
    datasets = sorted({run.settings["dataset"] for run in cells.runs.values()})
    notes = [
        describe_rule(cells.rule),
        f"Data: {', '.join(datasets)}. Epochs trained: {listed(epochs)}. Seeds: {listed(seeds)}. "
        f"LAMP: {describe_reading(cells.reading)}.",
    ]
    return [*notes, *filter(None, [unequal_note(cells)]), missing_note(cells)]


def describe_rule(rule: Rule) -> str:
    """Which evaluation of each run counts, in words."""
    matches = {
        "epochs": f"equal epochs, {rule.target:g}" if rule.target > 0 else "epochs as trained",
        "updates": f"equal updates, at or before {rule.target:g}",
        "fit": f"matched fit, AUROC where the common training L2 first falls to {rule.target:g}, interpolated",
    }
    return f"Protocol: {rule.protocol} ({PROTOCOL_TEXTS[rule.protocol]}). Matching: {matches[rule.matching]}."


def listed(values: Sequence[int]) -> str:
    """Whole numbers as a list, or as a range if they are consecutive.

    >>> listed([0, 1, 2]), listed([4, 30])
    ('0 to 2', '4, 30')
    """
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))


def unequal_settings(cells: Cells) -> dict[str, list[Group]]:
    """The settings other than the loss and LAMP's in which the runs of some pair differ, and in which columns."""
    found: dict[str, set[Group]] = {}
    for (group, task, seed, lamp), run in cells.runs.items():
        other = cells.runs.get((group, task, seed, not lamp))
        if other is not None:
            for name in set(differing(run, other)) - {"loss", *LAMP_FIELDS}:
                found.setdefault(name, set()).add(group)
    return {name: [group for group in cells.groups if group in found[name]] for name in sorted(found)}


def unequal_note(cells: Cells) -> str:
    """In which settings, and where, the runs of a pair differ beside the loss; empty if in none."""
    parts = []
    for name, groups in unequal_settings(cells).items():
        sizes = sorted({group.batch_size for group in groups}, reverse=True)
        everywhere = len(groups) == len(cells.groups) or len({group.batch_size for group in cells.groups}) == 1
        parts.append(name if everywhere else f"{name} (batch size {', '.join(map(str, sizes))})")
    return f"Runs of a pair differ in {', '.join(parts)} as well as in the loss." if parts else ""


def missing_note(cells: Cells) -> str:
    """How many runs are missing and why; those that nobody started have no reason."""
    counts = [cells.missing(group) for group in cells.groups]
    missing, expected = sum(count[0] for count in counts), sum(count[1] for count in counts)
    if not missing:
        return f"Missing runs: none of {expected}."
    reasons: dict[str, int] = {}
    for reason in cells.why.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    absent = missing - sum(reasons.values())
    parts = [f"{count} {reason}" for reason, count in reasons.items()] + ([f"{absent} not run"] if absent else [])
    return f"Missing runs: {missing} of {expected} ({'; '.join(parts)}); they count as missing, not as zero."

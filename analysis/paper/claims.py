"""Three claims of the paper, each with its test: convergence, gain against batch size, constant reconstructions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.paper.cells import Cells, Histories, describe, mean_over
from analysis.paper.table1 import ABSENT, number_text, outcome_text, p_text
from analysis.rows.formats import Rows, Table
from analysis.rows.matching import first_crossing, log_ratio_of_curves
from analysis.rows.results import Evaluation, Group
from analysis.statistics.paired import (
    mean_interval,
    mean_sd,
    page_trend,
    sign_test,
    signed_rank,
    slopes,
    wins_ties_losses,
)

Floats = NDArray[np.float64]
CONSTANT = 0.05  # share of the inputs' variance below which reconstructions count as constant

INTERVAL_NOTE = (
    "Seeds: Student's 95% interval over the seeds that all tasks have, of each seed's mean over tasks; none of one "
    "seed. Tasks: over tasks, of means over seeds; it and the tests take tasks as independent, though they share seeds."
)


@dataclass(frozen=True)
class Crossings:
    """First crossings of a group's pairs; signs (tasks,) > 0 where LAMP was first in more seeds, NaN if unknown."""

    signs: Floats
    ratios: list[float]
    pairs: int
    censored_base: int
    censored_lamp: int


def claims(cells: Cells, histories: Histories, threshold: float = math.nan) -> list[Table]:
    """One table a claim. Without a threshold (NaN) convergence is compared by the whole curves alone."""
    return [convergence(cells, histories, threshold), trend(cells), variance(cells)]


def convergence(cells: Cells, histories: Histories, threshold: float) -> Table:
    """Whether LAMP lowers the common L2 in fewer updates: whole curves, and first crossings with censoring."""
    header = ["batch size", "base", "optimizer", "mean ln ratio of L2 (95%)", "tasks faster/tied/slower", "Wilcoxon p"]
    crossing = threshold > 0
    if crossing:
        header += [
            "pairs",
            "censored base",
            "censored LAMP",
            "median ratio of updates",
            "tasks first/not",
            "sign test p",
        ]
    rows: Rows = [header]
    for group in cells.groups:
        ratios = curve_ratios(cells, histories, group)
        of_tasks = mean_over(ratios, axis=1)
        counts, result = wins_ties_losses(-of_tasks, 0), signed_rank(of_tasks)
        row = [*place(group), with_interval(ratios, "{:+.3f}"), str(counts), outcome_text(result)]
        rows.append([*row, *(crossing_texts(cells, histories, group, threshold) if crossing else [])])
    notes = [
        *describe(cells),
        INTERVAL_NOTE,
        "ln ratio: of the common training L2 (evaluation mode, over the training images), LAMP to base, averaged "
        "over the updates at which both were evaluated, over seeds, then over tasks; below 0 LAMP has converged "
        "further.",
    ]
    if crossing:
        notes.append(
            f"First crossing of {threshold:g}, to the grain of the evaluations; a run that never crosses is censored "
            f"at its last update. A pair is decided where one run crossed before the other had crossed or ended; the "
            f"ratio of updates, LAMP to base, is over pairs in which both crossed, so it leaves out the slowest. The "
            f"sign test is over tasks."
        )
    return Table("Claim 1: LAMP converges faster", rows, notes)


def with_interval(values: Floats, pattern: str) -> str:
    """The mean over tasks of values (tasks, seeds) with Student's 95% intervals over seeds and over tasks."""
    of_tasks, of_seeds = mean_over(values, axis=1), values.mean(axis=0)  # a seed that lacks a task is NaN
    over_tasks, over_seeds = (mean_interval(means[~np.isnan(means)].tolist()) for means in (of_tasks, of_seeds))
    parts = [
        f"{name} {pattern.format(found.low)} to {pattern.format(found.high)}"
        for name, found in (("seeds", over_seeds), ("tasks", over_tasks))
        if not math.isnan(found.low)
    ]
    mean = number_text(over_tasks.mean, pattern)
    return f"{mean} ({'; '.join(parts)})" if parts else mean


def place(group: Group) -> list[str]:
    return [str(group.batch_size), group.base, group.optimizer]


def curve_ratios(cells: Cells, histories: Histories, group: Group) -> Floats:
    """The ln ratio of the curves, (tasks, seeds); NaN without a pair."""
    found = np.full((len(cells.tasks), len(cells.seeds(group))), math.nan)
    for row, task in enumerate(cells.tasks):
        for column, seed in enumerate(cells.seeds(group)):
            both = histories_of_pair(cells, histories, group, task, seed)
            if both:
                found[row, column] = log_ratio_of_curves(*both)
    return found


def histories_of_pair(
    cells: Cells, histories: Histories, group: Group, task: str, seed: int
) -> list[Sequence[Evaluation]]:
    runs = [cells.runs.get((group, task, seed, lamp)) for lamp in (False, True)]
    done = [run for run in runs if run is not None and run.done and run.name in histories]
    return [histories[run.name] for run in done] if len(done) == 2 else []


def crossings(cells: Cells, histories: Histories, group: Group, threshold: float) -> Crossings:
    signs, ratios, pairs, censored = [], [], 0, [0, 0]
    for task in cells.tasks:
        of_task = []
        for seed in cells.seeds(group):
            both = histories_of_pair(cells, histories, group, task, seed)
            if not both:
                continue
            base, lamp = (first_crossing(history, threshold) for history in both)
            pairs += 1
            censored = [censored[0] + base.censored, censored[1] + lamp.censored]
            if not base.censored and not lamp.censored:
                ratios.append(lamp.updates / base.updates if base.updates else math.nan)
            of_task.append(first_of((base.updates, base.censored), (lamp.updates, lamp.censored)))
        signs.append(mean_sd(of_task)[0])
    return Crossings(np.array(signs), ratios, pairs, *censored)


def first_of(base: tuple[float, bool], lamp: tuple[float, bool]) -> float:
    """1 if LAMP crossed first, -1 if the base did, 0 if both at once, NaN if censoring leaves it open.

    >>> first_of((100, False), (50, False)), first_of((100, True), (50, False)), first_of((100, True), (150, False))
    (1.0, 1.0, nan)
    """
    if base[1] and lamp[1]:
        return math.nan
    if base[1]:
        return 1.0 if lamp[0] <= base[0] else math.nan
    if lamp[1]:
        return -1.0 if base[0] <= lamp[0] else math.nan
    return float(np.sign(base[0] - lamp[0]))


def crossing_texts(cells: Cells, histories: Histories, group: Group, threshold: float) -> list[str]:
    found = crossings(cells, histories, group, threshold)
    ratios = [ratio for ratio in found.ratios if ratio == ratio]
    median = f"{np.median(ratios):.2f} (n = {len(ratios)})" if ratios else ABSENT
    counts, result = wins_ties_losses(found.signs, 0), sign_test(found.signs)
    return [
        *(str(found.pairs), str(found.censored_base), str(found.censored_lamp), median),
        *(f"{counts.wins}/{counts.losses}", outcome_text(result)),
    ]


def trend(cells: Cells) -> Table:
    """Whether the gain in AUROC grows with the batch size: Page's trend test, for each base and optimizer."""
    header = [
        "base",
        "optimizer",
        "batch sizes",
        "mean gains",
        "Page's L",
        "p (one-sided)",
        "p of the opposite",
        "tasks",
        "gain a doubling (95%)",
    ]
    rows: Rows = [header]
    for base, optimizer in dict.fromkeys((group.base, group.optimizer) for group in cells.groups):
        groups = sorted(group for group in cells.groups if (group.base, group.optimizer) == (base, optimizer))
        gains = np.stack([cells.gains(group) for group in groups], axis=1)
        result, opposite = page_trend(gains), page_trend(gains[:, ::-1])
        means = " ".join(number_text(mean_sd(column)[0], "{:+.4f}") for column in gains.T)
        sizes = " ".join(str(group.batch_size) for group in groups)
        numbers = [number_text(result.statistic, "{:.1f}"), p_text(result.p), p_text(opposite.p)]
        slope = with_interval(seed_slopes(cells, groups, gains), "{:+.4f}")
        rows.append([base, optimizer, sizes, means, *numbers, f"{result.n} of {len(cells.tasks)}", slope])
    notes = [
        *describe(cells),
        INTERVAL_NOTE,
        "Page's L test (1963) over tasks, of gains (mean over seeds) ranked within each task from the smallest batch "
        "to the largest; tasks without a pair at some batch size are left out. "
        "With fewer than two tasks or three batch sizes there is no test. Gain a doubling: the least-squares slope of "
        "a task's gains over the binary logarithm of the batch size.",
    ]
    return Table("Claim 2: the gain is larger at larger batch", rows, notes)


def seed_slopes(cells: Cells, groups: Sequence[Group], gains: Floats) -> Floats:
    """The slope over the binary logarithm of the batch size, (tasks, seeds), of each seed that all batch sizes have; of
    the gains (tasks, groups), which are means over seeds, as one column where that are fewer than two."""
    at = np.log2([group.batch_size for group in groups])
    seeds = sorted(set.intersection(*(set(cells.seeds(group)) for group in groups)))
    if len(seeds) < 2 or any(len(cells.seeds(group)) > len(seeds) for group in groups):
        return slopes(gains, at)[:, None]
    of_groups = [cells.pair_differences(group) for group in groups]
    return np.stack([slopes(np.stack([d[:, i] for d in of_groups], axis=1), at) for i in range(len(seeds))], axis=1)


def variance(cells: Cells) -> Table:
    """Whether base models reconstruct constants: variance over images, relative to the inputs', of both losses."""
    header = ["batch size", "base", "optimizer", "variance: base", "variance: LAMP", "LAMP - base (95%)"]
    header += ["constant: base", "constant: LAMP", "tasks more/tied/less", "Wilcoxon p"]
    rows: Rows = [header]
    for group in cells.groups:
        base, lamp = (cells.matrix(group, which, "recon_variance") for which in (False, True))
        differences = mean_over(lamp - base, axis=1)
        result = signed_rank(differences)
        means = [number_text(mean_sd(values.ravel())[0], "{:.3f}") for values in (base, lamp)]
        shares = [f"{(values < CONSTANT).sum()} of {(values == values).sum()}" for values in (base, lamp)]
        means.append(with_interval(lamp - base, "{:+.3f}"))
        rows.append([*place(group), *means, *shares, str(wins_ties_losses(differences, 0)), outcome_text(result)])
    notes = [
        *describe(cells),
        INTERVAL_NOTE,
        "Variance of the reconstructions over the training images, mean over pixels, relative to that of the inputs: "
        f"0 where every image is reconstructed as the same. Constant: below {CONSTANT:g}. More: LAMP varies more "
        "than the base.",
    ]
    return Table("Claim 3: reconstructions of the base loss are constant", rows, notes)

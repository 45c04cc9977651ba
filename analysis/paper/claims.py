"""Three claims of the paper, each with its test: convergence, gain against batch size, constant reconstructions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.paper.cells import Cells, Histories, describe, mean_over
from analysis.paper.matching import first_crossing, log_ratio_of_curves
from analysis.paper.table1 import ABSENT, number_text, outcome_text, p_text
from analysis.rows.formats import Rows, Table
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

INTERVAL_NOTE = "95%: Student's interval over tasks; it and the tests take tasks as independent."


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
        counts, result = wins_ties_losses(-ratios, 0), signed_rank(ratios)
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
    """The mean over tasks with Student's 95% interval."""
    found = mean_interval([float(value) for value in values if not math.isnan(value)])
    mean = number_text(found.mean, pattern)
    return mean if math.isnan(found.low) else f"{mean} ({pattern.format(found.low)} to {pattern.format(found.high)})"


def place(group: Group) -> list[str]:
    return [str(group.batch_size), group.base, group.optimizer]


def curve_ratios(cells: Cells, histories: Histories, group: Group) -> Floats:
    """The mean over seeds of the ln ratio of the curves, (tasks,)."""
    found = np.full((len(cells.tasks), len(cells.seeds(group))), math.nan)
    for row, task in enumerate(cells.tasks):
        for column, seed in enumerate(cells.seeds(group)):
            both = histories_of_pair(cells, histories, group, task, seed)
            if both:
                found[row, column] = log_ratio_of_curves(*both)
    return mean_over(found, axis=1)


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
        slope = with_interval(slopes(gains, np.log2([group.batch_size for group in groups])), "{:+.4f}")
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
        means.append(with_interval(differences, "{:+.3f}"))
        rows.append([*place(group), *means, *shares, str(wins_ties_losses(differences, 0)), outcome_text(result)])
    notes = [
        *describe(cells),
        INTERVAL_NOTE,
        "Variance of the reconstructions over the training images, mean over pixels, relative to that of the inputs: "
        f"0 where every image is reconstructed as the same. Constant: below {CONSTANT:g}. More: LAMP varies more "
        "than the base.",
    ]
    return Table("Claim 3: reconstructions of the base loss are constant", rows, notes)

"""Table 1 of the paper: mean AUROC by batch size, L2 beside L2-LAMP, the paper's figures beside ours."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from analysis.paper.cells import Cells, describe, mean_over
from analysis.paper.printed import paper_table1
from analysis.paper.stored import Averages, StoredPair
from analysis.rows.formats import Rows, Table
from analysis.rows.results import Group
from analysis.statistics.paired import Outcome, mean_interval, mean_sd

ABSENT = "–"  # not part of the sweep, or cannot be
SIGNIFICANT = 0.05


def table1(
    cells: Cells, averages: Averages | None = None, pairs: Sequence[StoredPair] | None = None, tolerance: float = 0.0005
) -> Table:
    """Rows in the paper's order of batch sizes; `averages` and `pairs` are those of the last evaluation, or None.

    The cells have one group a batch size.
    """
    base = cells.groups[0].base.upper()
    paper = paper_table1() if base == "L2" else {}
    by_batch = {group.batch_size: group for group in cells.groups}
    batches = sorted({*paper, *by_batch}, reverse=True)

    def row(name: str, text: Callable[[Group], str]) -> list[str]:
        return [name, *(text(by_batch[batch]) if batch in by_batch else ABSENT for batch in batches)]

    def of_both(name: str, text: Callable[[Group, bool], str]) -> Rows:
        return [
            row(name.format(base), lambda group: text(group, False)),
            row(name.format(f"{base}-LAMP"), lambda group: text(group, True)),
        ]

    def interval(name: str, what: str) -> list[str]:
        return row(f"{name}: {IMAGES_AND_SEEDS}", lambda group: interval_text(averages or {}, group, what))

    rows: Rows = [["AUROC, batch size", *map(str, batches)]]
    for index, name in enumerate((base, f"{base}-LAMP", "gain") if paper else ()):
        rows.append([f"paper: {name}", *(paper_text(paper.get(batch), index) for batch in batches)])
    rows += of_both("ours: {}", lambda group, lamp: mean_text(cells, group, lamp))
    rows.append(row("ours: gain", lambda group: gain_text(cells, group)))
    rows += of_both("{}: sd over seeds", lambda group, lamp: sd_text(cells, group, lamp))
    rows.append(row("gain: sd over seeds", lambda group: sd_text(cells, group, None)))
    rows.append(row("gain: 95% interval over seeds", lambda group: over_seeds_text(cells, group)))
    if averages is not None:
        rows += [interval(base, "{}"), interval(f"{base}-LAMP", "{}-lamp"), interval("gain", "difference")]
    rows += of_both("{}: standard error within a test set", lambda group, lamp: stderr_text(cells, group, lamp))
    rows.append(row("tasks: wins/ties/losses", lambda group: wins_text(cells, group, tolerance)))
    rows.append(row("tasks: Wilcoxon p", lambda group: wilcoxon_text(cells, group)))
    if pairs is not None:
        rows.append(row("runs: better/worse by paired DeLong", lambda group: delong_text(pairs, group)))
    rows.append(row("epoch, mean", lambda group: used_text(cells, group, "epoch")))
    rows.append(row("updates, mean", lambda group: used_text(cells, group, "updates")))
    if cells.rule.matching == "fit":
        rows += of_both("{}: censored runs", lambda group, lamp: str(cells.censored(group, lamp)))
    rows.append(row("missing runs", lambda group: "{} of {}".format(*cells.missing(group))))
    title = f"Table 1: mean AUROC over {len(cells.tasks)} tasks ({', '.join(cells.tasks)}), {base} and {base}-LAMP"
    return Table(
        title,
        rows,
        [
            *describe(cells),
            SPREAD_NOTE,
            SEEDS_NOTE,
            *interval_notes(averages, pairs),
            *notes_on_tests(tolerance),
            PAPER_NOTE,
        ],
    )


SPREAD_NOTE = (
    "sd over seeds: of the mean over tasks; standard error within a test set: DeLong's of one run, mean over runs. "
    "The two are kept apart."
)
IMAGES_AND_SEEDS = "95% interval, images and seeds"
SEEDS_NOTE = (
    "95% interval over seeds: Student's, of the mean over tasks of each seed that all tasks have: a seed gives all "
    "tasks the same initial weights, so that seeds are the replicates. It speaks of these tasks with other seeds; with "
    "two seeds it has one degree of freedom and is honestly wide, with one there is none."
)
PAPER_NOTE = "Paper: Park et al. (ICASSP 2024), Table 1, as printed, over ten digits; without seeds or intervals."


def paper_text(cell: tuple[float, float] | None, index: int) -> str:
    if cell is None:
        return ABSENT
    return f"{cell[1] - cell[0]:+.3f}" if index == 2 else f"{cell[index]:.3f}"


def number_text(value: float, pattern: str = "{:.4f}") -> str:
    return ABSENT if math.isnan(value) else pattern.format(value)


def mean_text(cells: Cells, group: Group, lamp: bool) -> str:
    """The mean over tasks of means over seeds; over fewer tasks it is another quantity, so it shows as missing."""
    of_tasks = mean_over(cells.matrix(group, lamp), axis=1)
    there = int((of_tasks == of_tasks).sum())
    if there < len(of_tasks):
        return f"missing ({there} of {len(of_tasks)} tasks)"
    return f"{of_tasks.mean():.4f}"


def gain_text(cells: Cells, group: Group) -> str:
    """The mean over tasks of the paired gain, over the tasks that have a pair."""
    gains = cells.gains(group)
    there = gains[gains == gains]
    if len(there) == 0:
        return "missing"
    return f"{there.mean():+.4f}" + ("" if len(there) == len(gains) else f" ({len(there)} of {len(gains)} tasks)")


def sd_text(cells: Cells, group: Group, lamp: bool | None) -> str:
    """The standard deviation over seeds of the mean over tasks (of the gain if `lamp` is None), over complete seeds."""
    values = cells.pair_differences(group) if lamp is None else cells.matrix(group, lamp)
    of_seeds = values.mean(axis=0)  # NaN for a seed that lacks a task
    n = int((of_seeds == of_seeds).sum())
    return number_text(mean_sd(of_seeds)[1], f"{{:.4f}} ({n} seeds)")


def over_seeds_text(cells: Cells, group: Group) -> str:
    """Student's 95% interval over seeds of the mean over tasks of the gain, over complete seeds."""
    of_seeds = cells.pair_differences(group).mean(axis=0)
    found = mean_interval(of_seeds[~np.isnan(of_seeds)].tolist())
    return ABSENT if math.isnan(found.low) else f"{found.low:+.4f} to {found.high:+.4f}"


def interval_text(averages: Averages, group: Group, what: str) -> str:
    found = averages.get((group, what.format(group.base)))
    if found is None or math.isnan(found.mean):
        return "missing"
    pattern = "{:+.4f} to {:+.4f}" if what == "difference" else "{:.4f} to {:.4f}"
    return pattern.format(found.low, found.high)


def stderr_text(cells: Cells, group: Group, lamp: bool) -> str:
    return number_text(mean_sd(cells.matrix(group, lamp, "auroc_stderr").ravel())[0])


def wins_text(cells: Cells, group: Group, tolerance: float) -> str:
    counts = cells.wins(group, tolerance)
    return str(counts) if counts.wins + counts.ties + counts.losses else "missing"


def wilcoxon_text(cells: Cells, group: Group) -> str:
    if wins_text(cells, group, 0) == "missing":
        return "missing"
    return outcome_text(cells.wilcoxon(group))


def outcome_text(result: Outcome) -> str:
    # One pair has no test: its p is 1 whatever the difference.
    return f"{p_text(result.p) if result.n > 1 else ABSENT} (n = {result.n})"


def p_text(p: float) -> str:
    return ABSENT if math.isnan(p) else f"{p:.1e}" if p < 0.0001 else f"{p:.4f}"


def delong_text(pairs: Sequence[StoredPair], group: Group) -> str:
    of_group = [pair for pair in pairs if pair.group == group]
    clear = [pair.difference for pair in of_group if pair.p < SIGNIFICANT]
    better = sum(difference > 0 for difference in clear)
    return f"{better}/{len(clear) - better} of {len(of_group)}" if of_group else "missing"


def used_text(cells: Cells, group: Group, field: str) -> str:
    both = [*cells.matrix(group, False, field).ravel(), *cells.matrix(group, True, field).ravel()]
    return number_text(mean_sd(both)[0], "{:.4g}" if field == "epoch" else "{:.0f}")


def interval_notes(averages: Averages | None, pairs: Sequence[StoredPair] | None) -> list[str]:
    """How the intervals are made, or why there are none."""
    notes = []
    if averages is None:
        notes.append(
            "No interval of the means: there is one for the last evaluation alone, with what analysis.pairs wrote."
        )
    else:
        resamples = max((average.resamples for average in averages.values()), default=0)
        notes.append(
            f"{IMAGES_AND_SEEDS}: percentiles of {resamples} resamples of the test images (within each digit or class, "
            f"the same for all tasks that share them and for both losses) and of the seeds (one fewer than there are; "
            f"within each task or for all tasks at once, whichever gives the wider interval) together. Where there is "
            f"one seed only, the interval is of the images alone; with two or three it is too narrow if seeds share an "
            f"effect, which the interval over seeds is not."
        )
        partial = sorted({average.status for average in averages.values() if average.status != "done"})
        notes += [f"Intervals: {status}." for status in partial]
    if pairs is not None:
        notes.append(
            f"Paired DeLong: runs in which LAMP is better/worse with p < {SIGNIFICANT}, of all pairs; not "
            "corrected for their number."
        )
    return notes


def notes_on_tests(tolerance: float) -> list[str]:
    return [
        f"Wins/ties/losses of LAMP by the tasks' mean gains, a tie below {tolerance:g}. Wilcoxon: exact signed ranks "
        f"over tasks, two-sided, zero gains left out; it takes tasks as independent, though digits share their test "
        f"images."
    ]


def task_table(cells: Cells) -> Table:
    """The tasks behind a table: of each, mean and sd over seeds, and apart from it each run's interval."""
    place = ["task", "batch size", "loss", "optimizer", "seeds"]
    rows: Rows = [[*place, "mean AUROC", "sd over seeds", "95% within the test set, by seed"]]
    for group in cells.groups:
        for index, task in enumerate(cells.tasks):
            for name, lamp in ((group.base, False), (f"{group.base}-lamp", True)):
                values, low, high = (
                    cells.matrix(group, lamp, field)[index] for field in ("auroc", "auroc_low", "auroc_high")
                )
                mean, sd = mean_sd(values)
                count = f"{(values == values).sum()} of {len(values)}"
                intervals = [f"{a:.4f} to {b:.4f}" for a, b in zip(low, high, strict=True) if a == a and b == b]
                where = [task, str(group.batch_size), name, group.optimizer, count]
                shown = f"{mean:.4f}" if mean == mean else "missing"
                rows.append([*where, shown, number_text(sd), "; ".join(intervals) or ABSENT])
    note = "Within a test set: DeLong's interval on the logit scale, the score interval at AUROC 0 or 1."
    return Table("AUROC by task", rows, [*describe(cells), note])

"""Runs that differ in the training seed alone: what of a difference between losses is more than the seed's luck."""

import math
from collections.abc import Mapping, Sequence

from analysis.rows.formats import Rows, Table
from analysis.rows.results import LAMP_FIELDS, Evaluation, Run
from analysis.statistics.paired import MeanInterval, mean_interval, mean_sd
from training.runtime.command import InputError

Histories = Mapping[str, Sequence[Evaluation]]
LEAST_SEEDS = 2  # below, there is no spread


def seeds_table(runs: Sequence[Run], histories: Histories | None, last: int) -> Table:
    """A row a setting and loss: mean AUROC with its standard deviation over seeds, and the range.

    With `histories` also that of each run's mean over its `last` evaluations: one evaluation of a run is a draw, since
    its AUROC goes up and down between epochs. Below: the difference between a loss and its LAMP form, paired by seed,
    with Student's 95% interval over seeds.
    """
    groups = grouped([run for run in runs if run.done])
    if not groups:
        raise InputError("results: expected runs with an AUROC, found none; see their errors in results.csv")
    averaged = last > 1 and any(len((histories or {}).get(run.name, ())) >= last for group in groups for run in group)
    header = ["normal", "batch size", "loss", "seeds", "AUROC", "lowest to highest", "train L2"]
    if averaged:
        header.insert(6, f"AUROC, mean of the last {last}")
    rows: Rows = [header]
    for group in groups:
        row = [group[0].task, group[0].settings["batch_size"], group[0].settings["loss"], str(len(group))]
        aurocs = [run.last.auroc for run in group]
        row += [mean_text(aurocs, "{:.4f}"), f"{min(aurocs):.4f} to {max(aurocs):.4f}"]
        if averaged:
            row.append(mean_text([averaged_auroc(run, histories or {}, last) for run in group], "{:.4f}"))
        row.append(mean_text([run.last.train_l2 for run in group], "{:.2f}"))
        rows.append(row)
    notes = ["mean ± standard deviation over training seeds, of the last evaluation of each run"]
    return Table(
        "AUROC over training seeds", rows, [*notes, *differences(groups, histories if averaged else None, last)]
    )


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs that differ in the seed alone, together; in their order."""
    found: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        found.setdefault(settings_without(run, "seed"), []).append(run)
    return list(found.values())


def settings_without(run: Run, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in run.settings.items() if name not in names)


def averaged_auroc(run: Run, histories: Histories, last: int) -> float:
    """Mean AUROC of the last evaluations of a run; NaN where its history has fewer."""
    aurocs = [at.auroc for at in histories.get(run.name, ())][-last:]
    return sum(aurocs) / last if len(aurocs) == last else math.nan


def differences(groups: Sequence[Sequence[Run]], histories: Histories | None, last: int) -> list[str]:
    """A line for each LAMP group whose base is there too: LAMP - base, paired by seed."""
    free = ("seed", "loss", *LAMP_FIELDS)
    bases = {(settings_without(group[0], *free), group[0].group.base): group for group in groups if not group[0].lamp}
    lines = []
    for group in groups:
        base = bases.get((settings_without(group[0], *free), group[0].group.base))
        if not group[0].lamp or base is None:
            continue
        of_seed = {run.seed: run for run in base}
        pairs = [(of_seed[run.seed], run) for run in group if run.seed in of_seed]
        what = f"{group[0].settings['loss']} less {base[0].settings['loss']}"
        line = difference_text([lamp.last.auroc - plain.last.auroc for plain, lamp in pairs])
        if histories:
            means = [averaged_auroc(b, histories, last) - averaged_auroc(a, histories, last) for a, b in pairs]
            line += f"; of the last {last} evaluations {difference_text(means)}"
        lines.append(f"{what}, normal {group[0].task}, batch size {group[0].settings['batch_size']}: {line}")
    return lines


def mean_text(values: Sequence[float], pattern: str) -> str:
    """`mean ± standard deviation`, the mean alone of one value."""
    mean, spread = mean_sd(values)
    texts = [pattern.format(number) for number in (mean, spread) if not math.isnan(number)]
    return " ± ".join(texts)


def difference_text(values: Sequence[float]) -> str:
    """The mean with its interval, and what the interval says."""
    found: MeanInterval = mean_interval([value for value in values if not math.isnan(value)])
    if found.count < LEAST_SEEDS:
        return f"{found.mean:+.4f}, one seed: nothing can be said" if found.count else "no pairs"
    says = "0 lies within: no difference shown" if found.low <= 0 <= found.high else "0 lies outside"
    return f"{found.mean:+.4f} (95% interval {found.low:+.4f} to {found.high:+.4f} over {found.count} seeds; {says})"

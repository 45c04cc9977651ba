"""How measures of sharpness go with AUROC over checkpoints: coefficients, intervals, tests, as rows of a long table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.relation.measured import Checkpoints
from analysis.relation.strata import WITHIN, WITHIN_LOSS, Forms, covariates, forms, listed, loss_codes
from analysis.rows.results import number, read_table
from analysis.statistics.clusters import Draws, can_draw, draw_clusters, percentile_interval
from analysis.statistics.correlations import COEFFICIENTS, granulated_kendall
from analysis.statistics.permutation import permutation_tests
from training.runtime.command import InputError

Floats = NDArray[np.float64]
LEAST = 4  # checkpoints: with three, a coefficient of 1 is the rule
OF_AUROC = ("auroc_radius",)  # made of AUROC itself, so that a relation is no finding
NO_HYPERPARAMETER = ("seed",)
GRANULATED = "granulated:"
COLUMNS = ("measure", "statistic", "value", "low", "high", "p", "p_corrected", "n")


@dataclass(frozen=True)
class Relation:
    """A statistic of a measure with AUROC, over n checkpoints; NaN is what there is not, `why` then says why."""

    measure: str
    statistic: str
    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_corrected: float = math.nan
    n: int = 0
    why: str = ""


def relations(
    checkpoints: Checkpoints, free: Sequence[str] = (), resamples: int = 2000, permutations: int = 9999, seed: int = 0
) -> list[Relation]:
    """Every statistic of every measure; the same seed gives the same numbers. `free`: as in :func:`hyperparameters`.

    Raises InputError if no relation can be found in these checkpoints at all.
    """
    check_enough(checkpoints)
    tasks, seeds = checkpoints.task_codes(), checkpoints.seed_codes()
    draws = draw_clusters(tasks, seeds, resamples, np.random.default_rng(seed)) if can_draw(tasks, seeds) else None
    parts = forms(checkpoints, draws)
    tests = p_values(checkpoints, permutations, np.random.default_rng(seed + 1))
    varying = hyperparameters(checkpoints, free)
    rows: list[Relation] = []
    for name in checkpoints.measures:
        why = reason(checkpoints.values[name])
        if why:
            n = int((~np.isnan(checkpoints.values[name])).sum())
            rows += [
                Relation(name, statistic, math.nan, n=n, why=why)
                for statistic in statistics(varying, WITHIN_LOSS in parts)
            ]
        else:
            rows += coefficients(checkpoints, name, parts, tests.get(name, (math.nan, math.nan)))
            rows += granulated(checkpoints, name, varying, free, draws)
    return rows


def p_values(
    checkpoints: Checkpoints, permutations: int, generator: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """By measure p, and p corrected for their number, of Spearman's coefficient within digit, or within digit and loss
    where the loss varies; without measures that are made of AUROC."""
    usable = [
        name
        for name in checkpoints.measures
        if name.partition("@")[0] not in OF_AUROC and not reason(checkpoints.values[name])
    ]
    if not usable:
        return {}
    columns = [checkpoints.values[name] for name in usable]
    losses = loss_codes(checkpoints)
    strata = checkpoints.task_codes() * (losses.max() + 1) + losses
    found = permutation_tests(columns, checkpoints.values["auroc"], strata, permutations, generator)
    return {name: (float(found.p[i]), float(found.p_corrected[i])) for i, name in enumerate(usable)}


def statistics(varying: Sequence[str], within_loss: bool = False) -> list[str]:
    """The names of all statistics, in the order of the long table."""
    names = [name + form for form in ("", WITHIN) for name in COEFFICIENTS]
    names += ["spearman" + WITHIN_LOSS] * within_loss
    return [*names, *(GRANULATED + name for name in (*varying, "mean"))]


def check_enough(checkpoints: Checkpoints) -> None:
    auroc = checkpoints.values["auroc"]
    if len(auroc) < LEAST:
        raise InputError(f"expected at least {LEAST} checkpoints with an AUROC, found {len(auroc)}; measure more")
    if np.ptp(auroc) == 0:
        raise InputError(f"expected AUROCs that differ, found {auroc[0]:g} for all {len(auroc)} checkpoints")


def reason(values: Floats) -> str:
    """Why nothing can be said of a measure with these values, "" if something can."""
    there = values[~np.isnan(values)]
    if len(there) < LEAST:
        return f"fewer than {LEAST} checkpoints have it"
    return "it is the same for all checkpoints" if (there == there[0]).all() else ""


def coefficients(checkpoints: Checkpoints, name: str, parts: Forms, p: tuple[float, float]) -> list[Relation]:
    """Each coefficient with its interval over all checkpoints, as the mean over digits of that within a digit, and
    Spearman's as the mean over digits and losses, if the loss varies; p is the last one's."""
    x, y = checkpoints.values[name], checkpoints.values["auroc"]
    given = covariates(checkpoints)
    columns = [column for of_name in given.values() for column in of_name]
    there = ~np.isnan(x)
    tested = "spearman" + (WITHIN_LOSS if WITHIN_LOSS in parts else WITHIN)
    found = []
    for form, (itself, draws) in parts.items():
        for statistic, coefficient in COEFFICIENTS.items():
            if form == WITHIN_LOSS and statistic != "spearman":
                continue
            have, least = there, 2
            if statistic == "partial":  # which leaves residuals fewer degrees of freedom than there are rows
                have, least = there & ~np.isnan(columns[0]), len(columns) + 3

            def of(rows: NDArray[np.int64], weights: Floats) -> Floats:
                return coefficient(x[rows], y[rows], [z[rows] for z in columns], weights)  # noqa: B023

            value, n = float(itself.mean_within(of, have, least)[0]), int(have.sum())
            interval = (math.nan, math.nan)
            if draws and not math.isnan(value):
                interval = percentile_interval(draws.mean_within(of, have, least))
            ps = p if statistic + form == tested else (math.nan, math.nan)
            why = undefined(statistic, form, n, listed(list(given))) if math.isnan(value) else ""
            found.append(Relation(name, statistic + form, value, *interval, *ps, n, why))
    return found


def undefined(statistic: str, form: str, n: int, given: str) -> str:
    """Why a coefficient of n checkpoints is not defined."""
    where = {"": "", WITHIN: " within any digit", WITHIN_LOSS: " within any digit and loss"}[form]
    if n < LEAST:
        return f"fewer than {LEAST} checkpoints have it and what it needs"
    if statistic == "partial":
        return f"{given} leave nothing of it, or of AUROC,{where or ' over all checkpoints'}, or there are too few rows"
    return f"it or AUROC does not vary{where}"


def hyperparameters(checkpoints: Checkpoints, free: Sequence[str] = ()) -> list[str]:
    """The settings along which there are checkpoints that differ in it alone, besides those named as `free`."""
    for name in free:
        if name not in checkpoints.runs[0].settings:
            raise InputError(f"--free {name}: expected a setting, a column of results before status, found no such one")
    return [name for name in checkpoints.varying() if name not in free]


def keys_without(checkpoints: Checkpoints, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Of each checkpoint all settings but those named; the task's are always there."""
    return [tuple(value for name, value in run.settings.items() if name not in names) for run in checkpoints.runs]


def granulated(
    checkpoints: Checkpoints, name: str, varying: Sequence[str], free: Sequence[str], draws: Draws | None
) -> list[Relation]:
    """ψ of each setting, and its mean Ψ over hyperparameters, with intervals over digits (drawing seeds would undo the
    pairs). The training seed is no hyperparameter (Jiang et al. have none): its ψ says how much is chance, and takes no
    part in Ψ."""
    keep = np.flatnonzero(~np.isnan(checkpoints.values[name]))
    kept = checkpoints.taken(keep)
    tasks = kept.task_codes()
    drawn = digit_counts(draws, len(kept.tasks), checkpoints, kept)
    rows, means, samples = [], [], []
    for setting in varying:
        taus, first = granulated_kendall(kept.values[name], kept.values["auroc"], keys_without(kept, [setting, *free]))
        if not len(taus):
            why = f"no two checkpoints with it differ in {setting} alone"
            rows.append(Relation(name, GRANULATED + setting, math.nan, why=why))
            continue
        of_task = tasks[first]
        sums = np.bincount(of_task, taus, len(kept.tasks)), np.bincount(of_task, minlength=len(kept.tasks))
        mean, interval = float(taus.mean()), (math.nan, math.nan)
        counted = setting not in NO_HYPERPARAMETER
        means += [mean] * counted
        if drawn is not None:
            times = drawn @ sums[1]
            resampled = np.divide(drawn @ sums[0], times, out=np.full(len(drawn), np.nan), where=times > 0)
            samples += [resampled] * counted
            interval = percentile_interval(resampled)
        rows.append(Relation(name, GRANULATED + setting, mean, *interval, n=len(taus)))
    mean = float(np.mean(means)) if means else math.nan
    interval = percentile_interval(np.mean(samples, axis=0)) if samples else (math.nan, math.nan)
    why = (
        ""
        if means
        else "no two checkpoints differ in one hyperparameter alone; name those that go together with --free"
    )
    return [*rows, Relation(name, GRANULATED + "mean", mean, *interval, n=len(keep), why=why)]


def digit_counts(draws: Draws | None, count: int, checkpoints: Checkpoints, kept: Checkpoints) -> Floats | None:
    """How often each digit of `kept` was drawn in each resample (R, digits); None without several digits."""
    if draws is None or count < 2:
        return None
    of_task = dict(zip(checkpoints.tasks, draws.resample, strict=True))
    return np.stack([np.bincount(of_task[task], minlength=draws.count) for task in kept.tasks], axis=1).astype(float)


def read_relations(path: Path) -> list[Relation]:
    """The rows of a long table; InputError if the file is none."""
    header, rows = read_table(path, COLUMNS, "what analysis.relate writes with --out x.csv")
    found = []
    for line, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        value, low, high, p, p_corrected, n = (number(path, line, name, values[name]) for name in COLUMNS[2:])
        if math.isnan(n):
            raise InputError(f"{path}, line {line}: expected a number of checkpoints as n, found none; re-make it")
        found.append(Relation(values["measure"], values["statistic"], value, low, high, p, p_corrected, int(n)))
    return found

"""How measures of sharpness go with AUROC over checkpoints: coefficients, intervals, tests, as rows of a long table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.clusters import Draws, can_draw, draw_clusters, percentile_interval
from analysis.correlations import COEFFICIENTS, granulated_kendall
from analysis.measured import Checkpoints
from analysis.permutation import permutation_tests
from analysis.results import number, read_table
from training.command import InputError

Floats = NDArray[np.float64]
LEAST = 4  # checkpoints: with three, a coefficient of 1 is the rule
WITHIN = "_within"
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
    pooled = draws.pooled() if draws else None
    usable = [name for name in checkpoints.measures if not reason(checkpoints.values[name])]
    tests = {}
    if usable:
        found = permutation_tests(
            [checkpoints.values[name] for name in usable],
            checkpoints.values["auroc"],
            tasks,
            permutations,
            np.random.default_rng(seed + 1),
        )
        tests = {name: (float(found.p[i]), float(found.p_corrected[i])) for i, name in enumerate(usable)}
    varying = hyperparameters(checkpoints, free)
    rows: list[Relation] = []
    for name in checkpoints.measures:
        why = reason(checkpoints.values[name])
        if why:
            n = int((~np.isnan(checkpoints.values[name])).sum())
            rows += [Relation(name, statistic, math.nan, n=n, why=why) for statistic in statistics(varying)]
        else:
            rows += coefficients(checkpoints, name, draws, pooled, tests[name])
            rows += granulated(checkpoints, name, varying, free, draws)
    return rows


def statistics(varying: Sequence[str]) -> list[str]:
    """The names of all statistics, in the order of the long table."""
    names = [name + form for form in ("", WITHIN) for name in COEFFICIENTS]
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


def coefficients(
    checkpoints: Checkpoints,
    name: str,
    draws: Draws | None,
    pooled: Floats | None,
    p: tuple[float, float],
) -> list[Relation]:
    """Each coefficient over all checkpoints, and as the mean over digits of that within a digit, with intervals."""
    x, y = checkpoints.values[name], checkpoints.values["auroc"]
    keep = ~np.isnan(x)
    covariates = [checkpoints.values["train_l2"], np.array([run.group.batch_size for run in checkpoints.runs], float)]
    once = np.ones(len(x))
    itself = identity_draws(checkpoints.task_codes())
    found = []
    for form in ("", WITHIN):
        for statistic, coefficient in COEFFICIENTS.items():
            have = keep & ~np.isnan(covariates[0]) if statistic == "partial" else keep

            def of(rows: NDArray[np.int64], weights: Floats) -> Floats:
                return coefficient(x[rows], y[rows], [z[rows] for z in covariates], weights)  # noqa: B023

            if form:
                value = itself.mean_within(of, have)[0]
                samples = draws.mean_within(of, have) if draws else None
            else:
                rows = np.flatnonzero(have)
                enough = len(rows) > 1
                value = of(rows, once[None, rows])[0] if enough else math.nan
                samples = of(rows, pooled[:, rows]) if pooled is not None and enough else None
            interval = (math.nan, math.nan)
            if samples is not None and not math.isnan(value):
                interval = percentile_interval(samples)
            tested = p if statistic + form == "spearman" + WITHIN else (math.nan, math.nan)
            why = "" if not math.isnan(value) else undefined(statistic, form, int(have.sum()))
            found.append(Relation(name, statistic + form, float(value), *interval, *tested, int(have.sum()), why))
    return found


def undefined(statistic: str, form: str, n: int) -> str:
    """Why a coefficient of n checkpoints is not defined."""
    where = " within any digit" if form else ""
    if n < LEAST:
        return f"fewer than {LEAST} checkpoints have it and what it needs"
    if statistic == "partial":
        return f"training loss and batch size leave nothing of it, or of AUROC,{where or ' over all checkpoints'}"
    return f"it or AUROC does not vary{where}"


def identity_draws(tasks: NDArray[np.int64]) -> Draws:
    """The one resample in which every row stands once."""
    rows = [np.flatnonzero(tasks == task) for task in np.unique(tasks)]
    return Draws(1, rows, [np.zeros(1, np.int64)] * len(rows), [np.ones((1, len(of_task))) for of_task in rows])


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
    """ψ of each hyperparameter and their mean Ψ, with intervals over digits (drawing seeds would undo the pairs)."""
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
        means.append(float(taus.mean()))
        interval = (math.nan, math.nan)
        if drawn is not None:
            number = drawn @ sums[1]
            samples.append(np.divide(drawn @ sums[0], number, out=np.full(len(drawn), np.nan), where=number > 0))
            interval = percentile_interval(samples[-1])
        rows.append(Relation(name, GRANULATED + setting, means[-1], *interval, n=len(taus)))
    mean = float(np.mean(means)) if means else math.nan
    interval = percentile_interval(np.mean(samples, axis=0)) if samples else (math.nan, math.nan)
    why = "" if means else "no two checkpoints differ in one setting alone; name those that go together with --free"
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

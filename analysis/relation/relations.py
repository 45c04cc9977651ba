"""How measures of sharpness go with AUROC over checkpoints: coefficients, intervals, tests, as rows of a long table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.measures.catalogue import sharper_sign
from analysis.relation.measured import TASK_SETTINGS, Checkpoints
from analysis.relation.strata import WITHIN, WITHIN_LOSS, Forms, covariates, forms, listed
from analysis.rows.results import number, read_table
from analysis.statistics.clusters import Draws, can_draw, draw_clusters, percentile_interval
from analysis.statistics.correlations import COEFFICIENTS, granulated_kendall
from analysis.statistics.jackknife import jackknife_interval
from analysis.statistics.paired import mean_interval
from analysis.statistics.permutation import crossed_tests
from training.runtime.command import InputError

Floats = NDArray[np.float64]
LEAST = 4  # checkpoints: with three, a coefficient of 1 is the rule
OF_AUROC = ("auroc_radius",)  # made of AUROC itself, so that a relation is no finding
NO_HYPERPARAMETER = ("seed",)
GRANULATED = "granulated:"
SEED_ALONE = "seed_alone"
COLUMNS = ("measure", "statistic", "value", "low", "high", "digits_low", "digits_high", "p", "p_corrected", "n")


@dataclass(frozen=True)
class Relation:
    """A statistic of a measure with AUROC, over n checkpoints; NaN is what there is not, `why` then says why.

    low, high: 95% over training seeds for these digits, by the jackknife; digits_low, digits_high: over digits, and
    over seeds as well where the bootstrap draws both.
    """

    measure: str
    statistic: str
    value: float
    low: float = math.nan
    high: float = math.nan
    digits_low: float = math.nan
    digits_high: float = math.nan
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
    tests = p_values(checkpoints, free, permutations, np.random.default_rng(seed + 1))
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
            rows += coefficients(checkpoints, name, parts)
            rows.append(seed_alone(checkpoints, name, free, tests.get(name, (math.nan, math.nan))))
            rows += granulated(checkpoints, name, varying, free, draws)
    return rows


def p_values(
    checkpoints: Checkpoints, free: Sequence[str], permutations: int, generator: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """By measure p, and p corrected for their number, of what it and AUROC have in common where the seed alone differs;
    without measures that are made of AUROC. Empty without two digits and two seeds."""
    usable = [
        name
        for name in checkpoints.measures
        if name.partition("@")[0] not in OF_AUROC and not reason(checkpoints.values[name])
    ]
    tasks, seeds = checkpoints.task_codes(), checkpoints.seed_codes()
    places = list(zip(tasks.tolist(), seeds.tolist(), keys_without(checkpoints, ["seed", *free]), strict=True))
    if not usable or len(set(places)) < len(places):  # settings that are free make several of a place
        return {}
    conditions = condition_codes(checkpoints, free)
    columns = [checkpoints.values[name] for name in usable]
    found = crossed_tests(columns, checkpoints.values["auroc"], tasks, seeds, conditions, permutations, generator)
    return {name: (float(found.p[i]), float(found.p_corrected[i])) for i, name in enumerate(usable)}


def condition_codes(checkpoints: Checkpoints, free: Sequence[str] = ()) -> NDArray[np.int64]:
    """Of each checkpoint a number for all its settings but digit, seed and those named as `free`."""
    numbers: dict[tuple[str, ...], int] = {}
    keys = keys_without(checkpoints, ["seed", *TASK_SETTINGS, *free])
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def statistics(varying: Sequence[str], within_loss: bool = False) -> list[str]:
    """The names of all statistics, in the order of the long table."""
    names = [name + form for form in ("", WITHIN) for name in COEFFICIENTS]
    names += ["spearman" + WITHIN_LOSS] * within_loss + [SEED_ALONE]
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


def coefficients(checkpoints: Checkpoints, name: str, parts: Forms) -> list[Relation]:
    """Each coefficient with its intervals over all checkpoints, as the mean over digits of that within a digit, and
    Spearman's as the mean over digits and losses, if the loss varies."""
    x, y = checkpoints.values[name], checkpoints.values["auroc"]
    given = covariates(checkpoints)
    columns = [column for of_name in given.values() for column in of_name]
    there = ~np.isnan(x)
    found = []
    for form, (itself, draws, without) in parts.items():
        for statistic, coefficient in COEFFICIENTS.items():
            if form == WITHIN_LOSS and statistic != "spearman":
                continue
            have, least = there, 2
            if statistic == "partial":  # which leaves residuals fewer degrees of freedom than there are rows
                have, least = there & ~np.isnan(columns[0]), len(columns) + 3

            def of(rows: NDArray[np.int64], weights: Floats) -> Floats:
                return coefficient(x[rows], y[rows], [z[rows] for z in columns], weights)  # noqa: B023

            value, n = float(itself.mean_within(of, have, least)[0]), int(have.sum())
            over_seeds = over_both = (math.nan, math.nan)
            if without and not math.isnan(value):
                over_seeds = jackknife_interval(value, without.mean_within(of, have, least))
            if draws and not math.isnan(value):
                over_both = percentile_interval(draws.mean_within(of, have, least))
            why = undefined(statistic, form, n, listed(list(given))) if math.isnan(value) else ""
            found.append(Relation(name, statistic + form, value, *over_seeds, *over_both, n=n, why=why))
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
    """The settings that vary, besides those named as `free` and the training seed, which is chance (Jiang et al. have
    none)."""
    for name in free:
        if name not in checkpoints.runs[0].settings:
            raise InputError(f"--free {name}: expected a setting, a column of results before status, found no such one")
    return [name for name in checkpoints.varying() if name not in (*free, *NO_HYPERPARAMETER)]


def keys_without(checkpoints: Checkpoints, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Of each checkpoint all settings but those named; the task's are always there."""
    return [tuple(value for name, value in run.settings.items() if name not in names) for run in checkpoints.runs]


def seed_alone(checkpoints: Checkpoints, name: str, free: Sequence[str], p: tuple[float, float]) -> Relation:
    """Kendall's coefficient where the training seed alone differs: the mean over cells of equal digit and settings.

    Of two seeds a cell has 1 or -1. Over seeds: the jackknife, from three on. Over digits, for these seeds: Student's.
    """
    kept = checkpoints.taken(np.flatnonzero(~np.isnan(checkpoints.values[name])))
    taus, tasks = seed_taus(kept, name, free)
    if not len(taus):
        return Relation(name, SEED_ALONE, math.nan, why="no two checkpoints with it differ in the seed alone")
    value, seeds = float(taus.mean()), kept.seed_codes()
    without = [seed_taus(kept.taken(np.flatnonzero(seeds != seed)), name, free)[0] for seed in np.unique(seeds)]
    means = np.array([of.mean() if len(of) else math.nan for of in without])
    of_digit = mean_interval([float(taus[tasks == task].mean()) for task in np.unique(tasks)])
    over_digits = max(of_digit.low, -1.0), min(of_digit.high, 1.0)  # NaN stays
    return Relation(name, SEED_ALONE, value, *jackknife_interval(value, means), *over_digits, *p, n=len(taus))


def seed_taus(kept: Checkpoints, name: str, free: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    """Kendall's coefficient of each cell of checkpoints that differ in the seed alone, and the cell's digit."""
    keys = keys_without(kept, ["seed", *free])
    taus, first = granulated_kendall(kept.values[name], kept.values["auroc"], keys)
    return taus, kept.task_codes()[first]


def granulated(
    checkpoints: Checkpoints, name: str, varying: Sequence[str], free: Sequence[str], draws: Draws | None
) -> list[Relation]:
    """ψ of each setting, and its mean Ψ over them. Over seeds: the jackknife; over digits: the bootstrap, of digits
    alone."""
    keep = np.flatnonzero(~np.isnan(checkpoints.values[name]))
    kept = checkpoints.taken(keep)
    tasks, seeds = kept.task_codes(), kept.seed_codes()
    drawn = digit_counts(draws, len(kept.tasks), checkpoints, kept)
    rows, means, samples, without = [], [], [], []
    for setting in varying:
        taus, first = granulated_kendall(kept.values[name], kept.values["auroc"], keys_without(kept, [setting, *free]))
        if not len(taus):
            why = f"no two checkpoints with it differ in {setting} alone"
            rows.append(Relation(name, GRANULATED + setting, math.nan, why=why))
            continue
        of_task, of_seed = tasks[first], seeds[first]  # a group has one digit and one seed
        others = [taus[of_seed != seed] for seed in np.unique(seeds)]
        without.append(np.array([of.mean() if len(of) else math.nan for of in others]))
        sums = np.bincount(of_task, taus, len(kept.tasks)), np.bincount(of_task, minlength=len(kept.tasks))
        means.append(float(taus.mean()))
        over_digits = (math.nan, math.nan)
        if drawn is not None:
            times = drawn @ sums[1]
            samples.append(np.divide(drawn @ sums[0], times, out=np.full(len(drawn), np.nan), where=times > 0))
            over_digits = percentile_interval(samples[-1])
        over_seeds = jackknife_interval(means[-1], without[-1])
        rows.append(Relation(name, GRANULATED + setting, means[-1], *over_seeds, *over_digits, n=len(taus)))
    mean = float(np.mean(means)) if means else math.nan
    over_seeds = jackknife_interval(mean, np.mean(without, axis=0)) if without else (math.nan, math.nan)
    over_digits = percentile_interval(np.mean(samples, axis=0)) if samples else (math.nan, math.nan)
    why = (
        ""
        if means
        else "no two checkpoints differ in one hyperparameter alone; name those that go together with --free"
    )
    return [*rows, Relation(name, GRANULATED + "mean", mean, *over_seeds, *over_digits, n=len(keep), why=why)]


def digit_counts(draws: Draws | None, count: int, checkpoints: Checkpoints, kept: Checkpoints) -> Floats | None:
    """How often each digit of `kept` was drawn in each resample (R, digits); None without several digits."""
    if draws is None or count < 2:
        return None
    of_task = dict(zip(checkpoints.tasks, draws.resample, strict=True))
    return np.stack([np.bincount(of_task[task], minlength=draws.count) for task in kept.tasks], axis=1).astype(float)


def sharper_up(relation: Relation) -> Relation:
    """The relation with its sign turned, if it must be for a positive one to mean: sharper goes with a higher AUROC."""
    if sharper_sign(relation.measure) > 0:
        return relation
    return replace(
        relation,
        value=-relation.value,
        low=-relation.high,
        high=-relation.low,
        digits_low=-relation.digits_high,
        digits_high=-relation.digits_low,
    )


def read_relations(path: Path) -> list[Relation]:
    """The rows of a long table; InputError if the file is none."""
    header, rows = read_table(path, COLUMNS, "what analysis.relate writes with --out x.csv")
    found = []
    for line, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        read: dict[str, Any] = {name: number(path, line, name, values[name]) for name in COLUMNS[2:]}
        n = read.pop("n")
        if math.isnan(n):
            raise InputError(f"{path}, line {line}: expected a number of checkpoints as n, found none; re-make it")
        found.append(replace(Relation(values["measure"], values["statistic"], math.nan, n=int(n)), **read))
    return found

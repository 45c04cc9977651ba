"""Two groups of checkpoints, paired on all settings but those that tell the groups apart: differences of measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.measures.catalogue import sharper_sign
from analysis.relation.measured import Checkpoints
from analysis.rows.results import LAMP_FIELDS, Run, differing
from analysis.statistics.clusters import Draws, can_draw, draw_clusters, mean_over_tasks, percentile_interval
from analysis.statistics.paired import MeanInterval, WinsTiesLosses, mean_interval, signed_rank, wins_ties_losses
from analysis.statistics.precision import Spread, spread_of
from training.runtime.command import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: of the table that `analysis.compare` writes as CSV
COLUMNS = (
    *("measure", "pairs", "digits", "seeds", "mean_a", "mean_b", "difference", "low", "high"),
    *("digits_low", "digits_high", "ratio", "ratio_low", "ratio_high", "ratio_digits_low", "ratio_digits_high"),
    *("standardized", "standardized_low", "standardized_high", "up", "tied", "down", "p_wilcoxon"),
    *("margin", "p_equivalence", "verdict"),
    *("noise_share", "half_width", "precision", "seeds_needed", "planes_needed"),
)
ROUNDED = 1 + 1e-5  # files have six digits


@dataclass(frozen=True)
class Pairs:
    """Checkpoints of A and of B, one below the other, that are equal but for what the groups are chosen by.

    cells: what a pair shares besides the seed, as a number; notes: what has no partner.
    """

    a: Checkpoints
    b: Checkpoints
    cells: Ints
    notes: list[str]


@dataclass(frozen=True)
class Difference:
    """B - A of one measure; NaN where there is nothing. Means are over a digit's pairs, then over digits.

    student: 95% interval over `student.count` training seeds of the mean over digits, which leads: a seed gives all
    digits the same initial weights, so that seeds are the replicates; bootstrap: over digits and seeds; ratio: of the
    geometric means B/A with Student's interval, and ratio_bootstrap, where all values are positive; standardized: the
    difference and Student's interval in standard deviations between training seeds within a cell; signs: digits with a
    positive, no and a negative difference; p: Wilcoxon's signed ranks over digits.
    """

    measure: str
    pairs: int
    digits: int
    mean_a: float
    mean_b: float
    difference: float
    bootstrap: tuple[float, float]
    student: MeanInterval
    ratio: tuple[float, float, float]
    ratio_bootstrap: tuple[float, float]
    standardized: tuple[float, float, float]
    signs: WinsTiesLosses
    p: float
    spread: Spread
    why: str = ""


def group(checkpoints: Checkpoints, conditions: Sequence[str], option: str) -> list[int]:
    """Which checkpoints have all settings of `conditions`, each name=value or name!=value; InputError if none has."""
    if not conditions:
        raise InputError(f"{option}: expected at least one setting, name=value, found none")
    kept = list(range(len(checkpoints.runs)))
    for condition in conditions:
        name, _, value = condition.partition("=")
        without, name = name.endswith("!"), name.removesuffix("!")
        if name not in checkpoints.runs[0].settings or "=" not in condition:
            raise InputError(
                f"{option} {condition}: expected name=value with a setting of the checkpoints, found no such setting; "
                "their names are the columns before status"
            )
        there = sorted({checkpoints.runs[i].settings[name] for i in kept})
        kept = [i for i in kept if (checkpoints.runs[i].settings[name] == value) != without]
        if not kept:
            raise InputError(f"{option} {condition}: expected {name} among {', '.join(there)}, found none that fits")
    return kept


def pair(checkpoints: Checkpoints, a: Sequence[str], b: Sequence[str], free: Sequence[str] = ()) -> Pairs:
    """The checkpoints of both groups that have a partner. `free`: settings in which partners may differ besides.

    LAMP's options mean nothing without LAMP, so they may differ where the losses do. Checkpoints that never reached
    the fit they were to be trained to (`until_l2`) are left out: they are not what they are compared as.
    """
    groups = group(checkpoints, a, "--a"), group(checkpoints, b, "--b")
    both = set(groups[0]) & set(groups[1])
    if both:
        raise InputError(
            f"--a, --b: expected two groups without a common checkpoint, found {len(both)} that are in both"
        )
    fitted = tuple([row for row in rows if not short_of_fit(checkpoints, row)] for rows in groups)
    short = [len(rows) - len(left) for rows, left in zip(groups, fitted, strict=True)]
    if not all(fitted):
        raise InputError("--a, --b: expected checkpoints that reached the fit of until_l2, found none in one of them")
    groups = fitted[0], fitted[1]
    named = {condition.partition("=")[0].removesuffix("!") for condition in (*a, *b)}
    loose = {*named, *free, *(LAMP_FIELDS if "loss" in named else ())}
    keyed = [keyed_runs(checkpoints, rows, loose, option) for rows, option in zip(groups, ("--a", "--b"), strict=True)]
    shared = [key for key in keyed[0] if key in keyed[1]]
    if not shared:
        raise InputError(no_pairs(checkpoints, groups, loose))
    lone = [len(of_group) - len(shared) for of_group in keyed]
    notes = [f"Left out, train_l2 above until_l2: {short[0]} of A, {short[1]} of B."] if any(short) else []
    if any(lone):
        notes.append(f"Left out, without a partner of equal settings: {lone[0]} of A, {lone[1]} of B.")
    rows = [[of_group[key] for key in shared] for of_group in keyed]
    taken = checkpoints.taken(rows[0]), checkpoints.taken(rows[1])
    names: dict[tuple[str, ...], int] = {}
    of_cell = [cell_key(run, loose) for run in taken[0].runs]
    return Pairs(*taken, np.array([names.setdefault(key, len(names)) for key in of_cell], np.int64), notes)


def short_of_fit(checkpoints: Checkpoints, row: int) -> bool:
    """Whether a checkpoint was to be trained until its training L2 is at most `until_l2`, but never was so good."""
    wanted = float(checkpoints.runs[row].settings.get("until_l2") or 0)
    return wanted > 0 and bool(checkpoints.values["train_l2"][row] > wanted * ROUNDED)


def keyed_runs(
    checkpoints: Checkpoints, rows: Sequence[int], loose: set[str], option: str
) -> dict[tuple[str, ...], int]:
    """The checkpoints of a group by the settings that partners share; InputError if two share all of them."""
    found: dict[tuple[str, ...], int] = {}
    for row in rows:
        run = checkpoints.runs[row]
        seed = "" if "seed" in loose else run.settings["seed"]
        other = found.setdefault((*cell_key(run, loose), seed), row)
        if other != row:
            differ = differing(run, checkpoints.runs[other])
            raise InputError(
                f"{option}: expected one checkpoint of this group for each pair, found two that differ in "
                + (f"{', '.join(differ)}; choose with --where {differ[0]}=…" if differ else "nothing; remove one")
            )
    return found


def cell_key(run: Run, loose: set[str]) -> tuple[str, ...]:
    return tuple(value for name, value in run.settings.items() if name not in loose and name != "seed")


def no_pairs(checkpoints: Checkpoints, groups: tuple[list[int], list[int]], loose: set[str]) -> str:
    """Why there are no pairs, in one line: the settings whose values the groups do not share."""
    names = [name for name in checkpoints.runs[0].settings if name not in loose]
    values = [{name: {checkpoints.runs[i].settings[name] for i in rows} for name in names} for rows in groups]
    apart = [name for name in names if not values[0][name] & values[1][name]]
    remedy = f"let it differ with --free {apart[0]}" if apart else "name what may differ with --free"
    if "seed" in apart:
        remedy = "measure checkpoints of the same training seeds"
    differ = ", ".join(apart) or "several settings"
    return f"--a, --b: expected pairs with equal settings, found none; they differ in {differ}; {remedy}"


def differences(pairs: Pairs, resamples: int = 2000, seed: int = 0) -> list[Difference]:
    """B - A of AUROC, training L2 and every measure; the same seed gives the same numbers."""
    tasks, seeds = pairs.a.task_codes(), pairs.a.seed_codes()
    draws = draw_clusters(tasks, seeds, resamples, np.random.default_rng(seed)) if can_draw(tasks, seeds) else None
    return [difference(pairs, name, draws) for name in pairs.a.values]


def difference(pairs: Pairs, name: str, draws: Draws | None) -> Difference:
    a, b = pairs.a.values[name], pairs.b.values[name]
    keep = np.isfinite(a) & np.isfinite(b)
    tasks, seeds = pairs.a.task_codes(), pairs.a.seed_codes()
    nothing = (math.nan, math.nan, math.nan)
    d = np.where(keep, b, 0) - np.where(keep, a, 0)
    noise, both = noise_of(pairs, name), np.stack([a, b], axis=1)
    spread = spread_of(d[keep], noise[keep], pairs.cells[keep], seeds[keep], both[keep], tasks[keep])
    of_task = [float(d[keep & (tasks == task)].mean()) for task in np.unique(tasks[keep])]
    if not keep.any():
        empty = MeanInterval(math.nan, math.nan, math.nan, 0)
        signs, why = WinsTiesLosses(0, 0, 0), "no pair has finite values of it"
        means = math.nan, math.nan, math.nan
        return Difference(
            name, 0, 0, *means, nothing[:2], empty, nothing, nothing[:2], nothing, signs, math.nan, spread, why
        )
    mean = float(np.mean(of_task))
    student = mean_interval(spread.of_seed.tolist())
    ratio, ratio_bootstrap = nothing, nothing[:2]
    if (both[keep] > 0).all():
        logs = np.log(np.where(keep, b, 1) / np.where(keep, a, 1))
        of_logs = spread_of(logs[keep], noise[keep], pairs.cells[keep], seeds[keep], both[keep], tasks[keep])
        of_ratio = mean_interval(of_logs.of_seed.tolist())
        center = mean_over_tasks(np.where(keep, logs, np.nan), tasks)
        ratio = math.exp(center), exponential(of_ratio.low), exponential(of_ratio.high)
        low, high = interval(logs, keep, draws)
        ratio_bootstrap = math.exp(low), math.exp(high)
    unit = spread.between_seeds
    return Difference(
        measure=name,
        pairs=int(keep.sum()),
        digits=len(of_task),
        mean_a=mean_over_tasks(np.where(keep, a, np.nan), tasks),
        mean_b=mean_over_tasks(np.where(keep, b, np.nan), tasks),
        difference=mean,
        bootstrap=interval(d, keep, draws),
        student=student,
        ratio=ratio,
        ratio_bootstrap=ratio_bootstrap,
        standardized=(mean / unit, student.low / unit, student.high / unit) if unit > 0 else nothing,
        signs=wins_ties_losses(of_task, tolerance=0),
        p=signed_rank(of_task).p,
        spread=spread,
    )


def exponential(value: float) -> float:
    """exp(value), inf where that is beyond double precision: with two seeds a bound may be anything."""
    return math.exp(value) if value < 700 else math.inf


def interval(values: Floats, keep: NDArray[np.bool_], draws: Draws | None) -> tuple[float, float]:
    """The bootstrap interval of the mean over digits of the mean over a digit's pairs that are kept."""
    if draws is None:
        return math.nan, math.nan

    def mean(rows: Ints, weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        return np.divide(weights @ values[rows], total, out=np.full(len(weights), np.nan), where=total > 0)

    return percentile_interval(draws.mean_within(mean, keep, least=1))


def sharper_up(one: Difference) -> Difference:
    """The difference with its sign turned, and the ratio inverted, if they must be for up to mean: B is sharper."""
    if sharper_sign(one.measure) > 0:
        return one
    student, (ratio, low, high) = one.student, one.ratio
    turned, ups = one.spread, one.signs
    return replace(
        one,
        mean_a=-one.mean_a,
        mean_b=-one.mean_b,
        difference=-one.difference,
        bootstrap=(-one.bootstrap[1], -one.bootstrap[0]),
        student=MeanInterval(-student.mean, -student.high, -student.low, student.count),
        ratio=(1 / ratio, inverse(high), inverse(low)),
        ratio_bootstrap=(inverse(one.ratio_bootstrap[1]), inverse(one.ratio_bootstrap[0])),
        standardized=(-one.standardized[0], -one.standardized[2], -one.standardized[1]),
        signs=WinsTiesLosses(ups.losses, ups.ties, ups.wins),
        spread=replace(turned, of_seed=-turned.of_seed),
    )


def inverse(value: float) -> float:
    return 1 / value if value else math.inf


def noise_of(pairs: Pairs, name: str) -> Floats:
    """The variance of each pair's difference that its standard errors make; NaN where they are not known.

    It is an upper bound, `se_a² + se_b²`: partners that were measured along the same directions (AUROCs: on the same
    images) share much of their errors, which the difference does not have. Paired errors are not in the file.
    """
    if name not in pairs.a.stderr:
        return np.full(len(pairs.cells), math.nan)
    return pairs.a.stderr[name] ** 2 + pairs.b.stderr[name] ** 2

"""How much of a difference's spread is noise of measurement, and how many seeds or planes a wanted precision needs."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REPEATS = {"auroc": "test images"}  # what more of would lower the noise of measurement
MOST = 1000  # seeds: more are not worth a number


@dataclass(frozen=True)
class Spread:
    """Where the spread of paired differences comes from; NaN where it cannot be told.

    of_seed: the mean difference over digits for each training seed; within: variance of a pair's difference over the
    seeds of a cell; noise: the most of it that standard errors of measurement account for (about twice too much where
    partners were measured along the same directions); mean_noise: the same of the variance of `of_seed`, as if cells
    were measured independently of each other; between_seeds: standard deviation of the measure itself over the seeds of
    a cell and group.
    """

    of_seed: Floats
    within: float
    noise: float
    mean_noise: float
    between_seeds: float

    @property
    def noise_share(self) -> float:
        """Noise of measurement as a share, at most 1, of the variance over training seeds within a cell."""
        if math.isnan(self.noise) or not self.within > 0:  # min() would make 1 of a NaN
            return math.nan
        return min(1.0, self.noise / self.within)


@dataclass(frozen=True)
class Plan:
    """What a relative half-width needs. half: the present one, of the difference; of_seeds: what it would be without
    noise of measurement; seeds: how many suffice with planes as they are (0: more than MOST); planes: how many times as
    many suffice with seeds as they are (inf: no number). NaN where it cannot be told.
    """

    half: float
    of_seeds: float
    seeds: int
    planes: float


def spread_of(d: Floats, noise: Floats, cells: Ints, seeds: Ints, values: Floats, tasks: Ints) -> Spread:
    """The spread of differences d (n,) with variances of measurement `noise` (n,), and of both groups' values (n, 2).

    `of_seed` is over the cells that have all seeds, so that every seed's mean is of the same cells: the mean over tasks
    (digits) of that over a task's cells.
    """
    names, of_row = np.unique(seeds, return_inverse=True)
    of_row = of_row.reshape(-1)
    members = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    complete = [rows for rows in members if len(rows) == len(names)]
    table = np.array([d[rows[np.argsort(of_row[rows])]] for rows in complete])
    of_task = np.array([tasks[rows[0]] for rows in complete])
    _, place, sizes = np.unique(of_task, return_inverse=True, return_counts=True)
    weights = 1 / (len(sizes) * sizes[place.reshape(-1)]) if complete else np.empty(0)
    of_seed = weights @ table if complete else np.empty(0)
    several = [rows for rows in members if len(rows) > 1]
    freedom = sum(len(rows) - 1 for rows in several)
    within = sum(float(((d[rows] - d[rows].mean()) ** 2).sum()) for rows in several)
    own = sum(float(((values[rows] - values[rows].mean(axis=0)) ** 2).sum()) for rows in several)
    noises = [float(noise[rows].mean()) for rows in complete]
    mean_noise = float(weights**2 @ noises) if complete else math.nan
    return Spread(
        of_seed,
        within / freedom if freedom else math.nan,
        float(noise.mean()) if len(noise) else math.nan,
        mean_noise,
        math.sqrt(own / (2 * freedom)) if freedom else math.nan,
    )


def plan(spread: Spread, precision: float) -> Plan:
    """What brings the half-width of Student's interval over seeds to `precision` times the difference.

    The half-width is `h(S, k) = t(0.975, S - 1) √((v - m + m/k) / S)` with S seeds, v the variance of `of_seed` and m
    its part from noise of measurement, which k times as many planes (directions, probes) divide by k.
    """
    from scipy import stats

    count = len(spread.of_seed)
    if count < 2:
        return Plan(math.nan, math.nan, 0, math.nan)
    size = abs(float(spread.of_seed.mean()))
    variance = float(spread.of_seed.var(ddof=1))
    noise = float(np.minimum(variance, spread.mean_noise))  # NaN stays

    def half(seeds: int, of: float) -> float:
        return float(stats.t.ppf(0.975, seeds - 1)) * math.sqrt(of / seeds)

    if size == 0:
        return Plan(math.inf, math.inf, 0, math.inf)
    enough = next((s for s in range(2, MOST + 1) if half(s, variance) <= precision * size), 0)
    if math.isnan(noise):
        return Plan(half(count, variance) / size, math.nan, enough, math.nan)
    allowed = (precision * size / float(stats.t.ppf(0.975, count - 1))) ** 2 * count
    if allowed >= variance:
        planes = 1.0
    else:
        planes = noise / (allowed - variance + noise) if allowed > variance - noise else math.inf
    return Plan(half(count, variance) / size, half(count, max(variance - noise, 0)) / size, enough, planes)


def plan_text(name: str, spread: Spread, precision: float) -> str:
    """The plan as a sentence."""
    count = len(spread.of_seed)
    if count < 2:
        return f"{name}: no plan without two training seeds that some cells have in common."
    found, what = plan(spread, precision), REPEATS.get(name, "planes")
    share = spread.noise_share
    noise = (
        "noise of measurement is not known (no standard errors)"
        if math.isnan(share)
        else f"noise of measurement is at most {share:.0%} of the variance between training seeds"
    )
    if math.isinf(found.half):
        return f"{name}: {noise}; the difference is 0, so that no relative precision can be planned for."
    start = f"{name}: {noise}; the interval over {count} seeds is {plus_minus(found.half)} of the difference"
    if found.half <= precision:
        return f"{start}, which is precise enough for ±{precision:.0%}."
    seeds = f"{found.seeds} training seeds" if found.seeds else f"more than {MOST} training seeds"
    if math.isnan(found.planes):
        return f"{start}; ±{precision:.0%} needs {seeds}."
    if math.isinf(found.planes):
        rest = f"; {what} alone do not suffice"
    else:
        rest = f", or {times(found.planes)} as many {what} with the seeds as they are"
    return f"{start}; ±{precision:.0%} needs {seeds} with {what} as they are{rest}."


def plus_minus(share: float) -> str:
    return f"±{share:.0%}" if share < 10 else "more than ±1000%"


def times(factor: float) -> str:
    return f"{factor:.2g} times" if factor < MOST else f"more than {MOST} times"

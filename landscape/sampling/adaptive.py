"""Fewer points for the same picture: which points of a plane to evaluate, and what interpolation makes of the rest.

A surface is sampled coarse to fine. Between samples stands the cubic radial spline of each metric's transformed value
(:mod:`landscape.sampling.spline`). Its error is judged by leaving out each sample in turn; at the end a random share of
the interpolated points is evaluated and says how large the error really is, and by its tail how large it may be
elsewhere.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from landscape.files.grid import Bools, Floats, Indices
from landscape.sampling.spline import left_out_errors, spline
from landscape.sampling.tail import CONFIDENCE, upper_limit
from training.runtime.command import InputError

Values = dict[str, Floats]

COARSE = 7  # points an axis of the first level: odd, so that the middle, where the minimum lies, is one of them
SAFETY = 0.6  # estimates are brought below this share of the tolerance: errors were up to 1.5 times as large
HELD_OUT, AT_LEAST = 0.05, 10  # share and least number of interpolated points that are evaluated to measure the error
ROUNDS = 3  # of refinement, each judged by a fresh held-out sample
NEAREST = 3  # samples whose errors speak for a point between them
LEAST = 7  # samples: one more than a quadratic has coefficients


@dataclass(frozen=True)
class Adapted:
    """A grid of K planes from fewer points. values: {metric: (K, ny, nx)}, true where `evaluated`, else interpolated.

    held_out: flat indices of the random interpolated points that were then evaluated. errors: the largest difference
    between prediction and value at them, as a share of the range of the transformed metric on its plane; inf where a
    value is not finite, 0 where nothing was interpolated. limits: what the largest error of the points that stay
    interpolated is below, with 95% confidence (:func:`landscape.sampling.tail.upper_limit`), likewise a share, and at
    least the tolerance.
    """

    values: Values
    evaluated: Bools
    held_out: Indices
    errors: dict[str, float]
    limits: dict[str, float]


Plan = Generator[Indices, Values, Adapted]


def progressive_order(shape: tuple[int, int, int]) -> list[Indices]:
    """Flat indices of all points of (planes, rows, columns) as levels, coarse to fine.

    Level by level the rows and columns reached are the multiples of 2^k, …, 2, 1 and the last: each level completes a
    picture. No point is in two levels.

    >>> [level.tolist() for level in progressive_order((1, 1, 6))]
    [[0, 4, 5], [2], [1, 3]]
    """
    _, rows, columns = shape
    levels = []
    seen = np.zeros(shape, bool)
    for exponent in reversed(range(max(1, (max(rows, columns) - 1).bit_length()))):
        stride = 2**exponent
        now = np.zeros(shape, bool)
        now[:, _multiples(rows, stride)[:, None], _multiples(columns, stride)] = True
        levels.append(np.flatnonzero(now & ~seen))
        seen |= now
    return [level for level in levels if len(level)]


def _multiples(count: int, stride: int) -> Indices:
    return np.union1d(np.arange(0, count, stride), count - 1)


def check_tolerance(tol: float) -> None:
    """Raise InputError unless `tol` is a share of the range, above 0 and below 1."""
    if not 0 < tol < 1:
        raise InputError(f"--adaptive: expected a share of the range above 0 and below 1, such as 0.01, found {tol:g}")


def refine(x: Floats, y: Floats, transforms: dict[str, str], tol: float, seed: int, planes: int = 1) -> Plan:
    """Plan a grid of `planes` times len(y) times len(x) points, aimed at `tol` of the range of each transformed metric.

    The aim is reached at the points held out, unless three rounds were not enough; others may miss it, see `limits`.

    A coroutine: it yields the flat indices to evaluate next, level by level, is sent {metric: values there}, and
    returns an :class:`Adapted`. It draws on nothing but what it was sent, so a run that was stopped comes to the same
    choices when it is sent the values that it has, and the number of ranks changes nothing.

    transforms: "log" or "none" of each metric. A point is asked for if any metric needs it. Points near a value that is
    not finite (or whose transform is not) are all evaluated.
    Raises InputError for a tolerance outside of (0, 1).
    """
    check_tolerance(tol)
    size = len(x) * len(y)
    sure = CONFIDENCE ** (1 / planes)  # of each plane, to be so of all
    plans = [
        _refine_plane(x, y, transforms, tol, np.random.default_rng([seed, plane]), sure) for plane in range(planes)
    ]
    wanted: dict[int, Indices] = {plane: next(plan) for plane, plan in enumerate(plans)}
    finished: dict[int, Adapted] = {}
    while wanted:  # the planes go in step, so that one level has work for many ranks
        sent = yield np.concatenate([plane * size + points for plane, points in wanted.items()])
        ends = np.cumsum([len(points) for points in wanted.values()])
        for plane, start, end in zip(list(wanted), [0, *ends[:-1]], ends, strict=True):
            try:
                wanted[plane] = plans[plane].send({name: values[start:end] for name, values in sent.items()})
            except StopIteration as stop:
                finished[plane] = stop.value
                del wanted[plane]
    parts = [finished[plane] for plane in range(planes)]
    return Adapted(
        {name: np.stack([part.values[name] for part in parts]) for name in transforms},
        np.stack([part.evaluated for part in parts]),
        np.concatenate([plane * size + part.held_out for plane, part in enumerate(parts)]),
        {name: max(part.errors[name] for part in parts) for name in transforms},
        {name: max(part.limits[name] for part in parts) for name in transforms},
    )


def _refine_plane(
    x: Floats, y: Floats, transforms: dict[str, str], tol: float, random: np.random.Generator, sure: float
) -> Plan:
    """:func:`refine` of one plane; the limits of its errors hold with confidence `sure`."""
    shape = len(y), len(x)
    places = _places(x, y)
    names = list(transforms)
    logs = np.array([transforms[name] == "log" for name in names])
    values, evaluated = np.full((places.shape[0], len(names)), np.nan), np.zeros(places.shape[0], bool)
    wanted = first_level(shape)
    for _ in range(ROUNDS):
        while len(wanted):
            sent = yield wanted
            values[wanted], evaluated[wanted] = np.stack([sent[name] for name in names], 1), True
            wanted = next_level(places, shape, _transformed(values, logs), evaluated, tol)
        rest = np.flatnonzero(~evaluated)
        held_out = np.sort(random.choice(rest, min(len(rest), max(AT_LEAST, math.ceil(HELD_OUT * len(rest)))), False))
        errors = np.zeros((len(held_out), len(names)))
        if len(held_out):
            predicted = interpolate(places, _transformed(values, logs), evaluated, held_out)
            sent = yield held_out
            values[held_out], evaluated[held_out] = np.stack([sent[name] for name in names], 1), True
            errors = _shares(predicted, _transformed(values, logs), held_out)
        bad = held_out[errors.max(1, initial=0) > tol]
        if not len(bad):
            break
        closer = around(bad, shape, evaluated, held_out)
        wanted = np.union1d(closer, next_level(places, shape, _transformed(values, logs), evaluated, tol))
    filled = _transformed(values, logs)
    rest = np.flatnonzero(~evaluated)
    filled[rest] = interpolate(places, filled, evaluated, rest)
    values[rest] = np.where(logs, np.exp(filled[rest]), filled[rest])
    return Adapted(
        {name: values[:, number].reshape(shape) for number, name in enumerate(names)},
        evaluated.reshape(shape),
        held_out,
        dict(zip(names, errors.max(0, initial=0).tolist(), strict=True)),
        {name: _limit(errors[:, number], len(rest), tol, sure) for number, name in enumerate(names)},
    )


def _limit(errors: Floats, rest: int, tol: float, sure: float) -> float:
    """What the largest error of `rest` interpolated points is below: not `tol`, under which refinement does not look.

    Where the tail at the held-out points says less, it has missed what is sharp and small.
    """
    return max(upper_limit(errors, rest, sure), tol if rest else 0.0)


def _places(x: Floats, y: Floats) -> Floats:
    """Coordinates (points, 2) of the plane's points, flat, in half lengths of its longer side."""
    longer = max(np.ptp(x), np.ptp(y)) or 1.0
    return np.stack([axis.ravel() for axis in np.meshgrid(x, y)], 1) * (2 / longer)


def _transformed(values: Floats, logs: Bools) -> Floats:
    """Values (points, metrics) as they are interpolated: the logarithm where `logs`; what is not finite is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where(logs, np.log(values), values)
    return np.where(np.isfinite(result), result, np.nan)


def _ranges(transformed: Floats) -> Floats:
    """The range of each metric; where it is mere rounding, infinite, so that no error is a share of it."""
    known = transformed[np.isfinite(transformed).any(1)]
    if not len(known):
        return np.full(transformed.shape[1], np.inf)
    low, high = np.nanmin(known, 0, initial=np.inf), np.nanmax(known, 0, initial=-np.inf)
    return np.where(high - low > 1e-12 * np.maximum(abs(low), abs(high)), high - low, np.inf)


def _shares(predicted: Floats, transformed: Floats, points: Indices) -> Floats:
    """Differences (points, metrics) from the prediction as shares of the range; inf where a value is not finite."""
    differences = np.abs(predicted - transformed[points]) / _ranges(transformed)
    return np.where(np.isnan(differences), np.inf, differences)


def first_level(shape: tuple[int, int]) -> Indices:
    """Flat indices of up to COARSE evenly spaced rows and columns, the outermost among them."""
    chosen = np.zeros(shape, bool)
    chosen[np.ix_(*[np.unique(np.linspace(0, n - 1, min(n, COARSE)).round().astype(int)) for n in shape])] = True
    return np.flatnonzero(chosen)


def next_level(places: Floats, shape: tuple[int, int], transformed: Floats, evaluated: Bools, tol: float) -> Indices:
    """Flat indices of the points to evaluate next: where interpolation is not yet known to be within `tol`.

    The point of largest estimated error is taken; those nearer to it than it is to a sample wait for the next level;
    and so on. Empty once all estimates are below SAFETY·tol and :func:`near_holes` nothing is left.
    """
    from scipy.spatial import KDTree

    error = estimated_errors(places, transformed, evaluated) / (SAFETY * tol)
    error[near_holes(shape, transformed, evaluated)] = np.inf
    error[evaluated] = 0
    candidates = np.flatnonzero(error > 1)
    clear = KDTree(places[evaluated]).query(places[candidates])[0]
    order = np.lexsort((-clear, -error[candidates]))
    candidates, clear = candidates[order], clear[order]
    taken = []
    while len(candidates):
        taken.append(candidates[0])
        far = np.hypot(*(places[candidates] - places[candidates[0]]).T) > clear[0] * (1 + 1e-9)
        candidates, clear = candidates[far], clear[far]
    return np.sort(np.array(taken, np.int64))


def near_holes(shape: tuple[int, int], transformed: Floats, evaluated: Bools) -> Bools:
    """Points with a sample that is not finite within twice the distance of their nearest sample, in rows and columns.

    Asked again at each level, this closes in on holes as on large errors, until nothing within 2 steps of one is left.
    """
    from scipy.spatial import KDTree

    steps = np.stack(np.unravel_index(np.arange(len(evaluated)), shape), 1)
    holes = evaluated & ~np.isfinite(transformed).all(1)
    if not holes.any():
        return holes
    to_hole, to_sample = (KDTree(steps[points]).query(steps, p=np.inf)[0] for points in (holes, evaluated))
    return to_hole <= 2 * to_sample


def around(bad: Indices, shape: tuple[int, int], evaluated: Bools, held_out: Indices) -> Indices:
    """The eight neighbours of each bad held-out point, halfway to the nearest sample that was there before it."""
    from scipy.spatial import KDTree

    before = evaluated.copy()
    before[held_out] = False
    steps = np.stack(np.unravel_index(np.arange(len(evaluated)), shape), 1)
    half = np.ceil(KDTree(steps[before]).query(steps[bad], p=np.inf)[0] / 2).astype(np.int64)
    compass = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    corners = steps[bad][:, None] + half[:, None, None] * compass
    corners = np.clip(corners, 0, np.array(shape) - 1).reshape(-1, 2)
    points = np.unique(np.ravel_multi_index(tuple(corners.T), shape))
    return points[~evaluated[points]]


def estimated_errors(places: Floats, transformed: Floats, evaluated: Bools) -> Floats:
    """Estimated interpolation error of each point as a share of the range, the largest of all metrics.

    A sample's error e_i when it is left out is the error at the distance h_i of its nearest neighbour. It falls with
    the square of the distance d to the nearest sample, slower than a smooth function's, since valleys are sharp:
    max over the NEAREST samples i of e_i·min(1, d/h_i)². Infinite where fewer than LEAST samples are finite.
    """
    from scipy.spatial import KDTree

    ranges = _ranges(transformed)
    result = np.zeros(len(places))
    for metrics, samples in _same_samples(transformed, evaluated):
        if len(samples) < LEAST:
            return np.full(len(places), np.inf)
        error = (left_out_errors(places[samples], transformed[np.ix_(samples, metrics)]) / ranges[metrics]).max(1)
        tree = KDTree(places[samples])
        spacing = tree.query(places[samples], 2)[0][:, 1]
        distance, nearest = tree.query(places, list(range(1, NEAREST + 1)))
        ratio = np.minimum(1, distance[:, :1] / spacing[nearest])
        result = np.maximum(result, (error[nearest] * ratio**2).max(1))
    return result


def interpolate(places: Floats, transformed: Floats, evaluated: Bools, points: Indices) -> Floats:
    """The splines (points, metrics) through all finite samples; NaN where a metric has none."""
    result = np.full((len(points), transformed.shape[1]), np.nan)
    for metrics, samples in _same_samples(transformed, evaluated):
        result[:, metrics] = spline(places[samples], transformed[np.ix_(samples, metrics)], places[points])
    return result


def _same_samples(transformed: Floats, evaluated: Bools) -> Iterator[tuple[Indices, Indices]]:
    """Metrics that are finite at the same samples, with these: they share their linear systems."""
    finite = np.isfinite(transformed) & evaluated[:, None]
    patterns, group = np.unique(finite, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        if pattern.any():
            yield np.flatnonzero(group.ravel() == number), np.flatnonzero(pattern)

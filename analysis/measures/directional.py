"""Sharpness along filter-normalized random directions: growth of a loss with the radius, and areas of sublevel sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.files.grid import Floats
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem
from landscape.sampling.spline import spline

PLANE_POINTS = 7  # an axis of a plane whose area is measured: the spline of log L does the rest
FINE = 201  # points an axis at which that spline is compared with the level


@dataclass(frozen=True)
class Growth:
    """A metric along K directions: `base` at the weights, `values` (K, R) at R radii, each the mean over both signs."""

    radii: Floats
    base: float
    values: Floats

    @property
    def mean(self) -> Floats:
        """Over the directions, (R,)."""
        return np.asarray(self.values.mean(0))

    def delta(self, radius: float) -> tuple[float, float]:
        """L − L₀ at one of the radii: mean over directions, and its standard error."""
        return mean_and_error(self.values[:, self._at(radius)] - self.base)

    def ratio(self, radius: float) -> tuple[float, float]:
        """L/L₀ likewise."""
        with np.errstate(divide="ignore", invalid="ignore"):  # a loss of 0 at the model
            ratios = self.values[:, self._at(radius)] / self.base
        return mean_and_error(ratios)

    def radius_of(self, level: float) -> tuple[float, float]:
        """The radius at which the mean over directions first crosses `level`, and its jackknife standard error.

        Linear between the radii measured, in the squared radius up to the first, where a loss is a parabola; (NaN, NaN)
        where it does not cross within them.
        """
        whole = crossing(self.radii, self.base, self.mean, level)
        count = len(self.values)
        if count < 2:
            return whole, float("nan")
        left_out = np.array(
            [crossing(self.radii, self.base, np.delete(self.values, k, 0).mean(0), level) for k in range(count)]
        )
        return whole, float(np.sqrt((count - 1) * left_out.var()))

    def _at(self, radius: float) -> int:
        return int(np.abs(self.radii - radius).argmin())


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean, and standard error of the mean over independent values; NaN from one value, or where one diverged."""
    with np.errstate(invalid="ignore"):  # of what diverged
        error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        return float(values.mean()), float(error)


def crossing(radii: Floats, base: float, curve: Floats, level: float) -> float:
    """The first radius at which the curve from (0, `base`) through (`radii`, `curve`) crosses `level`, or NaN.

    >>> crossing(np.array([1.0, 2.0]), 1.0, np.array([2.0, 6.0]), 4.0)
    1.5
    """
    x, y = np.concatenate([[0.0], radii]), np.concatenate([[base], curve]) - level
    passed = np.flatnonzero(np.sign(y[1:]) != np.sign(y[0]))
    if y[0] == 0 or not len(passed):
        return 0.0 if y[0] == 0 else float("nan")
    at = int(passed[0])
    if not np.isfinite(y[at + 1]):
        return float(x[at])
    share = float(y[at] / (y[at] - y[at + 1]))
    return float(x[1] * share**0.5) if at == 0 else float(x[at] + (x[at + 1] - x[at]) * share)


@dataclass(frozen=True)
class Planes:
    """A metric over K planes, [−1, 1]² in units of the directions: `values` (K, n, n), rows y, columns x."""

    steps: Floats
    values: Floats

    def area(self, level: float) -> tuple[float, float]:
        """Area with values at most `level`: mean over planes, and its standard error.

        Counted on a fine grid of the cubic radial spline through the logarithms.
        """
        return mean_and_error(np.array([sublevel_area(self.steps, plane, level) for plane in self.values]))


def sublevel_area(steps: Floats, plane: Floats, level: float) -> float:
    """The area of {`plane` ≤ `level`} of positive values (n, n) on the square of `steps`; what diverged is outside."""
    if level <= 0:
        return 0.0
    fine = np.linspace(steps[0], steps[-1], FINE)
    here, there = (np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2) for axis in (steps, fine))
    logs = np.log(np.clip(np.nan_to_num(plane, nan=np.inf), 1e-300, 1e300)).reshape(-1, 1)
    smooth = spline(here, logs, there).reshape(FINE, FINE)
    # Each point stands for a cell; those of the border for half a cell, of the corners for a quarter.
    weights = np.ones(FINE)
    weights[[0, -1]] = 0.5
    share = float(weights @ (smooth <= np.log(level)) @ weights) / (FINE - 1) ** 2
    return share * float(steps[-1] - steps[0]) ** 2


def along_directions(
    problem: Problem, metrics: Sequence[Metric], radii: Sequence[float], count: int, seed: int, device: torch.device
) -> dict[str, Growth]:
    """Each metric along the x directions of `count` random planes, at both signs of each radius.

    The planes are those that `landscape.surface --seed SEED --planes K` draws, so equal seeds compare models on equal
    directions. Values that diverge are inf or NaN in the result.
    """
    drawn = [random_directions(problem.model, seed, k)[:1] for k in range(count)]
    evaluator = Evaluator(problem, metrics, drawn, device)
    base = evaluator.at(0, [0.0])[0]
    signed = [(sign * radius,) for radius in radii for sign in (1, -1)]
    values = np.array([evaluator.at_many(k, signed)[:, 0] for k in range(count)])
    rays = values.reshape(count, len(radii), 2, len(metrics)).mean(2)
    return {m.name: Growth(np.array(radii), float(base[i]), rays[..., i]) for i, m in enumerate(metrics)}


def over_planes(
    problem: Problem, metrics: Sequence[Metric], count: int, seed: int, device: torch.device
) -> dict[str, Planes]:
    """Each metric over [−1, 1]² of the same random planes."""
    drawn = [random_directions(problem.model, seed, k) for k in range(count)]
    evaluator = Evaluator(problem, metrics, drawn, device)
    steps = np.linspace(-1, 1, PLANE_POINTS)
    square = [(float(x), float(y)) for y in steps for x in steps]
    values = np.array([evaluator.at_many(k, square)[:, 0] for k in range(count)])
    grids = values.reshape(count, PLANE_POINTS, PLANE_POINTS, len(metrics))
    return {m.name: Planes(steps, grids[..., i]) for i, m in enumerate(metrics)}

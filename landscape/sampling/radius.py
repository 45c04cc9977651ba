"""`auto`: how far to go, from how the loss grows."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from landscape.directions.axes import AutoAxis
from landscape.directions.normalization import Direction
from landscape.engine.evaluate import Evaluator
from landscape.engine.precision import Precision
from landscape.files.grid import Axis
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem, subsample
from training.runtime.command import InputError

SAMPLES = 1000  # of each set, a seeded subset: enough for two digits of a radius
PLANES = 3  # whose directions are looked along, if there are as many
SMALLEST, LARGEST = 2.0**-30, 2.0**10  # radii looked at
PRECISION = 1.01  # ratio of the ends between which the radius is found, before it is rounded


def radius_of_growth(growth: Callable[[float], float], factor: float) -> float | None:
    """A radius r at which `growth(r)` reaches `factor`, to two significant digits; None if it does not up to 1024.

    From 1 on, r is doubled until the growth is reached, or halved until it is not; then it is bisected on a
    logarithmic scale to 1% and rounded. A growth that is not finite has reached any factor.
    """

    def reached(radius: float) -> bool:
        value = growth(radius)
        return not math.isfinite(value) or value >= factor

    low = high = 1.0
    if reached(high):
        while reached(low := low / 2):
            high = low
            if low < SMALLEST:
                return None
    else:
        while not reached(high := high * 2):
            low = high
            if high >= LARGEST:
                return None
    while high / low > PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return float(f"{high:.2g}")


class Growth:
    """How the first metric grows with the distance: `L̄(r)/L(0)`, with L̄(r) the mean of L(θ ± r·d).

    The mean is over both signs and over all the directions d that the first planes (at most three) move along. L is
    taken over a seeded subset of at most 1,000 samples of each set.
    """

    def __init__(
        self,
        problem: Problem,
        metric: Metric,
        planes: Sequence[Sequence[Direction]],
        device: torch.device,
        batch_norm: str,
        precision: Precision,
    ):
        few = {
            name: samples if samples.size <= SAMPLES else subsample(samples, max(SAMPLES, metric.group))
            for name, samples in problem.sets.items()
        }
        problem = dataclasses.replace(problem, sets=few)
        self.metric = metric
        self.evaluator = Evaluator(problem, [metric], planes[:PLANES], device, batch_norm, precision)
        self.known: dict[float, float] = {}
        self.base = self._value(0, [0.0] * len(planes[0]))
        if not (math.isfinite(self.base) and self.base > 0):
            raise InputError(
                f"auto: expected a positive {metric.name} at the model, which can grow by a factor, found {self.base:g}"
                "; name a loss as the first metric, or give numbers, such as -1:1:51"
            )

    def __call__(self, radius: float) -> float:
        if radius not in self.known:
            self.known[radius] = float(np.mean(list(self._values(radius)))) / self.base
        return self.known[radius]

    def _values(self, radius: float) -> Any:
        for plane, directions in enumerate(self.evaluator.directions):
            for axis in range(len(directions)):
                for sign in (-1, 1):
                    yield self._value(plane, [sign * radius * (axis == other) for other in range(len(directions))])

    def _value(self, plane: int, steps: list[float]) -> float:
        return float(self.evaluator.at(plane, steps)[0, 0])

    def axis(self, wanted: AutoAxis) -> tuple[Axis, float]:
        """The axis, and its radius; InputError if the metric never grows so far."""
        radius = radius_of_growth(self, wanted.factor)
        if radius is None:
            option, grown = f"--{wanted.name}={wanted.spec}", self(LARGEST)
            if grown < wanted.factor:
                raise InputError(
                    f"{option}: expected {self.metric.name} to grow {wanted.factor:g}-fold within a radius of "
                    f"{LARGEST:g}, found {grown:.3g}-fold there; take a smaller factor, or numbers, such as "
                    f"--{wanted.name}=-1:1:{wanted.count}"
                )
            raise InputError(
                f"{option}: expected {self.metric.name} to grow gradually, found it {wanted.factor:g}-fold at a radius "
                f"of {SMALLEST:g} already; give numbers, such as --{wanted.name}=-1:1:{wanted.count}"
            )
        return wanted.at(radius), radius


def chosen_axes(
    axes: Sequence[Axis | AutoAxis], make_growth: Callable[[], Growth]
) -> tuple[list[Axis], dict[str, dict[str, Any]]]:
    """Axes with numbers in the place of `auto`, and how these were found, by axis."""
    if not any(isinstance(axis, AutoAxis) for axis in axes):
        return [axis for axis in axes if isinstance(axis, Axis)], {}
    growth = make_growth()
    numeric, found = [], {}
    for axis in axes:
        if isinstance(axis, AutoAxis):
            chosen, radius = growth.axis(axis)
            found[axis.name] = {"asked": axis.spec, "metric": growth.metric.name, "radius": radius}
            numeric.append(chosen)
        else:
            numeric.append(axis)
    return numeric, found

"""What a user gives as an axis: `low:high:count`, numbers, or `auto`, whose range is found from the loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.files.grid import LARGEST_STEP, Axis, Floats, parse_axis
from training.runtime.command import InputError

AUTO = "auto"
DEFAULT_FACTOR, DEFAULT_COUNT = 10.0, 51

AxisLike = str | tuple[float, float, int] | Sequence[float] | Floats


@dataclass(frozen=True)
class AutoAxis:
    """`count` points from -r to r, where the loss has grown by `factor`: :mod:`landscape.sampling.radius`."""

    name: str
    factor: float = DEFAULT_FACTOR
    count: int = DEFAULT_COUNT

    @property
    def spec(self) -> str:
        return f"{AUTO}:{self.factor!r}:{self.count}"

    def at(self, radius: float) -> Axis:
        return parse_axis(self.name, f"{-radius!r}:{radius!r}:{self.count}")


Given = Axis | AutoAxis
Axes = tuple[Given | None, Given | None]  # None where a trajectory gives the axis


def parse_range(name: str, text: str) -> Axis | AutoAxis:
    """`low:high:count`, or `auto`, `auto:FACTOR`, `auto:FACTOR:COUNT`; InputError for anything else."""
    kind, *numbers = text.split(":")
    if kind != AUTO:
        return parse_axis(name, text)
    option = f"--{name}={text}"
    try:
        factor = float(numbers[0]) if numbers else DEFAULT_FACTOR
        count = int(numbers[1]) if len(numbers) > 1 else DEFAULT_COUNT
    except ValueError:
        numbers = ["", "", ""]
    if len(numbers) > 2:
        raise InputError(f"{option}: expected auto, auto:FACTOR or auto:FACTOR:COUNT, such as --{name}=auto:10:51")
    if not (math.isfinite(factor) and factor > 1):
        raise InputError(f"{option}: expected a factor above 1 that the loss grows by, found {factor:g}")
    if not 2 <= count <= 10_001:
        raise InputError(f"{option}: expected 2 to 10001 points, found {count}")
    return AutoAxis(name, factor, count)


def as_axis(name: str, value: AxisLike) -> Given:
    """An axis from text, from a tuple (low, high, count), or from increasing numbers."""
    if isinstance(value, str):
        return parse_range(name, value)
    if isinstance(value, tuple):
        return parse_axis(name, ":".join(map(str, value)))
    return axis_of_values(name, value)


def axis_of_values(name: str, values: Any) -> Axis:
    """Steps as they are given; InputError unless they are finite and increasing."""
    try:
        steps = np.array(values, np.float64)
    except (TypeError, ValueError):
        steps = np.empty(0)
    if steps.ndim != 1 or not len(steps) or not (np.isfinite(steps).all() and (np.diff(steps) > 0).all()):
        raise InputError(f"{name}: expected finite, increasing numbers, (low, high, count) or text, found {values!r}")
    if np.abs(steps).max() > LARGEST_STEP:
        raise InputError(f"{name}: expected steps of at most {LARGEST_STEP:g}, found {np.abs(steps).max():g}")
    return Axis(name, steps)


def is_point(axis: Given | None) -> bool:
    """Whether an axis is the base point alone, so that a surface along the other is a line."""
    return isinstance(axis, Axis) and axis.count == 1 and axis.values[0] == 0

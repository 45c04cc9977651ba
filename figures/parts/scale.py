"""From values to heights, their limits, levels and ticks, at a cost that does not grow with the range of the values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.runtime.command import InputError

Floats = NDArray[np.float64]
Extend = Literal["neither", "min", "max", "both"]

LEVELS = 15
MOST_LEVELS = 100
#: relative range below which values are one number up to rounding: some thousand units of double precision
CONSTANT = 1e-12
#: powers of ten beyond which heights are drawn in units of one: products of coordinates overflow in 3D
PLAIN = 15
SMALLEST_POWER = -300  # 10**-324 is 0
EXTENDS: dict[tuple[bool, bool], Extend] = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}
STRIDES = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # decades between ticks; doubles span 632


@dataclass(frozen=True)
class Scale:
    """How the values of a metric become heights, and between which heights they are drawn.

    A height is log10(value) if `log`, else value / 10**power. low < high are heights. extend: on which side values lie
    beyond them, since somebody chose the limits, as matplotlib calls it. count: of levels.
    """

    log: bool
    low: float
    high: float
    power: int = 0
    extend: Extend = "neither"
    count: int = LEVELS

    @property
    def limits(self) -> tuple[float, float]:
        return self.low, self.high

    def heights(self, values: Floats) -> Floats:
        """Values as heights; NaN, so a hole, where a value is not finite or has no logarithm."""
        return _heights(values, self.log, self.power)

    def levels(self) -> Floats:
        """Evenly spaced heights from the lowest to the highest: log-spaced values if `log`."""
        return np.linspace(self.low, self.high, self.count)

    def ticks(self, most: int = 9) -> list[float]:
        """At most so many heights to label (3 or more), of round values: if `log` powers of ten, and between them."""
        found = self._log_ticks(most) if self.log else _round_between(self.low, self.high, most)
        return found or [self.low, self.high]

    def texts(self, ticks: Sequence[float]) -> list[str]:
        """The values of heights, with as many digits as tell them apart and leave each where it is."""
        parts = [self._parts(tick) for tick in ticks]
        gap = min((after - before for before, after in pairwise(ticks)), default=math.inf)
        digits = 1
        while digits < 17 and any(self._moves(mantissa, digits, gap) for mantissa, _ in parts):
            digits += 1
        plain = all(-4 <= _exponent(*part, digits) < max(5, digits) for part in parts)
        return [number_text(*part, digits, plain) for part in parts]

    def _parts(self, height: float) -> tuple[float, int]:
        """The value at a height as (mantissa, power of ten): the value itself may be no double."""
        if not self.log:
            return height, self.power
        power = math.floor(height + 1e-9)
        return 10.0 ** (height - power), power

    def _moves(self, mantissa: float, digits: int, gap: float) -> bool:
        """Whether rounding to so many digits moves a tick by more than a hundredth of the gap to the next."""
        error = abs(float(f"{mantissa:.{digits - 1}e}") - mantissa)
        return error > 0.01 * (mantissa * min(gap * math.log(10), 0.1) if self.log else min(gap, 0.1 * abs(mantissa)))

    def _log_ticks(self, most: int) -> list[float]:
        low, high = self.limits
        powers = range(math.floor(low) - 1, math.ceil(high) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [t for power in powers for factor in factors if low <= (t := power + math.log10(factor)) <= high]
            if 3 <= len(found) <= most:
                return found
        if high - low > 3:
            stride = next(stride for stride in STRIDES if high - low < most * stride)
            return [float(power) for power in powers if power % stride == 0 and low <= power <= high]
        power = math.floor(low)  # taken out: 10**308.3 is no double
        values = _round_between(10 ** (low - power), 10 ** (high - power), most)
        return [height for value in values if low <= (height := math.log10(value) + power) <= high]


def scale_of(
    panels: Sequence[Floats], log: bool, limits: tuple[float, float] | None = None, count: int = LEVELS
) -> Scale:
    """The scale on which all `panels` of values are drawn: limits that hold all finite heights, or `limits` as values.

    Values below 0, or none above 0, have no logarithm: they are drawn as they are, and so is what they are compared
    with. A constant lies in the middle. Without any finite value the limits are 0 and 1. Raises InputError for `limits`
    that are none.
    """
    values = np.concatenate([panel[np.isfinite(panel)] for panel in panels])
    log = log and not (values < 0).any() and bool((values > 0).any() or not values.size)
    ends = values
    if limits is not None:
        check_limits(limits, log)
        ends = np.array(limits, np.float64)
    largest = float(np.abs(ends).max(initial=0))
    power = math.floor(math.log10(largest)) if largest else 0
    power = 0 if log or abs(power) <= PLAIN else max(power, SMALLEST_POWER)
    heights = _heights(ends, log, power)
    heights = heights[np.isfinite(heights)]
    low, high = (float(heights.min()), float(heights.max())) if heights.size else (0.0, 1.0)
    reach = max(abs(low), abs(high), 1.0 if log else 0.0)
    if high - low <= CONSTANT * reach:
        middle, half = (low + high) / 2, 0.5 if log or not reach else 0.5 * reach
        low, high = middle - half, middle + half
    below, above = (bool((values < limits[0]).any()), bool((values > limits[1]).any())) if limits else (False, False)
    return Scale(log, low, high, power, EXTENDS[below, above], count)


def check_limits(limits: tuple[float, float], log: bool) -> None:
    """Raise InputError unless they are two finite values of which the first is lower, above 0 of a logarithm."""
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--limits: expected two finite values, the lower first, found {low:g} {high:g}")
    if log and low <= 0:
        raise InputError(f"--limits: expected values above 0 with --height log, found {low:g}; take --height linear")


def check_levels(count: int) -> None:
    if not 2 <= count <= MOST_LEVELS:
        raise InputError(f"--levels: expected 2 to {MOST_LEVELS}, found {count}")


def _heights(values: Floats, log: bool, power: int) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        result = np.log10(values) if log else values / 10.0**power
    return np.where(np.isfinite(result), result, np.nan)


def _round_between(low: float, high: float, most: int) -> list[float]:
    """At most so many values, and 7, from `low` to `high`, whose distance is 1, 2 or 5 times a power of ten."""
    ticks = MaxNLocator(min(most - 1, 6), steps=[1, 2, 5, 10]).tick_values(low, high)
    inside = [float(tick) + 0.0 for tick in ticks if low <= tick <= high]
    return inside[:: math.ceil(len(inside) / most) or 1]


def _exponent(mantissa: float, power: int, digits: int) -> int:
    """Of mantissa·10**power, written with one figure before the point."""
    return int(f"{mantissa:.{digits - 1}e}".split("e")[1]) + power if mantissa else 0


def number_text(mantissa: float, power: int = 0, digits: int = 4, plain: bool = True) -> str:
    """mantissa·10**power, which need not be a double, to `digits` figures; as a power of ten unless `plain`.

    >>> number_text(1.5), number_text(-2.0, 3), number_text(1.0, 2, plain=False), number_text(7.7, 35, 2, False)
    ('1.5', '−2000', '$10^{2}$', '$7.7\\\\times 10^{35}$')
    """
    exponent = _exponent(mantissa, power, digits)
    if plain or exponent in (0, 1):
        text = f"{float(f'{mantissa:.{digits - 1}e}') * 10.0**power:.{max(digits, exponent + 1)}g}"
        return text.replace("-", "−")
    figures = f"{mantissa:.{digits - 1}e}".split("e")[0]
    figures = figures.rstrip("0").rstrip(".") if "." in figures else figures
    sign, figures = ("-", figures[1:]) if figures.startswith("-") else ("", figures)
    return f"${sign}{'' if figures == '1' else figures + chr(92) + 'times '}10^{{{exponent}}}$"

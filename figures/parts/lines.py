"""Lines (ny = 1, or nx = 1) on one set of axes: the metric against the step, with bands of standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from figures.parts.curves import MOST, line_style
from figures.parts.scale import Scale
from figures.parts.style import COLORS
from figures.parts.surface import axis_label
from landscape.files.grid import Grid

Floats = NDArray[np.float64]
Z95 = 1.959964
BAND = "band: 95% interval, 1.96 standard errors"


@dataclass(frozen=True)
class Curve:
    """A line of one file: values and standard errors (n,) at the steps (n,) along `axis`; hollow where interpolated."""

    name: str
    axis: str
    steps: Floats
    values: Floats
    errors: Floats
    evaluated: NDArray[np.bool_]
    label: str

    def end(self, sign: int) -> Floats:
        """An end of the 95% interval; NaN where no standard error is known."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.values + sign * Z95 * self.errors

    @property
    def panels(self) -> list[Floats]:
        """What a scale must hold: values and upper ends. Not the lower ends: near 0 their logarithm is anything."""
        return [self.values, self.end(1)]


def curve_of(grid: Grid, metric: str, plane: int, name: str) -> Curve:
    """The line of a plane of `grid`, with NaN where a point is not done."""
    axis = "x" if grid.shape[1] == 1 else "y"
    steps = grid.x.values if axis == "x" else grid.y.values
    done = grid.done[plane].ravel()
    values, errors = (np.where(done, of[metric][plane].ravel(), np.nan) for of in (grid.values, grid.stderr))
    return Curve(name, axis, steps, values, errors, grid.evaluated[plane].ravel().astype(bool), axis_label(axis, grid))


def draw_curves(ax: Axes, curves: Sequence[Curve], scale: Scale, metric: str) -> Axes:
    """Draw `curves` over their steps, more than 12 of them thin and without bands; returns `ax`.

    `metric` is the name of the heights. A band bridges interpolated points, which have no standard error, but no hole.
    """
    many = len(curves) > MOST
    for number, curve in enumerate(curves):
        style: dict[str, Any] = {"color": COLORS[0], "linewidth": 0.5, "alpha": 0.6} if many else line_style(number)
        heights = scale.heights(curve.values)
        ax.plot(curve.steps, heights, label=curve.name, **style)
        if many:
            continue
        draw_band(ax, curve, scale, style["color"])
        for shown, face in ((curve.evaluated, style["color"]), (~curve.evaluated, "white")):
            ax.plot(curve.steps[shown], heights[shown], "o", ms=2.2, mfc=face, mec=style["color"], mew=0.5)
    ax.axvline(0, color="0.7", linewidth=0.6, zorder=0)
    margin = 0.05 * (scale.high - scale.low)
    ax.set_ylim(scale.low - margin, scale.high + margin)
    ax.set_yticks(ticks := scale.ticks(), scale.texts(ticks))
    ax.minorticks_off()
    ax.set(xlabel=curves[0].label, ylabel=f"{metric}, log scale" if scale.log else metric)
    ax.grid(alpha=0.3, linewidth=0.4)
    return ax


def draw_band(ax: Axes, curve: Curve, scale: Scale, color: str) -> Axes:
    """Fill between the ends of the intervals, to the bottom where the lower one has no logarithm; returns `ax`."""
    known = np.isfinite(curve.values)
    upper, lower = scale.heights(curve.end(1)), scale.heights(curve.end(-1))
    bottom = 2 * scale.low - scale.high  # below the axes
    lower = np.where(np.isnan(lower) & ~np.isnan(upper), bottom, lower)
    run = np.cumsum(~known)
    for number in np.unique(run[known]):
        inside = known & (run == number) & ~np.isnan(upper)
        ax.fill_between(curve.steps[inside], lower[inside], upper[inside], color=color, alpha=0.2, linewidth=0)
    return ax


def has_band(curves: Sequence[Curve]) -> bool:
    """Whether a band is drawn of any of them."""
    return len(curves) <= MOST and any(np.isfinite(curve.end(1)).any() for curve in curves)

"""One surface on one set of axes: in three dimensions with its projection, or as a contour map."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from figures.parts.captions import plane_meta
from figures.parts.paths import draw_paths
from figures.parts.style import MAP, heights
from landscape.files.grid import Axis, Grid
from training.runtime.command import InputError

LEVELS = 15


def plane_of(grid: Grid, metric: str, plane: int, source: str) -> NDArray[np.float64]:
    """The (ny, nx) values of `metric`, NaN where not done; InputError if the file has no such metric, plane or area."""
    if metric not in grid.values:
        raise InputError(f"{source}: expected metric {metric!r}, found {', '.join(grid.values)}")
    planes, ny, nx = grid.shape
    if not 0 <= plane < planes:
        raise InputError(f"{source}: expected --plane from 0 to {planes - 1}, found {plane}")
    if ny < 2 or nx < 2:
        raise InputError(f"{source}: expected a plane of at least 2×2 points, found {ny}×{nx}; compute it with --y")
    return np.where(grid.done[plane], grid.values[metric][plane], np.nan)


def complete_part(grid: Grid) -> Grid:
    """The finest evenly spaced rows and columns at which a surface that is still computed is complete.

    Points arrive coarse to fine, so this is a picture without holes and without invented values. A finished surface is
    returned as it is, and so is one that has no complete part yet.
    """
    _, ny, nx = grid.shape
    for stride in (2**k for k in range((max(ny, nx) - 1).bit_length())):
        rows, columns = (np.union1d(np.arange(0, n, stride), n - 1) for n in (ny, nx))
        part = np.ix_(np.arange(grid.shape[0]), rows, columns)
        if grid.done[part].all():
            return replace(
                grid,
                x=Axis("x", grid.x.values[columns]),
                y=Axis("y", grid.y.values[rows]),
                values={name: values[part] for name, values in grid.values.items()},
                stderr={name: values[part] for name, values in grid.stderr.items()},
                done=grid.done[part],
                evaluated=grid.evaluated[part],
            )
    return grid


def is_log(grid: Grid, metric: str, height: str) -> bool:
    """Whether to draw `metric` by its logarithm: if asked for, and not of a metric that has none, such as AUROC."""
    return height == "log" and grid.meta["metrics"][metric]["transform"] == "log"


def levels_of(limits: tuple[float, float]) -> NDArray[np.float64]:
    return np.linspace(*limits, LEVELS)


def draw_surface(ax: Any, grid: Grid, values: NDArray[np.float64], log: bool, limits: tuple[float, float]) -> Any:
    """Draw `values` as a 3D surface over its contour projection on the floor of `ax` (3D axes); returns `ax`."""
    x, y = np.meshgrid(grid.x.values, grid.y.values)
    z = heights(values, log)
    low, high = limits
    floor = low - 0.45 * (high - low)
    style = {"cmap": MAP, "vmin": low, "vmax": high}
    ax.plot_surface(x, y, z, rcount=60, ccount=60, linewidth=0, antialiased=False, **style)
    ax.contourf(x, y, np.ma.masked_invalid(z), zdir="z", offset=floor, levels=levels_of(limits), alpha=0.9, **style)
    ax.set(xlabel=axis_label("x", grid), ylabel=axis_label("y", grid), zlim=(floor, high))
    # Below the surface's lowest point the height axis only holds the projection, so no ticks there.
    ax.set_zticks(ticks := ticks_of(limits, log), [tick_text(tick, log) for tick in ticks])
    ax.tick_params(pad=-2)
    ax.xaxis.labelpad = ax.yaxis.labelpad = -3
    ax.view_init(elev=24, azim=-55)
    ax.set_box_aspect((1, 1, 0.85), zoom=1.0)
    return ax


def draw_contours(
    ax: Axes,
    grid: Grid,
    values: NDArray[np.float64],
    log: bool,
    limits: tuple[float, float],
    until: int | None = None,
) -> QuadContourSet:
    """Draw `values` as filled contours with lines at shared levels, a cross at the model; returns the filled set.

    Trajectories and marks in the file are drawn over them, `until` so many models of each.
    """
    z = np.ma.masked_invalid(heights(values, log))
    where = (grid.x.values, grid.y.values)
    filled = ax.contourf(*where, z, levels=levels_of(limits), cmap=MAP)
    ax.contour(*where, z, levels=levels_of(limits), colors="white", linewidths=0.3, alpha=0.6)
    ax.plot(0, 0, marker="+", color="white", markersize=6)
    draw_paths(ax, grid, until)
    ax.set(xlabel=axis_label("x", grid), ylabel=axis_label("y", grid), xlim=where[0][[0, -1]], ylim=where[1][[0, -1]])
    ax.set_facecolor("0.85")  # holes: not done, or diverged
    ax.set_aspect("equal")
    return filled


def color_ticks(bar: Any, limits: tuple[float, float], log: bool) -> None:
    """Label a colour bar of heights with the values themselves."""
    bar.set_ticks(ticks := ticks_of(limits, log), labels=[tick_text(tick, log) for tick in ticks])


def ticks_of(limits: tuple[float, float], log: bool) -> list[float]:
    """Heights to label: of round values, of 1, 2 and 5 times powers of ten if `log` and the range is wide enough."""
    low, high = limits
    round_values = [
        height
        for power in range(math.floor(low) - 1, math.ceil(high) + 1)
        for digit in (1, 2, 5)
        if low <= (height := power + math.log10(digit)) <= high
    ]
    if log and 3 <= len(round_values) <= 12:
        return round_values
    if log and len(round_values) < 3:  # a narrow range: round values of another spacing
        values = [
            float(value) for value in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(10**low, 10**high) if value > 0
        ]
        return [height for value in values if low <= (height := math.log10(value)) <= high]
    return [float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]


def tick_text(height: float, log: bool) -> str:
    return f"{10**height:.4g}" if log else f"{height:.4g}"


def axis_label(name: str, grid: Grid | None = None) -> str:
    """The label of an axis, with its unit: by the kind of plane that the file states, else of random directions."""
    plane = plane_meta(grid) if grid else {}
    number = "xy".index(name)
    match plane.get("kind"):
        case "between":
            names = [model["name"] for model in plane["models"] if model["axis"] == name]
            return f"{name} (0: the model, 1: {names[0]})" if names else name
        case "trajectory":
            return f"PC {number + 1} ({plane['explained_variance'][number]:.1%} of variance)"
        case "eigenvectors":
            values = plane["eigenvalues"]
            return f"{name} (eigenvector of {values[number]:.3g})" if number < len(values) else name
        case "saved":
            return f"{name} (step / saved direction)"
    return f"{name} (step / filter norm)"

"""One surface on one set of axes: in three dimensions with its projection, or as a contour map."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from figures.parts.captions import plane_meta
from figures.parts.paths import draw_paths
from figures.parts.scale import LEVELS, Scale, scale_of
from figures.parts.style import MAP
from landscape.files.grid import Axis, Grid
from training.runtime.command import InputError

STRETCHED = 3  # beyond this ratio of its sides a map with equal steps is a strip in which nothing can be read
BRIGHT = 0.6  # share of the map's range above which lines on it are dark
EDGE, APART = 0.07, 0.15  # shares of a map's side that labels of lines are from its edge and from each other
CANDIDATES = 200  # points of a line at which its label is tried


def plane_of(grid: Grid, metric: str, plane: int, source: str) -> NDArray[np.float64]:
    """The (ny, nx) values of `metric`, NaN where not done; InputError if the file has no such metric, plane or area."""
    values = values_of(grid, metric, plane, source)
    if is_line(grid):
        ny, nx = values.shape
        raise InputError(
            f"{source}: expected a plane of at least 2×2 points, found {ny}×{nx}; compute it with --y, or draw the "
            "line with figures.surface"
        )
    return values


def values_of(grid: Grid, metric: str, plane: int, source: str) -> NDArray[np.float64]:
    """The (ny, nx) values of `metric`, of a plane or a line, NaN where not done; InputError if there are none."""
    if metric not in grid.values:
        raise InputError(f"{source}: expected metric {metric!r}, found {', '.join(grid.values)}")
    planes = grid.shape[0]
    if not 0 <= plane < planes:
        raise InputError(f"{source}: expected --plane from 0 to {planes - 1}, found {plane}")
    return np.where(grid.done[plane], grid.values[metric][plane], np.nan)


def is_line(grid: Grid) -> bool:
    """Whether the file holds lines, or points, instead of planes."""
    return min(grid.shape[1:]) == 1


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


def planes_part(grid: Grid, planes: Sequence[int]) -> Grid:
    """Some planes of a grid. Trajectories and marks lie on the first, and stay with it."""
    chosen = list(planes)
    return replace(
        grid,
        values={name: values[chosen] for name, values in grid.values.items()},
        stderr={name: values[chosen] for name, values in grid.stderr.items()},
        done=grid.done[chosen],
        evaluated=grid.evaluated[chosen],
        paths=grid.paths if 0 in chosen else {},
    )


def is_log(grid: Grid, metric: str, height: str) -> bool:
    """Whether to draw `metric` by its logarithm: if asked for, and not of a metric that has none, such as AUROC."""
    return height == "log" and grid.meta["metrics"][metric]["transform"] == "log"


def scale_for(
    grids: Sequence[Grid],
    metric: str,
    panels: Sequence[NDArray[np.float64]],
    height: str = "log",
    limits: tuple[float, float] | None = None,
    count: int = LEVELS,
) -> Scale:
    """The scale that `panels` of values of `metric`, of `grids`, share."""
    return scale_of(panels, all(is_log(grid, metric, height) for grid in grids), limits, count)


def draw_pair(
    figure: Figure | SubFigure,
    cells: tuple[SubplotSpec, SubplotSpec],
    grid: Grid,
    values: NDArray[np.float64],
    scale: Scale,
    name: str,
) -> tuple[Any, Axes]:
    """Draw `values` in 3D in the left cell and as a contour map in the right one; returns both axes.

    `name` is that of the metric, on the colour bar.
    """
    solid, flat = figure.add_subplot(cells[0], projection="3d"), figure.add_subplot(cells[1])
    draw_surface(solid, grid, values, scale)
    filled = draw_contours(flat, grid, values, scale)
    draw_bar(figure, flat, filled, scale, name)
    return solid, flat


def draw_surface(ax: Any, grid: Grid, values: NDArray[np.float64], scale: Scale) -> Any:
    """Draw `values` as a 3D surface over its contour projection on the floor of `ax` (3D axes); returns `ax`.

    Heights beyond the scale, of limits that were chosen, are cut off flat. A point in no complete cell is a dot.
    """
    x, y = np.meshgrid(grid.x.values, grid.y.values)
    z = np.clip(scale.heights(values), *scale.limits)
    low, high = scale.limits
    floor = low - 0.45 * (high - low)
    style: dict[str, Any] = {"cmap": MAP, "vmin": low, "vmax": high}
    if has_cell(z):
        ax.plot_surface(x, y, z, rcount=60, ccount=60, linewidth=0, antialiased=False, **style)
        levels = scale.levels()
        ax.contourf(x, y, np.ma.masked_invalid(z), zdir="z", offset=floor, levels=levels, alpha=0.9, **style)
    loose = loose_points(z)
    ax.scatter(x[loose], y[loose], z[loose], c=z[loose], s=4, depthshade=False, **style)
    ax.set(xlabel=axis_label("x", grid), ylabel=axis_label("y", grid), zlim=(floor, high))
    ax.set(xlim=grid.x.values[[0, -1]], ylim=grid.y.values[[0, -1]])
    # Below the surface's lowest point the height axis only holds the projection, so no ticks there.
    ax.set_zticks(ticks := scale.ticks(most=6), texts := scale.texts(ticks))
    ax.tick_params(pad=-2)
    ax.tick_params(axis="z", pad=max(-2, max(len(re.sub(r"[${}^]|\\times", "", text)) for text in texts) - 4))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    low, high = grid.y.values[[0, -1]]
    sides = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    ax.set_yticks([t for t in sides if low + 0.05 * (high - low) < t <= high])  # x ends in the corner where y begins
    ax.xaxis.labelpad = ax.yaxis.labelpad = -3
    ax.view_init(elev=24, azim=-55)
    ax.set_box_aspect((1, 1, 0.85), zoom=1.0)
    return ax


def draw_contours(
    ax: Axes, grid: Grid, values: NDArray[np.float64], scale: Scale, labelled: bool = True
) -> QuadContourSet:
    """Draw `values` as contours filled at shared levels, lines at round values, a cross at the model; returns the fill.

    Trajectories and marks in the file are drawn over them. A point in no complete cell is a dot. labelled: whether the
    lines are, which is no use where other numbers stand on the map.
    """
    z = scale.heights(values)
    x, y = grid.x.values, grid.y.values
    style: dict[str, Any] = {"cmap": MAP, "vmin": scale.low, "vmax": scale.high}
    filled = ax.contourf(x, y, np.ma.masked_invalid(z), levels=scale.levels(), extend=scale.extend, **style)
    draw_lines(ax, x, y, z, scale, labelled)
    loose = loose_points(z)
    across, up = np.meshgrid(x, y)
    ax.scatter(across[loose], up[loose], c=z[loose], s=4, **style)
    if x[0] <= 0 <= x[-1] and y[0] <= 0 <= y[-1]:
        ax.plot(0, 0, marker="+", color="white", markersize=6)
    draw_paths(ax, grid)
    ax.set(xlabel=axis_label("x", grid), ylabel=axis_label("y", grid), xlim=x[[0, -1]], ylim=y[[0, -1]])
    ax.set_facecolor("0.85")  # holes: not done, or diverged
    ax.locator_params(nbins=6)
    width, tall = np.ptp(x), np.ptp(y)
    if max(width, tall) <= STRETCHED * min(width, tall):
        ax.set_aspect("equal")
    else:
        ax.set_box_aspect(1)
    return filled


def draw_lines(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    scale: Scale,
    labelled: bool = True,
) -> Axes:
    """Draw the contours of round values among heights `z`, and label them if `labelled`; returns `ax`."""
    finite = z[np.isfinite(z)]
    ticks = scale.ticks()
    texts = dict(zip(ticks, scale.texts(ticks), strict=True))
    inside = [tick for tick in ticks if has_cell(z) and finite.min() < tick < finite.max()]
    if inside:
        dark = scale.low + BRIGHT * (scale.high - scale.low)
        style: dict[str, Any] = {"colors": ["black" if tick > dark else "white" for tick in inside]}
        lines = ax.contour(x, y, np.ma.masked_invalid(z), inside, linewidths=0.5, linestyles="solid", **style)
        if labelled and (places := label_places([path.vertices for path in lines.get_paths()], x, y)):
            ax.clabel(lines, fmt=texts, fontsize=6, inline_spacing=2, manual=places)
    return ax


def label_places(lines: Sequence[Any], x: NDArray[np.float64], y: NDArray[np.float64]) -> list[tuple[float, float]]:
    """At most one point on each of `lines`, arrays of (x, y), for its label: off the edge and off other labels."""
    low, size = np.array([x[0], y[0]]), np.array([np.ptp(x), np.ptp(y)])
    taken = np.empty((0, 2))
    for line in lines:
        points = (np.asarray(line, np.float64)[:: 1 + len(line) // CANDIDATES] - low) / size
        if not len(points):
            continue
        edge = np.minimum(points, 1 - points).min(axis=1)
        others = np.linalg.norm(points[:, None] - taken, axis=2).min(axis=1, initial=1)
        best = np.argmax(np.minimum(np.minimum(edge / EDGE, others / APART), 2))
        if edge[best] >= EDGE and others[best] >= APART:
            taken = np.vstack([taken, points[best]])
    return [(float(a), float(b)) for a, b in taken * size + low]


def has_cell(z: NDArray[np.float64]) -> bool:
    """Whether four neighbouring heights are known, so that there is an area to draw."""
    known = np.isfinite(z)
    return bool((known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]).any())


def loose_points(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which known heights (ny, nx) no complete cell of the grid joins: no surface goes through them."""
    known = np.isfinite(z)
    cell = known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]
    joined = np.zeros_like(known)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            joined[rows, columns] |= cell
    return known & ~joined


def draw_bar(
    figure: Figure | SubFigure,
    ax: Any,
    filled: QuadContourSet,
    scale: Scale,
    name: str = "",
    fraction: float = 0.046,
    pad: float = 0.03,
) -> Any:
    """The colour bar of heights beside `ax`, labelled with the values themselves; returns it."""
    text = f"{name}, log-spaced levels" if name and scale.log else name
    bar = figure.colorbar(filled, ax=ax, fraction=fraction, pad=pad)
    bar.set_label(text, fontsize=7)
    bar.set_ticks(ticks := scale.ticks(), labels=scale.texts(ticks))
    bar.minorticks_off()
    return bar


def axis_label(name: str, grid: Grid | None = None) -> str:
    """The label of an axis, with its unit: by the kind of plane that the file states, else of random directions."""
    if grid and grid.meta.get("identity", {}).get("converted"):
        return f"{name} (step)"  # of directions that nobody knows
    plane = plane_meta(grid) if grid else {}
    number = "xy".index(name)
    match plane.get("kind"):
        case "between":
            names = [model["name"] for model in plane.get("models", []) if model["axis"] == name]
            return f"{name} (0: the model, 1: {names[0]})" if names else name
        case "trajectory" if len(plane.get("explained_variance", [])) > number:
            return f"PC {number + 1} ({plane['explained_variance'][number]:.1%} of variance)"
        case "eigenvectors":
            values = plane.get("eigenvalues", [])
            return f"{name} (eigenvector of {values[number]:.3g})" if number < len(values) else name
        case "saved":
            return f"{name} (step / saved direction)"
    return f"{name} (step / filter norm)"

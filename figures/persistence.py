"""`python -m figures.persistence`: the basins of a surface, on its contour map and as a persistence diagram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.topology import Feature, features_of, surface_of
from figures.parts.captions import metric_text
from figures.parts.scale import Scale
from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from figures.parts.surface import draw_bar, draw_contours, plane_of, scale_for
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw the persistence diagram of a surface's sublevel sets beside its contour map, its basins marked.

Example: python -m figures.persistence surface.h5 --metric l2 --out persistence.pdf

Filled marks stand for more than noise; hollow ones lie within --sigmas standard errors of the diagonal, or their
standard error is not known. What never dies is on the dashed line."""

KINDS = {0: ("basin", "o", COLORS[1]), 1: ("hill", "^", COLORS[0])}
NUMBERED = 9  # basins at most; those beyond noise, as a noisy surface has hundreds


@dataclass(frozen=True)
class Arguments:
    surface: Annotated[Path, tyro.conf.Positional]
    """A grid file, complete."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    metric: str = ""
    """Which metric; default: the file's first."""
    plane: int = 0
    """Which plane of the file."""
    height: Literal["log", "linear"] = "log"
    """Scale of the contours and of the diagram."""
    sigmas: float = 2.0
    """Standard errors of a difference below which it may be noise."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.persistence", DESCRIPTION)
    if not (math.isfinite(arguments.sigmas) and arguments.sigmas >= 0):
        raise InputError(f"--sigmas: expected a number of at least 0, found {arguments.sigmas:g}")
    check_out(arguments.out)
    use_style()
    grid = read_grid(arguments.surface)
    metric = arguments.metric or next(iter(grid.values))
    source = str(arguments.surface)
    values = surface_of(grid, metric, arguments.plane, source)
    plane_of(grid, metric, arguments.plane, source)  # a line has no contours
    features = features_of(grid, metric, arguments.plane, values, arguments.sigmas)
    save(draw(grid, metric, arguments.plane, features, arguments.height), arguments.out)
    print(arguments.out)


def draw(grid: Grid, metric: str, plane: int, features: list[Feature], height: str = "log") -> Figure:
    """The figure: contours with numbered minima on the left, births and deaths on the right."""
    values = grid.values[metric][plane]
    positive = bool((values[np.isfinite(values)] > 0).all())  # else a basin may have no place in the diagram
    scale = scale_for([grid], metric, [values], height if positive else "linear")
    figure = Figure(figsize=(PAGE, 3.1))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.15, 1), "wspace": 0.6})
    filled = draw_contours(left, grid, values, scale, labelled=False)
    draw_bar(figure, left, filled, scale, metric_text([grid], metric))
    mark_basins(left, features)
    draw_diagram(right, features, scale)
    right.set(xlabel=f"birth: {label(metric)} at the minimum", ylabel=f"death: {label(metric)} at the pass")
    return figure


def mark_basins(ax: Axes, features: list[Feature]) -> Axes:
    """Mark the minima of basins, filled and numbered where they are more than noise; returns `ax`."""
    _, marker, color = KINDS[0]
    for basin in (feature for feature in features if feature.dimension == 0):
        face, edge = (color, "white") if basin.significant else ("none", color)
        ax.plot(basin.x, basin.y, marker, ms=5, mfc=face, mec=edge, mew=0.6, clip_on=False)
    for number, basin in numbered(features):
        write_beside(ax, number, (basin.x, basin.y), "white")
    return ax


def numbered(features: list[Feature]) -> list[tuple[int, Feature]]:
    """The most persistent basins beyond noise, counted from 1."""
    sure = [feature for feature in features if feature.dimension == 0 and feature.significant]
    return list(enumerate(sure[:NUMBERED], 1))


def write_beside(ax: Axes, number: int, place: tuple[float, float], color: str) -> None:
    ax.annotate(str(number), place, textcoords="offset points", xytext=(4, 3), fontsize=7, color=color)


def draw_diagram(ax: Axes, features: list[Feature], scale: Scale) -> Axes:
    """Draw births against deaths as heights; what never dies lies on a line above all; returns `ax`."""
    low, high = scale.limits
    never = high + 0.08 * (high - low)

    def place(feature: Feature) -> tuple[float, float]:
        birth, death = scale.heights(np.array([feature.birth, feature.death]))
        return float(birth), float(death) if math.isfinite(feature.death) else never

    ax.plot(scale.limits, scale.limits, color="0.6", linewidth=0.8)
    ax.axhline(never, color="0.6", linewidth=0.8, linestyle="--")
    ax.text(1.02, never, "never", transform=ax.get_yaxis_transform(), va="center", fontsize=7)
    for (dimension, (name, marker, color)), sure in product(KINDS.items(), (False, True)):
        shown = [f for f in features if f.dimension == dimension and bool(f.significant) == sure]
        if shown:
            text = f"{len(shown)} {name}{'s' * (len(shown) > 1)}" + ("" if sure else ", within noise")
            births, deaths = zip(*map(place, shown), strict=True)
            face = color if sure else "none"
            ax.scatter(births, deaths, s=22, marker=marker, facecolors=face, edgecolors=color, label=text, zorder=3)
    for number, basin in numbered(features):
        write_beside(ax, number, place(basin), "black")
    ticks = scale.ticks()
    ax.set_xticks(ticks, texts := scale.texts(ticks))
    ax.set_yticks(ticks, texts)
    ax.legend(loc="lower right", fontsize=6, handletextpad=0.1, borderpad=0.3)  # below the diagonal lies nothing
    return ax


if __name__ == "__main__":
    raise SystemExit(command(main)())

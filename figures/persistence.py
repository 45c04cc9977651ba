"""`python -m figures.persistence`: the basins of a surface, on its contour map and as a persistence diagram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.topology import Feature, features_of, surface_of
from figures.captions import metric_text
from figures.style import COLORS, PAGE, check_out, heights, label, save, shared_limits, use_style
from figures.surface import color_ticks, draw_contours, is_log, plane_of
from landscape.grid import Grid, read_grid
from training.command import InputError, command, parse

DESCRIPTION = """Draw the persistence diagram of a surface's sublevel sets beside its contour map, its basins marked.

Example: python -m figures.persistence surface.h5 --metric l2 --out persistence.pdf

Filled marks stand for more than noise, hollow ones lie within --sigmas standard errors of the diagonal, or have none."""

KINDS = {0: ("basin", "o", COLORS[1]), 1: ("hill", "^", COLORS[0])}
NAMED = 9  # basins that are numbered; a noisy surface has hundreds


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
    log = is_log(grid, metric, height) and bool((values[np.isfinite(values)] > 0).all())
    limits = shared_limits([heights(values, log)])
    figure = Figure(figsize=(PAGE, 3.1))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.15, 1), "wspace": 0.45})
    filled = draw_contours(left, grid, values, log, limits)
    name = metric_text([grid], metric)
    color_ticks(figure.colorbar(filled, ax=left, fraction=0.046, pad=0.03, label=name), limits, log)
    mark_basins(left, features)
    draw_diagram(right, features, float(np.max(values[np.isfinite(values)])), log)
    right.set(xlabel=f"birth: {label(metric)} at the minimum", ylabel=f"death: {label(metric)} at the pass")
    return figure


def mark_basins(ax: Axes, features: list[Feature]) -> Axes:
    """Mark the minima of basins, filled where they are more than noise, and number the first of them; returns `ax`."""
    _, marker, color = KINDS[0]
    for number, basin in enumerate((feature for feature in features if feature.dimension == 0), 1):
        face = color if basin.significant else "none"
        style = {"markeredgecolor": "white" if basin.significant else color, "markeredgewidth": 0.6}
        ax.plot(basin.x, basin.y, marker, markersize=5, markerfacecolor=face, clip_on=False, **style)
        if number <= NAMED:
            around = {"textcoords": "offset points", "xytext": (4, 3), "fontsize": 7, "fontweight": "bold"}
            ax.annotate(str(number), (basin.x, basin.y), color="white", **around)
    return ax


def draw_diagram(ax: Axes, features: list[Feature], highest: float, log: bool) -> Axes:
    """Draw births against deaths; what never dies lies on a line above `highest`, the largest value; returns `ax`."""
    lowest = min(feature.birth for feature in features)
    reach = math.log(highest / lowest) if log else highest - lowest
    above = highest * math.exp(0.08 * reach) if log else highest + 0.08 * reach
    if log:
        ax.set(xscale="log", yscale="log")
    ax.plot((lowest, highest), (lowest, highest), color="0.6", linewidth=0.8)
    ax.axhline(above, color="0.6", linewidth=0.8, linestyle="--")
    ax.text(1.02, above, "never", transform=ax.get_yaxis_transform(), va="center", fontsize=7)
    for dimension, (name, marker, color) in KINDS.items():
        own = [feature for feature in features if feature.dimension == dimension]
        for sure in (True, False):
            shown = [feature for feature in own if bool(feature.significant) == sure]
            if shown:
                deaths = [min(feature.death, above) for feature in shown]
                text = f"{len(shown)} {name}{'s' * (len(shown) > 1)}" + ("" if sure else ", within noise")
                face = color if sure else "none"
                ax.scatter(
                    [feature.birth for feature in shown],
                    deaths,
                    s=22,
                    marker=marker,
                    facecolors=face,
                    edgecolors=color,
                    label=text,
                    clip_on=False,
                    zorder=3,
                )
        if dimension == 0:
            for number, basin in enumerate(own[:NAMED], 1):
                place = (basin.birth, min(basin.death, above))
                ax.annotate(str(number), place, textcoords="offset points", xytext=(4, 3), fontsize=7)
    ax.legend(loc="lower right")
    return ax


if __name__ == "__main__":
    raise SystemExit(command(main)())

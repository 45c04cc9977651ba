"""Trajectories and other models on a contour map."""

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from figures.style import COLORS
from landscape.grid import Grid, Track

OUTLINE = "black"
#: readable on all of the map: white for the first, then light colours that differ without colour vision too
PATH_COLORS = ("white", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", COLORS[1])
MARKS = ("o", "s", "D", "^", "v", "P")


def draw_paths(ax: Axes, grid: Grid, until: int | None = None) -> None:
    """Draw the paths of `grid`: a line from an open circle, the start, to a star, the end; a lone model as a mark.

    until: only so many models of each, for animations. With more than the trajectory itself, a legend names them.
    """
    for number, (name, track) in enumerate(grid.paths.items()):
        draw_path(ax, track, name, number, until)
    if grid.paths:
        ax.legend(loc="upper left", framealpha=0.85, handlelength=1.4, borderpad=0.4, fontsize=6)


def draw_path(ax: Axes, track: Track, name: str, number: int, until: int | None = None) -> None:
    """One path, or one model, in the colour of its number."""
    color = PATH_COLORS[number % len(PATH_COLORS)]
    x, y = track.coordinates[:until].T
    edge: dict[str, Any] = {"markeredgecolor": OUTLINE, "markeredgewidth": 0.6, "linestyle": "none", "zorder": 5}
    if len(track.coordinates) == 1:
        ax.plot(x, y, marker=MARKS[number % len(MARKS)], color=color, markersize=5, label=name, **edge)
        return
    halo = [patheffects.Stroke(linewidth=2.2, foreground=OUTLINE), patheffects.Normal()]
    ax.plot(x, y, color=color, linewidth=1.2, marker=".", markersize=3, label=name, path_effects=halo, zorder=4)
    start, end = ends_text(track)
    ax.plot(x[:1], y[:1], marker="o", markersize=6, color=color, label=start, **edge)
    ax.plot(x[-1:], y[-1:], marker="*", markersize=9, color=color, label=end, **edge)


def ends_text(track: Track) -> tuple[str, str]:
    """What the legend calls a path's ends, with their updates if these are known."""
    known = np.isfinite(track.updates[[0, -1]]).all()
    start, end = (f" ({updates:.0f} updates)" if known else "" for updates in track.updates[[0, -1]])
    return f"start{start}", f"end{end}"

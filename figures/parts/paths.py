"""Trajectories and other models on a contour map."""

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from figures.parts.style import COLORS
from landscape.files.grid import Grid, Track

OUTLINE = "black"
#: readable on all of the map: white for the first, then light colours that differ without colour vision too
PATH_COLORS = ("white", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", COLORS[1])
MARKS = ("o", "s", "D", "^", "v", "P")


def draw_paths(ax: Axes, grid: Grid, until: int | None = None) -> None:
    """Draw the paths of `grid`: a line from a circle, the start, to a star, the end; a lone model as a mark.

    until: only so many models of each, for animations.
    """
    for number, (name, track) in enumerate(grid.paths.items()):
        draw_path(ax, track, name, number, until)


def draw_path(ax: Axes, track: Track, name: str, number: int, until: int | None = None) -> None:
    """One path, or one model, in the colour of its number."""
    color = PATH_COLORS[number % len(PATH_COLORS)]
    x, y = track.coordinates[:until].T
    edge: dict[str, Any] = {"markeredgecolor": OUTLINE, "markeredgewidth": 0.6, "linestyle": "none", "zorder": 5}
    if len(track.coordinates) == 1:
        ax.plot(x, y, marker=MARKS[number % len(MARKS)], color=color, markersize=5, label=name, **edge)
        halo = [patheffects.withStroke(linewidth=1.5, foreground=OUTLINE)]
        where: dict[str, Any] = {"xytext": (5, 4), "textcoords": "offset points", "annotation_clip": True}
        ax.annotate(name, (x[0], y[0]), fontsize=6, color="white", path_effects=halo, zorder=6, **where)
        return
    outline = [patheffects.Stroke(linewidth=2.2, foreground=OUTLINE), patheffects.Normal()]
    ax.plot(x, y, color=color, linewidth=1.2, label=name, path_effects=outline, zorder=4)
    ax.plot(x, y, marker="o", color=color, markersize=2.5, **edge)
    start, end = ends_text(track, len(x))
    ax.plot(x[:1], y[:1], marker="o", markersize=6, color=color, label=start, **edge)
    ax.plot(x[-1:], y[-1:], marker="*", markersize=9, color=color, label=end, **edge)


def ends_text(track: Track, shown: int) -> tuple[str, str]:
    """What the legend calls the ends of a path of which `shown` models are drawn, with their updates if known."""
    updates = track.updates[[0, shown - 1]]
    first, last = (f" ({value:.0f} updates)" if np.isfinite(value) else "" for value in updates)
    return f"start{first}", f"{'end' if shown == len(track.updates) else 'now'}{last}"


def path_legend(ax: Axes) -> None:
    """Name the paths above the map, where the legend covers none of them."""
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, handlelength=1.6, borderpad=0.2)

"""`python -m figures.trajectory`: one contour map with the training trajectory and other models on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from matplotlib.figure import Figure

from figures.parts.captions import metric_text, plane_meta, score_text
from figures.parts.paths import path_legend
from figures.parts.scale import LEVELS, check_levels
from figures.parts.style import PAGE, check_out, save, use_style
from figures.parts.surface import complete_part, draw_bar, draw_contours, plane_of, scale_for
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw a surface as contours with the training trajectory, or the models marked, on it.

Example: python -m landscape.surface --ckpt runs/a/checkpoint.pt --trajectory runs/a/trajectory --out path.h5
         python -m figures.trajectory path.h5 --out path.png

The axes state how much of the trajectory's variance they explain; the caption how far models are from the plane."""


@dataclass(frozen=True)
class Arguments:
    surface: Annotated[Path, tyro.conf.Positional]
    """A grid file with a trajectory or marks."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    metric: str = ""
    """Which metric; the first in the file if none is named."""
    height: Literal["log", "linear"] = "log"
    """Scale of the levels."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value drawn; default: what holds all."""
    levels: int = LEVELS
    """Number of levels between the regions, from 2 to 100."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.trajectory", DESCRIPTION)
    check_levels(arguments.levels)
    check_out(arguments.out)
    use_style()
    grid = complete_part(read_grid(arguments.surface))
    options = (arguments.metric, arguments.height, arguments.limits, arguments.levels)
    save(draw(grid, str(arguments.surface), *options), arguments.out)
    print(arguments.out)


def draw(
    grid: Grid,
    source: str,
    metric: str = "",
    height: str = "log",
    limits: tuple[float, float] | None = None,
    levels: int = LEVELS,
) -> Figure:
    """The figure of one grid: contours, paths, colour bar, and below them scores and distances from the plane.

    Raises InputError if the file has neither trajectory nor marks.
    """
    check_paths(grid, source)
    metric = metric or next(iter(grid.values))
    values = plane_of(grid, metric, 0, source)
    scale = scale_for([grid], metric, [values], height, limits, levels)
    figure = Figure(figsize=(0.75 * PAGE, 0.62 * PAGE), layout="compressed")
    ax = figure.subplots()
    filled = draw_contours(ax, grid, values, scale)
    if shares := plane_meta(grid).get("explained_variance"):
        x, y = (f"principal component {i + 1} ({share:.1%} of variance)" for i, share in enumerate(shares))
        ax.set(xlabel=x, ylabel=y)
    path_legend(ax)
    draw_bar(figure, ax, filled, scale, metric_text([grid], metric))
    figure.supxlabel("\n".join(text for text in (score_text(grid), *distance_texts(grid)) if text), fontsize=7)
    return figure


def distance_texts(grid: Grid) -> list[str]:
    """How far the models drawn are from the plane, line by line: what the projection hides."""
    parts = [
        f"{name} {'up to ' if len(track.distance) > 1 else ''}{track.distance.max():.3g}"
        for name, track in grid.paths.items()
    ]
    lines = [", ".join(parts[i : i + 4]) for i in range(0, len(parts), 4)]
    return [f"Distance from the plane, whose loss is drawn: {lines[0]}", *lines[1:]]


def check_paths(grid: Grid, source: str) -> None:
    """Raise InputError if there is no path to draw."""
    if not grid.paths:
        raise InputError(
            f"{source}: expected a surface with a trajectory or marks, found none; compute it with --trajectory, or "
            "draw the surface alone with figures.surface"
        )


if __name__ == "__main__":
    raise SystemExit(command(main)())

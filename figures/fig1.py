"""`python -m figures.fig1`: surfaces or lines of models, 3D above their projection, as in the paper's Fig. 1."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from matplotlib.figure import Figure

from figures.parts.captions import chosen_metric, definition_of, differences, metric_text
from figures.parts.rows import draw_rows, draw_together, panels_of, row_of
from figures.parts.scale import LEVELS, check_levels
from figures.parts.style import check_out, save, use_style
from figures.parts.surface import scale_for
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw the surfaces, or the lines, of one or more models under one metric, with shared levels and limits.

Example: python -m figures.fig1 runs/a/surface.h5 runs/b/surface.h5 --metric l2 --out fig1.png

Under each model stands its AUROC, or accuracy, with its 95% interval. Metrics whose definitions differ between the
models (own) have no common unit: their panels keep their own limits. Lines of one metric share their axes."""


LONGEST_WAIT = 86_400  # seconds


@dataclass(frozen=True)
class Arguments:
    surfaces: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or more grid files."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    metric: str = ""
    """Which metric: a common one such as l2, or own, the loss as each model was trained; default: l2, or else the
    first that all files have."""
    height: Literal["log", "linear"] = "log"
    """Scale of the height."""
    plane: int = 0
    """Which plane of each file."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value drawn; default: what holds all."""
    levels: int = LEVELS
    """Number of levels between the regions of the contour maps, from 2 to 100."""
    follow: float = 0
    """Draw again every so many seconds while the surfaces are still computed, until they are complete; 0: once."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.fig1", DESCRIPTION)
    if not arguments.surfaces:
        raise InputError("surfaces: expected one or more grid files, found none")
    if not 0 <= arguments.follow <= LONGEST_WAIT:
        raise InputError(f"--follow: expected seconds from 0 to {LONGEST_WAIT}, found {arguments.follow:g}")
    check_levels(arguments.levels)
    check_out(arguments.out)
    use_style()
    while True:
        grids = [(str(path), read_grid(path)) for path in arguments.surfaces]
        options = (arguments.height, arguments.plane, arguments.limits, arguments.levels)
        save(draw(grids, arguments.metric, *options), arguments.out)
        left = sum(int((~grid.done).sum()) for _, grid in grids)
        if left == 0 or arguments.follow == 0:
            break
        print(f"{left} points to come", file=sys.stderr)
        time.sleep(arguments.follow)
    print(arguments.out)


def draw(
    grids: Sequence[tuple[str, Grid]],
    metric: str = "",
    height: str = "log",
    plane: int = 0,
    limits: tuple[float, float] | None = None,
    levels: int = LEVELS,
) -> Figure:
    """The figure of `grids` with their sources: a row of 3D surface and contour map each, and its AUROC below.

    Lines of one definition of the metric share their axes; others, and lines among surfaces, have a row each. Of an
    unfinished file the complete part is drawn. Where the surfaces are not of the same plane, images and range, which no
    comparison survives, it says so.
    """
    metric = chosen_metric([grid for _, grid in grids], metric)
    rows = [row_of(grid, source, metric, plane) for source, grid in grids]
    alone = [row.grid for row in rows]
    name = metric_text(alone, metric)
    shared = len({definition_of(grid, metric) for grid in alone}) == 1
    scales = [
        scale_for(alone if shared else [row.grid], metric, panels_of(rows if shared else [row]), height, limits, levels)
        for row in rows
    ]
    together = shared and len({row.curve and row.curve.axis for row in rows}) == 1 and rows[0].curve
    figure = draw_together(rows, scales[0], name) if together else draw_rows(rows, scales, name)
    if different := differences([grid for _, grid in grids]):
        note = f"Not comparable as they stand: different {', '.join(different)}"
        figure.text(0.5, -0.02, note, ha="center", va="top", color="#B00000")
    return figure


if __name__ == "__main__":
    raise SystemExit(command(main)())

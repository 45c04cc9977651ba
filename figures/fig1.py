"""`python -m figures.fig1`: surfaces of two or more models, 3D above their projection, as in the paper's Fig. 1."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.captions import config_of, differences, metric_text, score_text, value_at_model
from figures.parts.style import PAGE, check_out, heights, label, save, shared_limits, use_style
from figures.parts.surface import color_ticks, complete_part, draw_contours, draw_surface, is_log, plane_of
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw the surfaces of two or more models under one metric, with shared levels and limits.

Example: python -m figures.fig1 runs/a/surface.h5 runs/b/surface.h5 --metric l2 --out fig1.png

Under each model stands its AUROC, or accuracy, with its 95% interval. Metrics whose definitions differ between the
models (own) have no common unit: their panels keep their own limits."""


LONGEST_WAIT = 86_400  # seconds


@dataclass(frozen=True)
class Arguments:
    surfaces: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Two or more grid files."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    metric: str = "l2"
    """Which metric: a common one such as l2, or own, the loss as each model was trained."""
    height: Literal["log", "linear"] = "log"
    """Scale of the height."""
    plane: int = 0
    """Which plane of each file."""
    follow: float = 0
    """Draw again every so many seconds while the surfaces are still computed, until they are complete; 0: once."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.fig1", DESCRIPTION)
    if len(arguments.surfaces) < 2:
        raise InputError(f"surfaces: expected two or more grid files, found {len(arguments.surfaces)}")
    if not 0 <= arguments.follow <= LONGEST_WAIT:
        raise InputError(f"--follow: expected seconds from 0 to {LONGEST_WAIT}, found {arguments.follow:g}")
    check_out(arguments.out)
    use_style()
    while True:
        grids = [(str(path), read_grid(path)) for path in arguments.surfaces]
        drawn = [(source, complete_part(grid)) for source, grid in grids]
        save(draw(drawn, arguments.metric, arguments.height, arguments.plane), arguments.out)
        left = sum(int((~grid.done).sum()) for _, grid in grids)
        if left == 0 or arguments.follow == 0:
            break
        print(f"{left} points to come", file=sys.stderr)
        time.sleep(arguments.follow)
    print(arguments.out)


def draw(grids: Sequence[tuple[str, Grid]], metric: str, height: str = "log", plane: int = 0) -> Figure:
    """The figure of `grids` with their sources: a row of 3D surface and contour map each, and its AUROC below.

    Where the surfaces are not of the same plane, images and range, which no comparison survives, it says so.
    """
    planes = [plane_of(grid, metric, plane, source) for source, grid in grids]
    logs = [is_log(grid, metric, height) for _, grid in grids]
    raised = [heights(values, log) for values, log in zip(planes, logs, strict=True)]
    definitions = {grid.meta["metrics"][metric]["definition"] for _, grid in grids}
    shared = len(definitions) == 1
    figure = Figure(figsize=(PAGE, 3.05 * len(grids)))
    cells = figure.add_gridspec(len(grids), 2, width_ratios=(1.3, 1), wspace=0.2, hspace=0.32)
    name = metric_text([grid for _, grid in grids], metric)
    for row, (source, grid) in enumerate(grids):
        limits = shared_limits(raised if shared else [raised[row]])
        solid = figure.add_subplot(cells[row, 0], projection="3d")
        draw_surface(solid, grid, planes[row], logs[row], limits)
        flat = figure.add_subplot(cells[row, 1])
        filled = draw_contours(flat, grid, planes[row], logs[row], limits)
        bar = figure.colorbar(filled, ax=flat, fraction=0.046, pad=0.03, label=name)
        color_ticks(bar, limits, logs[row])
        middle = cells[row, :].get_position(figure)
        figure.text(
            0.5, middle.y0 - 0.075 * 2 / len(grids), row_text(grid, source, planes[row], metric), ha="center", va="top"
        )
    if different := differences([grid for _, grid in grids]):
        note = f"Not comparable as they stand: different {', '.join(different)}"
        figure.text(0.5, -0.02, note, ha="center", va="top", color="#B00000")
    return figure


def row_text(grid: Grid, source: str, values: NDArray[np.float64], metric: str) -> str:
    """The table row below a model: its loss, batch size, score with interval, and the metric at its weights."""
    config, centre = config_of(grid), value_at_model(grid, values)
    parts = [
        f"trained with {label(config['loss'])}" if "loss" in config else (grid.meta.get("name") or source),
        f"batch {config['batch_size']}" if "batch_size" in config else "",
        score_text(grid),
        "" if centre is None else f"{label(metric)} at the model {centre:.4g}",
    ]
    return "  |  ".join(part for part in parts if part)


if __name__ == "__main__":
    raise SystemExit(command(main)())

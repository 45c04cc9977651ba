"""`python -m figures.fig3`: contours of models by loss and batch size side by side, as in the paper's Fig. 3."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.captions import (
    chosen_metric,
    config_of,
    data_text,
    definition_of,
    differences,
    metric_text,
    probe_of,
    score_text,
    settings_of,
    value_at_model,
)
from figures.parts.scale import LEVELS, Scale, check_levels
from figures.parts.style import PAGE, check_out, label, save, use_style
from figures.parts.surface import (
    axis_label,
    complete_part,
    draw_bar,
    draw_contours,
    plane_of,
    planes_part,
    scale_for,
)
from landscape.files.grid import Grid, read_grid
from training.data.config import LossName
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw contours of models side by side: a row for each training loss, a column for each batch size.

Example: python -m figures.fig3 runs/*/surface.h5 --metric l2 --out fig3.png

Models are placed by their own configuration, whatever the order of the files: classifiers, probes or autoencoders, not
mixed. Under each panel stand its accuracy or AUROC with its 95% interval and the metric at the model. Levels are shared
but for a metric whose definition differs between the models (own)."""

Values = NDArray[np.float64]
Cell = tuple[str, int]

#: what must be the same in all models of the figure, beside the plane and the images
SAME = ("dataset", "normal", "category", "image_size", "patches", "model", "width", "depth", "kernel")


@dataclass(frozen=True)
class Arguments:
    surfaces: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or more grid files of checkpoints, one for each loss and batch size."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    metric: str = ""
    """Which metric: a common one such as l2, or own, the loss as each model was trained; default: l2, or else the
    first that all files have."""
    height: Literal["log", "linear"] = "log"
    """Scale of the levels."""
    plane: int = 0
    """Which plane of each file."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value drawn; default: what holds all."""
    levels: int = LEVELS
    """Number of levels between the regions, from 2 to 100."""


@dataclass(frozen=True)
class Panel:
    """The complete part of one model's plane, as it is drawn."""

    source: str
    grid: Grid
    values: Values


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.fig3", DESCRIPTION)
    if not arguments.surfaces:
        raise InputError("surfaces: expected one or more grid files, found none")
    check_levels(arguments.levels)
    check_out(arguments.out)
    use_style()
    grids = [(str(path), read_grid(path)) for path in arguments.surfaces]
    options = (arguments.height, arguments.plane, arguments.limits, arguments.levels)
    save(draw(grids, arguments.metric, *options), arguments.out)
    print(arguments.out)


def draw(
    grids: Sequence[tuple[str, Grid]],
    metric: str = "",
    height: str = "log",
    plane: int = 0,
    limits: tuple[float, float] | None = None,
    levels: int = LEVELS,
) -> Figure:
    """The figure of `grids` with their sources: a contour map in each cell of losses × batch sizes, its scores below.

    A cell that no file is of stays blank and says so; of an unfinished file the complete part is drawn. Raises
    InputError if two files are of one cell, if a file states no loss and batch size, or if models of different kinds
    are given.
    """
    check_kinds(grids)
    metric = chosen_metric([grid for _, grid in grids], metric)
    panels = {cell: panel_of(source, grid, metric, plane) for cell, (source, grid) in place(grids).items()}
    losses, sizes = rows_and_columns(list(panels))
    shared = len({definition_of(panel.grid, metric) for panel in panels.values()}) == 1
    scales = {
        cell: scale_for([one.grid for one in group], metric, [one.values for one in group], height, limits, levels)
        for cell, panel in panels.items()
        for group in [list(panels.values()) if shared else [panel]]
    }
    name = metric_text([grid for _, grid in grids], metric)
    # Panels of one size, whatever their number: a caption is as wide as one of three on a page.
    side = 1.5 if shared else 1.3
    figure = Figure(figsize=(0.3 + len(sizes) * PAGE / 3, 0.4 + (side + 0.85) * len(losses)), layout="compressed")
    axes = figure.subplots(len(losses), len(sizes), squeeze=False)
    for row, loss in enumerate(losses):
        for column, size in enumerate(sizes):
            ax = axes[row, column]
            ax.set_title(f"batch size {size}" if row == 0 else "")
            if (panel := panels.get((loss, size))) is None:
                draw_blank(ax, (loss, size))
            else:
                scale = scales[loss, size]
                filled = draw_panel(ax, panel, scale, not shared)
            ax.set_ylabel(f"{label(loss)}\n{axis_label('y', grids[0][1])}" if column == 0 else "")
    if shared:
        # beside one column, whose captions are wider than it, more of the figure
        narrow = len(sizes) == 1
        draw_bar(figure, axes, filled, scale, name, 0.06 if narrow else 0.03, 0.12 if narrow else 0.02)
    title = [kind_of(grids[0][1]), data_text(grids[0][1]), "" if shared else f"{name}, each with its own levels"]
    figure.suptitle(", ".join(text for text in title if text), fontsize=8)
    if different := [*differences([grid for _, grid in grids]), *different_settings(grids)]:
        figure.supxlabel(f"Not comparable as they stand: different {', '.join(different)}", fontsize=8, color="#B00000")
    return figure


def panel_of(source: str, grid: Grid, metric: str, plane: int) -> Panel:
    plane_of(grid, metric, plane, source)
    part = complete_part(planes_part(grid, [plane]))
    return Panel(source, part, plane_of(part, metric, 0, source))


def draw_panel(ax: Axes, panel: Panel, scale: Scale, own: bool) -> QuadContourSet:
    """Contours of one model with its captions, on a shared scale, or on its `own` with a colour bar."""
    filled = draw_contours(ax, panel.grid, panel.values, scale)
    if own:
        draw_bar(ax.figure, ax, filled, scale)
    centre = value_at_model(panel.grid, panel.values)
    captions = [
        axis_label("x", panel.grid),
        score_text(panel.grid),
        "" if centre is None else f"at the model {centre:.4g}",
    ]
    ax.set_xlabel("\n".join(text for text in captions if text), fontsize=7)
    ax.locator_params(nbins=5)
    return filled


def draw_blank(ax: Axes, cell: Cell) -> None:
    """Say in an empty panel that there is no surface for it."""
    ax.set(xticks=[], yticks=[], box_aspect=1)
    ax.text(0.5, 0.5, f"no surface of\n{label(cell[0])},\nbatch size {cell[1]}", ha="center", va="center", color="0.4")


def kind_of(grid: Grid) -> str:
    """What the model is, in words."""
    if probe_of(grid):
        return "Linear probes on the encoders of autoencoders"
    return {"classify": "Classifiers"}.get(config_of(grid).get("task", ""), "Autoencoders")


def check_kinds(grids: Sequence[tuple[str, Grid]]) -> None:
    """Raise InputError unless all models are of one kind: their losses have no common unit."""
    kinds = [(source, kind_of(grid)) for source, grid in grids]
    for source, kind in kinds:
        if kind != kinds[0][1]:
            raise InputError(
                f"surfaces: expected models of one kind, found {kinds[0][1].lower()} ({kinds[0][0]}) and "
                f"{kind.lower()} ({source}); draw a figure of each"
            )


def place(grids: Sequence[tuple[str, Grid]]) -> dict[Cell, tuple[str, Grid]]:
    """Each grid, with its source, by its (loss, batch size); InputError if it states none, or if two share a cell."""
    cells: dict[Cell, tuple[str, Grid]] = {}
    for source, grid in grids:
        settings = settings_of(grid)
        loss, size = settings.get("loss"), settings.get("batch_size")
        if not (isinstance(loss, str) and isinstance(size, int)):
            raise InputError(
                f"{source}: expected the surface of a checkpoint, with loss and batch size, found neither; draw it "
                "with figures.surface"
            )
        if (loss, size) in cells:
            raise InputError(
                f"surfaces: expected one file for each loss and batch size, found {cells[loss, size][0]} and {source}, "
                f"both of {loss} at batch size {size}; name one of them"
            )
        cells[loss, size] = source, grid
    return cells


def rows_and_columns(cells: Sequence[Cell]) -> tuple[list[str], list[int]]:
    """Losses in the order of their definition, batch sizes from large to small."""
    found = {loss for loss, _ in cells}
    known = [loss for loss in get_args(LossName) if loss in found]
    return [*known, *sorted(found - set(known))], sorted({size for _, size in cells}, reverse=True)


def different_settings(grids: Sequence[tuple[str, Grid]]) -> list[str]:
    """What the models' configurations must have in common to be compared, and have not."""
    settings = [settings_of(grid) for _, grid in grids]
    return [name for name in SAME if any(other.get(name) != settings[0].get(name) for other in settings)]


if __name__ == "__main__":
    raise SystemExit(command(main)())

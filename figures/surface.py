"""`python -m figures.surface`: one file: a plane in 3D and as contours, several planes side by side, or lines."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from matplotlib.figure import Figure

from figures.parts.captions import SEPARATOR, chosen_metric, hole_text, metric_text, model_text, wrapped
from figures.parts.rows import Row, draw_rows, draw_together, panels_of, row_of
from figures.parts.scale import LEVELS, Scale, check_levels
from figures.parts.style import PAGE, check_out, save, use_style
from figures.parts.surface import draw_bar, draw_contours, draw_surface, is_line, scale_for
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw one file: a plane in 3D and as a contour map, several planes side by side, or lines as curves.

Example: python -m figures.surface runs/a/surface.h5 --out surface.png
Example: python -m figures.surface lines.h5 --metric auroc --planes 0 2 --out lines.pdf

Any grid file will do, of a checkpoint or of a model of your own. Of an unfinished one the complete part is drawn, or
what there is, and the caption says how much; grey is not computed or diverged. Bands of curves are 95% intervals."""

COLUMNS = 3  # of several planes
MOST_PLANES = 12  # on a page; of lines any number fits

View = Literal["auto", "both", "3d", "contours"]


@dataclass(frozen=True)
class Arguments:
    surface: Annotated[Path, tyro.conf.Positional]
    """A grid file, finished or still computed."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    metric: str = ""
    """Which metric; default: l2, or else the file's first."""
    height: Literal["log", "linear"] = "log"
    """Scale of the height; values below 0, and metrics such as AUROC, are linear in any case."""
    planes: tuple[int, ...] = ()
    """Which planes, or lines, of the file; default: all, at most 12 of them if they are planes."""
    view: View = "auto"
    """In 3D, as contours, or both; auto: both of one plane, contours of several."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value drawn; default: what holds all."""
    levels: int = LEVELS
    """Number of levels between the regions of the contour maps, from 2 to 100."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.surface", DESCRIPTION)
    check_levels(arguments.levels)
    check_out(arguments.out)
    use_style()
    grid = read_grid(arguments.surface)
    planes = chosen_planes(grid, arguments.planes)
    options = (arguments.height, arguments.view, arguments.limits, arguments.levels)
    save(draw(grid, str(arguments.surface), arguments.metric, planes, *options), arguments.out)
    if len(planes) < grid.shape[0] and not arguments.planes:
        print(f"{len(planes)} of {grid.shape[0]} planes drawn; choose others with --planes", file=sys.stderr)
    print(arguments.out)


def chosen_planes(grid: Grid, wanted: Sequence[int] = ()) -> list[int]:
    """The planes that are wanted, once each, or else all; the first MOST_PLANES of them where they are no lines.

    Raises InputError if more planes than that are wanted.
    """
    most = grid.shape[0] if is_line(grid) else MOST_PLANES
    planes = list(dict.fromkeys(wanted))
    if len(planes) > most:
        raise InputError(f"--planes: expected at most {most}, found {len(planes)}; draw several figures")
    return planes or list(range(min(most, grid.shape[0])))


def draw(
    grid: Grid,
    source: str,
    metric: str = "",
    planes: Sequence[int] = (),
    height: str = "log",
    view: View = "auto",
    limits: tuple[float, float] | None = None,
    levels: int = LEVELS,
) -> Figure:
    """The figure of one grid, all its planes on one scale: curves, 3D surface and contour map, or panels side by side.

    Raises InputError if the file has no such metric or plane.
    """
    metric = chosen_metric([grid], metric)
    planes = chosen_planes(grid, planes)
    rows = [row_of(grid, source, metric, plane, f"plane {plane}") for plane in planes]
    scale = scale_for([grid], metric, panels_of(rows), height, limits, levels)
    name = metric_text([grid], metric)
    text = rows[0].text
    if len(planes) > 1:
        text = SEPARATOR.join(filter(None, (model_text(grid, source), hole_text(grid, metric, planes))))
    if is_line(grid):
        return draw_together(rows, scale, name, text)
    if view == "both" or (view == "auto" and len(planes) == 1):
        return draw_rows(rows, [scale] * len(rows), name)
    return draw_panels(rows, planes, scale, name, text, view == "3d")


def draw_panels(rows: Sequence[Row], planes: Sequence[int], scale: Scale, name: str, text: str, solid: bool) -> Figure:
    """Planes side by side as contour maps with one colour bar, or as 3D surfaces if `solid`; `text` stands below."""
    columns = min(len(rows), COLUMNS)
    lines = math.ceil(len(rows) / columns)
    side = PAGE / COLUMNS if columns > 1 else 0.6 * PAGE
    figure = Figure(figsize=(columns * side, 0.4 + lines * side))
    if not solid:  # no layout makes room for the labels of 3D axes
        figure.set_layout_engine("compressed")
    axes = [
        figure.add_subplot(lines, columns, number, **({"projection": "3d"} if solid else {}))
        for number in range(1, len(rows) + 1)
    ]
    for number, (ax, row, plane) in enumerate(zip(axes, rows, planes, strict=True)):
        if solid:
            draw_surface(ax, row.grid, row.values, scale).tick_params(axis="z", labelsize=6)
        else:
            filled = draw_contours(ax, row.grid, row.values, scale)
            ax.set_ylabel(ax.get_ylabel() if number % columns == 0 else "")
        ax.set_title(f"plane {plane}" if len(rows) > 1 else "", pad=0 if solid else None)
    if solid:
        figure.subplots_adjust(left=0, right=1, bottom=0.14, wspace=0.25, hspace=0.3)
    else:
        draw_bar(figure, axes, filled, scale, name, fraction=0.03, pad=0.02)
    figure.supxlabel(wrapped(name + SEPARATOR + text if solid else text, 120 if columns > 1 else 70), fontsize=7)
    return figure


if __name__ == "__main__":
    raise SystemExit(command(main)())

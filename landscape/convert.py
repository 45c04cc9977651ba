"""`python -m landscape.convert`: grid files to and from the reference tool's layout, to VTK and to CSV."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from landscape.files.exports import to_csv, to_vtk
from landscape.files.grid import Grid, read_grid, write_new
from landscape.files.reference import (
    attributes_of,
    is_ambiguous,
    read_directions,
    read_reference,
    read_reference_directions,
    to_reference,
    write_reference,
    write_reference_directions,
)
from training.runtime.command import InputError, command, make_parent, parse, whole_file, write_whole
from training.runtime.kinds import DIRECTIONS, GRID, SURFACE, TABLES

DESCRIPTION = """Convert a grid file to another layout, or a file of the reference tool (Li et al., 2018) to one.

Example: python -m landscape.convert surface.h5 --to reference --out ref.h5
Example: python -m landscape.convert ref.h5 --from reference --out ours.h5
Example: python -m landscape.convert surface.h5 --to vtk --metric l2 --out surface.vtp    (for ParaView)
Example: python -m landscape.convert surface.h5 --to csv --out surface.csv"""


@dataclass(frozen=True)
class Arguments:
    file: Annotated[Path, tyro.conf.Positional]
    """The file to convert."""
    out: Path
    """The file to write."""
    to: Literal["reference", "vtk", "csv"] | None = None
    """Layout to write: the reference tool's HDF5, VTK PolyData (.vtp), or a table, a row a point and metric."""
    source: Annotated[Literal["reference"] | None, tyro.conf.arg(name="from")] = None
    """Layout to read, to write a grid file; instead of --to."""
    metric: str = ""
    """The metric that becomes train_loss or the height (default the first), or the only one tabulated or read."""
    plane: int | None = None
    """Which plane of a file that has several; reference and vtk hold one (default 0), csv all unless one is named."""
    height: Literal["log", "linear"] = "log"
    """Height of a VTK surface: log10 of the metric, if it has a log at all, or the metric itself."""
    directions: Path | None = None
    """The reference tool's direction file: written beside --out with --to reference, read with --from reference."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "landscape.convert", DESCRIPTION)
    check_arguments(arguments)
    make_parent(arguments.out, WRITTEN[arguments.to])
    if arguments.to and arguments.directions:
        make_parent(arguments.directions, DIRECTIONS)
    if arguments.to is None:
        import_reference(arguments)
    else:
        grid = read_grid(arguments.file)
        check_metric(arguments, grid)
        EXPORTS[arguments.to](arguments, grid)
    print(arguments.out)


def check_arguments(arguments: Arguments) -> None:
    """Raise InputError for options that exclude each other."""
    if (arguments.to is None) == (arguments.source is None):
        found = "neither" if arguments.to is None else "both"
        raise InputError(f"--to, --from: expected one of them, found {found}")
    if arguments.directions and arguments.to in ("vtk", "csv"):
        raise InputError("--directions: expected with --to reference or --from reference, found " + arguments.to)
    if arguments.source and arguments.plane:
        raise InputError(f"--plane: expected 0, as the reference layout holds one plane, found {arguments.plane}")
    if arguments.to == "vtk" and arguments.out.suffix != ".vtp":
        raise InputError(f"--out {arguments.out}: expected a name that ends in .vtp, found {arguments.out.suffix!r}")
    paths = [path.resolve() for path in (arguments.file, arguments.out, arguments.directions) if path]
    if len(set(paths)) < len(paths):
        raise InputError(f"--out {arguments.out}: expected files that differ from each other, found one named twice")


def check_metric(arguments: Arguments, grid: Grid) -> None:
    """Raise InputError unless the file has the metric and the plane that are named."""
    where = arguments.file
    if arguments.metric and arguments.metric not in grid.values:
        raise InputError(f"{where}: expected --metric among {', '.join(grid.values)}, found {arguments.metric!r}")
    if not 0 <= (arguments.plane or 0) < grid.shape[0]:
        raise InputError(f"{where}: expected --plane from 0 to {grid.shape[0] - 1}, found {arguments.plane}")


def export_reference(arguments: Arguments, grid: Grid) -> None:
    metric, plane = arguments.metric or next(iter(grid.values)), arguments.plane or 0
    directions = read_directions(arguments.file, plane) if arguments.directions else {}
    if arguments.directions and not directions:
        raise InputError(f"{arguments.file}: expected directions to write to {arguments.directions}, found none")
    if count := is_ambiguous(grid, metric, plane):
        print(f"{count} values are at most 0: the reference tool takes them for not computed", file=sys.stderr)
    write_reference(arguments.out, to_reference(grid, metric, plane), attributes_of(grid, metric, plane))
    if arguments.directions:
        write_reference_directions(arguments.directions, directions)


def export_vtk(arguments: Arguments, grid: Grid) -> None:
    metric = arguments.metric or next(iter(grid.values))
    log = arguments.height == "log" and grid.meta["metrics"][metric]["transform"] == "log"
    write_whole(arguments.out, to_vtk(grid, metric, arguments.plane or 0, log))


def export_csv(arguments: Arguments, grid: Grid) -> None:
    names = [arguments.metric] if arguments.metric else list(grid.values)
    write_whole(arguments.out, to_csv(grid, names, arguments.plane))


#: --to -> what is written
WRITTEN = {
    None: GRID,
    "reference": SURFACE,
    "vtk": "a VTK file",
    "csv": TABLES["plane", "y", "x", "metric", "value"],
}

EXPORTS: dict[str, Callable[[Arguments, Grid], None]] = {
    "reference": export_reference,
    "vtk": export_vtk,
    "csv": export_csv,
}


def import_reference(arguments: Arguments) -> None:
    grid = read_reference(arguments.file, arguments.metric)
    directions = read_reference_directions(arguments.directions) if arguments.directions else {}
    with whole_file(arguments.out) as temporary:
        write_new(temporary, grid, directions)


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""`python -m landscape.surface`: the loss surface of a checkpoint, or of a user's own problem, as an HDF5 grid."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landscape.arguments import Arguments, check_settings
from landscape.directions.axes import Axes
from training.runtime.command import InputError, check_out, command, parse
from training.runtime.farm import one_fate, rank_of
from training.runtime.kinds import GRID
from training.runtime.meeting import meet, options_of

if TYPE_CHECKING:
    import numpy as np

DESCRIPTION = """Evaluate metrics on a plane or a line through a model's weights: filter-normalized random directions,
towards other models, along a training trajectory, or the Hessian's eigenvectors.

Examples:
  a plane of a checkpoint, on 4 processes:
    mpirun -n 4 python -m landscape.surface --ckpt runs/a/checkpoint.pt --x=-1:1:51 --y=-1:1:51 --out a.h5
  a model of your own, made by the function `problem` in mine.py, as far as its loss grows tenfold:
    python -m landscape.surface --problem mine:problem --metrics cross-entropy,accuracy --x auto --y auto --out mine.h5
  the way of a training, and the way from one model to another:
    python -m landscape.surface --ckpt runs/a/checkpoint.pt --trajectory runs/a/trajectory --out path.h5
    python -m landscape.surface --ckpt a.pt --to b.pt --batch-norm interpolate --out line.h5
  a fine picture from a tenth of its points:
    python -m landscape.surface --ckpt runs/a/checkpoint.pt --y=-1:1:51 --adaptive 0.01 --out fine.h5

A run that was stopped goes on when it is started again; the last line is the file written."""


def main(argv: Sequence[str] | None = None) -> None:
    def read() -> tuple[Arguments, Axes]:
        arguments = parse(Arguments, argv, "landscape.surface", DESCRIPTION)
        return arguments, check_arguments(arguments)

    comm, (arguments, axes) = meet(read, lambda given: {"command": "surface", **options_of(given[0])})
    with one_fate(comm):
        compute(arguments, axes, comm)
    if rank_of(comm) == 0:
        print(arguments.out)


def check_arguments(arguments: Arguments) -> Axes:
    """The axes, None where a trajectory gives them; InputError for options that exclude each other or make no sense."""
    if (arguments.ckpt is None) == (arguments.problem == ""):
        raise InputError(
            "--ckpt, --problem: expected one of them, found " + ("both" if arguments.problem else "neither")
        )
    check_out(arguments.out, GRID)
    return check_settings(arguments, arguments.x, arguments.y)


def compute(arguments: Arguments, axes: Axes, comm: Any | None) -> None:
    """Evaluate what is not yet done of the grid, over all ranks; the root writes it to `arguments.out`.

    Collective, on ranks that have met (:func:`training.runtime.meeting.meet`). InputError where they have not the same
    model, data, metrics or directions.
    """
    from landscape.engine.at_model import check_same_values, notes_on_values, values_at_model
    from landscape.engine.determinism import check_deterministic
    from landscape.files.gridfile import GridWriter
    from landscape.prepare import (
        check_same_directions,
        find_ranges,
        make_grid,
        prepare,
        put_notes,
        range_lines,
        saved_directions,
    )
    from landscape.sampling.run import Surface
    from training.runtime.farm import together

    root = rank_of(comm) == 0

    def look() -> "np.ndarray":
        if root and not arguments.out.exists():
            return check_deterministic(ready.evaluator)  # what cannot be used leaves no file behind
        return values_at_model(ready.evaluator)

    def open_writer() -> GridWriter | None:
        return GridWriter(arguments.out, grid, saved_directions(ready.planes)) if root else None

    ready = prepare(arguments, axes, comm)
    # The root alone looks for a range: ranks may differ in the last digit.
    found = together(comm, lambda: find_ranges(arguments, ready) if root else ([], {}))
    numeric, ranges = found if comm is None else comm.bcast(found)
    grid = make_grid(arguments, ready, numeric, ranges, shlex.join(sys.argv))
    check_same_directions(comm, grid)
    values = together(comm, look)
    check_same_values(comm, ready.metrics, values)
    notes = put_notes(grid, notes_on_values(ready.metrics, values))
    writer = together(comm, open_writer)
    if writer:
        tell(grid.meta.get("plane", {}), notes)
    try:
        report = Surface(ready.evaluator, grid, writer, comm).run(arguments.adaptive, arguments.seed)
    finally:
        if writer:
            writer.close()
    if report:
        print(*range_lines(grid), report, sep="\n")


def tell(plane: dict[str, Any], notes: list[str]) -> None:
    """Say, before the first point, what the plane is and what a user should know."""
    if "summary" in plane:
        print(plane["summary"])
    for note in (*plane.get("notes", ()), *notes):
        print(f"note: {note}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(command(main)())

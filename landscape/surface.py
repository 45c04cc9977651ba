"""`python -m landscape.surface`: the loss surface of a checkpoint, or of a user's own problem, as an HDF5 grid."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from landscape.arguments import Arguments, check_settings
from landscape.directions.axes import Axes
from training.runtime.command import InputError, check_out, command, parse
from training.runtime.kinds import GRID

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
    arguments = parse(Arguments, argv, "landscape.surface", DESCRIPTION)
    axes = check_arguments(arguments)
    from training.runtime.farm import rank_of, world

    comm = world()
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
    """Evaluate what is not yet done of the grid, over all ranks; the root writes it to `arguments.out`."""
    from landscape.engine.determinism import check_deterministic
    from landscape.files.gridfile import GridWriter
    from landscape.prepare import find_ranges, make_grid, prepare, range_lines, saved_directions
    from landscape.sampling.run import Surface
    from training.runtime.farm import rank_of, stop_all, together

    def open_writer() -> GridWriter | None:
        if rank_of(comm) != 0:
            return None
        if not arguments.out.exists():
            check_deterministic(ready.evaluator)  # a model or metric that cannot be used leaves no file behind
        return GridWriter(arguments.out, grid, saved_directions(ready.planes))

    ready = prepare(arguments, axes, comm)
    # The root alone looks for a range: ranks may differ in the last digit.
    found = together(comm, lambda: find_ranges(arguments, ready) if rank_of(comm) == 0 else ([], {}))
    numeric, ranges = found if comm is None else comm.bcast(found)
    grid = make_grid(arguments, ready, numeric, ranges, shlex.join(sys.argv))
    writer = together(comm, open_writer)
    if writer and "plane" in grid.meta:
        print(grid.meta["plane"]["summary"])
        print(*(f"note: {note}\n" for note in grid.meta["plane"]["notes"]), sep="", end="", file=sys.stderr)
    try:
        report = Surface(ready.evaluator, grid, writer, comm).run(arguments.adaptive, arguments.seed)
    except BaseException as error:
        if comm is not None:
            stop_all(comm, error)
        raise
    finally:
        if writer:
            writer.close()
    if report:
        print(*range_lines(grid), report, sep="\n")


if __name__ == "__main__":
    raise SystemExit(command(main)())

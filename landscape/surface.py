"""`python -m landscape.surface`: the loss surface of a checkpoint, or of a user's own problem, as an HDF5 grid."""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from landscape.axes import Axes
from landscape.grid import LARGEST_SIZE
from landscape.options import PlaneOptions, axes_of, check_options
from training.command import InputError, check_out, command, parse

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


@dataclass(frozen=True)
class Arguments:
    out: Path
    """The HDF5 file; an unfinished one of the same run is completed."""
    ckpt: Path | None = None
    """A checkpoint written by training.train."""
    problem: str = ""
    """package.module:factory, a function that returns a landscape.problem.Problem; instead of --ckpt."""
    x: str = ""
    """First axis as low:high:count, in units of the direction; write --x=-1:1:51, which is the default of random
    directions. That of --to is 0:1:51, with --and -0.25:1.25:61, and of --trajectory auto: the path with a margin.
    Elsewhere auto (auto:FACTOR:COUNT, by default auto:10:51) goes as far as the first metric grows by the factor."""
    y: str = ""
    """Second axis likewise; without it a line is computed, but for --and and --trajectory."""
    metrics: str = "l2"
    """Names joined by commas: l2, l1, ssim, l4, their -lamp forms, each also as NAME@SET (sets train-normal,
    test-normal, test-anomalous), own (the loss as trained), auroc, gap (median score of anomalies less that of normal
    images). Of a classifier, with sets train and test: l2, l1, l4, their -lamp forms, cross-entropy, own, accuracy. Of
    a --problem: those and mse, cross-entropy and accuracy of logits, and the problem's own."""
    seed: int = 0
    """Seed of the directions."""
    planes: int = 1
    """Independently seeded planes or lines in one file."""
    normalization: Literal["filter", "layer", "weight"] = "filter"
    """How directions are scaled to the weights."""
    orthogonal: bool = False
    """Make y orthogonal to x in every filter."""
    plane: PlaneOptions = field(default_factory=PlaneOptions)
    adaptive: float = 0.0
    """Evaluate only what interpolation does not give to within this share of the range, such as 0.01; 0: all points."""
    batch_norm: Literal["frozen", "recalibrate", "interpolate"] = "frozen"
    """Batch norm's statistics: those of the checkpoint, re-estimated at each point, or of --to and --trajectory moved
    along with the weights, so that other models are reached in all."""
    precision: Literal["full", "float64", "tf32", "bfloat16"] = "full"
    """What is computed in; full is the model's own type, float32 for checkpoints."""
    max_samples: int = 0
    """Use at most so many samples of each set, a seeded subset; 0: all."""
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; ranks of a node take its GPUs in turn."""
    threads: int = 0
    """CPU threads of each rank; 0: cores divided by ranks."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "landscape.surface", DESCRIPTION)
    axes = check_arguments(arguments)
    from training.farm import rank_of, world

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
    check_out(arguments.out)
    return check_settings(arguments, arguments.x, arguments.y)


def check_settings(arguments: Arguments, x: Any, y: Any) -> Axes:
    """The axes; InputError for settings that make no sense, wherever the problem comes from."""
    for name, least in (("planes", 1), ("max_samples", 0), ("seed", 0)):
        if getattr(arguments, name) < least:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option}: expected at least {least}, found {getattr(arguments, name)}")
    if arguments.adaptive:
        from landscape.adaptive import check_tolerance

        check_tolerance(arguments.adaptive)
    check_options(arguments.plane, arguments.planes, arguments.batch_norm)
    axes = axes_of(arguments.plane, x, y)
    points = arguments.planes * math.prod(axis.count for axis in axes if axis)
    if points > LARGEST_SIZE:
        raise InputError(f"--x, --y, --planes: expected at most {LARGEST_SIZE} points in all, found {points}")
    return axes


def compute(arguments: Arguments, axes: Axes, comm: Any | None) -> None:
    """Evaluate what is not yet done of the grid, over all ranks; the root writes it to `arguments.out`."""
    from landscape.determinism import check_deterministic
    from landscape.gridfile import GridWriter
    from landscape.prepare import find_ranges, make_grid, prepare, range_lines, saved_directions
    from landscape.run import Surface
    from training.farm import rank_of, stop_all, together

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

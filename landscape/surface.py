"""`python -m landscape.surface`: the loss surface of a checkpoint, or of a user's own problem, as an HDF5 grid."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from landscape.axes import AutoAxis, is_point, parse_range
from landscape.grid import LARGEST_SIZE, Axis, Grid, empty_grid, read_grid
from training.command import InputError, check_out, command, parse

if TYPE_CHECKING:
    import torch

    from landscape.directions import Direction
    from landscape.evaluate import Evaluator
    from landscape.metric import Metric
    from landscape.problem import Problem

Axes = tuple[Axis | AutoAxis, Axis | AutoAxis]

DESCRIPTION = """Evaluate metrics on a plane or a line of filter-normalized random directions through a model's weights.

Examples:
  a plane of a checkpoint, on 4 processes:
    mpirun -n 4 python -m landscape.surface --ckpt runs/a/checkpoint.pt --x=-1:1:51 --y=-1:1:51 --out a.h5
  a model of your own, made by the function `problem` in mine.py, as far as its loss grows tenfold:
    python -m landscape.surface --problem mine:problem --metrics cross-entropy,accuracy --x auto --y auto --out mine.h5
  five lines, batch norm re-estimated at each point:
    python -m landscape.surface --ckpt runs/a/checkpoint.pt --planes 5 --batch-norm recalibrate --out lines.h5
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
    x: str = "-1:1:51"
    """First axis as low:high:count, in units of the direction; write --x=-1:1:51. Or auto (auto:FACTOR:COUNT, by
    default auto:10:51): as far as the first metric grows by the factor."""
    y: str = ""
    """Second axis likewise; without it a line is computed."""
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
    adaptive: float = 0.0
    """Evaluate only what interpolation does not give to within this share of the range, such as 0.01; 0: all points."""
    batch_norm: Literal["frozen", "recalibrate"] = "frozen"
    """Batch norm's statistics: those of the checkpoint, or re-estimated at each point."""
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


class Ready(NamedTuple):
    """A problem on its device, and what is measured of it along which directions."""

    problem: "Problem"
    metrics: "list[Metric]"
    planes: "list[tuple[Direction, ...]]"
    evaluator: "Evaluator"


def check_arguments(arguments: Arguments) -> Axes:
    """The axes; InputError for options that exclude each other or make no sense."""
    if (arguments.ckpt is None) == (arguments.problem == ""):
        raise InputError(
            "--ckpt, --problem: expected one of them, found " + ("both" if arguments.problem else "neither")
        )
    check_out(arguments.out)
    axes = parse_range("x", arguments.x), parse_range("y", arguments.y or "0:0:1")
    check_settings(arguments, axes)
    return axes


def check_settings(arguments: Arguments, axes: Axes) -> None:
    """Raise InputError for settings that make no sense, wherever the problem comes from."""
    for name, least in (("planes", 1), ("max_samples", 0), ("seed", 0)):
        if getattr(arguments, name) < least:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option}: expected at least {least}, found {getattr(arguments, name)}")
    if arguments.adaptive:
        from landscape.adaptive import check_tolerance

        check_tolerance(arguments.adaptive)
    points = arguments.planes * axes[0].count * axes[1].count
    if points > LARGEST_SIZE:
        raise InputError(f"--x, --y, --planes: expected at most {LARGEST_SIZE} points in all, found {points}")


def compute(arguments: Arguments, axes: Axes, comm: Any | None) -> None:
    """Evaluate what is not yet done of the grid, over all ranks; the root writes it to `arguments.out`."""
    from landscape.determinism import check_deterministic
    from landscape.gridfile import GridWriter
    from landscape.run import Surface
    from training.farm import rank_of, stop_all, together

    def open_writer() -> GridWriter | None:
        if rank_of(comm) != 0:
            return None
        if not arguments.out.exists():
            check_deterministic(ready.evaluator)  # a model or metric that cannot be used leaves no file behind
        return GridWriter(arguments.out, grid, saved_directions(ready.planes))

    ready = together(comm, lambda: prepare(arguments, axes, comm))
    # The root alone looks for a range: ranks may differ in the last digit.
    found = together(comm, lambda: find_ranges(arguments, axes, ready) if rank_of(comm) == 0 else ([], {}))
    numeric, ranges = found if comm is None else comm.bcast(found)
    grid = make_grid(arguments, ready, numeric, ranges, " ".join(sys.argv))
    writer = together(comm, open_writer)
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


def prepare(arguments: Arguments, axes: Axes, comm: Any | None, problem: "Problem | None" = None) -> Ready:
    """On each rank: the problem on its device, and its directions. Without `problem` it is what `arguments` name."""
    from landscape.batchnorm import check_statistics
    from landscape.directions import random_directions
    from landscape.evaluate import Evaluator
    from landscape.metrics import resolve_metrics
    from landscape.precision import PRECISIONS
    from training.device import choose_device, use_threads
    from training.farm import local_ranks

    rank, ranks, cores = local_ranks(comm)
    use_threads(arguments.threads, ranks, cores)
    device = choose_device(arguments.device, rank, ranks)
    problem = problem or load_problem(arguments)
    metrics = resolve_metrics(problem, [name for name in arguments.metrics.split(",") if name])
    count = 1 if is_point(axes[1]) else 2
    planes = [
        random_directions(problem.model, arguments.seed, plane, arguments.normalization, arguments.orthogonal)[:count]
        for plane in range(arguments.planes)
    ]
    check_statistics(problem.model)
    evaluator = Evaluator(problem, metrics, planes, device, arguments.batch_norm, PRECISIONS[arguments.precision])
    return Ready(problem, metrics, planes, evaluator)


def find_ranges(arguments: Arguments, axes: Axes, ready: Ready) -> tuple[list[Axis], dict[str, Any]]:
    """Axes with numbers in the place of `auto`, and how they were found; those of the file that will be completed."""
    from landscape.radius import Growth, chosen_axes

    asked = {axis.name: axis.spec for axis in axes if isinstance(axis, AutoAxis)}
    if asked and arguments.out.is_file():
        there = read_grid(arguments.out)
        found = there.meta.get("ranges", {})
        if {name: entry.get("asked") for name, entry in found.items()} == asked:
            return [axis if isinstance(axis, Axis) else getattr(there, axis.name) for axis in axes], found

    def growth() -> Growth:
        forward = ready.evaluator.forward
        return Growth(
            ready.problem, ready.metrics[0], ready.planes, forward.device, arguments.batch_norm, forward.precision
        )

    return chosen_axes(axes, growth)


def make_grid(arguments: Arguments, ready: Ready, axes: list[Axis], ranges: dict[str, Any], how: str) -> Grid:
    """The empty grid with its provenance; `how` is the command or call that made it."""
    x, y = axes
    meta = provenance(arguments, ready.problem, ready.metrics, x, y, ready.evaluator.forward.device)
    meta["command"] = how
    if ranges:
        meta["ranges"] = ranges
    return empty_grid(x, y, [metric.name for metric in ready.metrics], arguments.planes, meta)


def range_lines(grid: Grid) -> list[str]:
    """What `auto` found, a line an axis."""
    lines = []
    for name, found in grid.meta.get("ranges", {}).items():
        factor = float(found["asked"].split(":")[1])
        lines.append(f"--{name}={getattr(grid, name).spec}, where {found['metric']} grows {factor:g}-fold")
    return lines


def load_problem(arguments: Arguments) -> "Problem":
    from landscape.sources import from_checkpoint, from_factory

    if arguments.ckpt is not None:
        return from_checkpoint(arguments.ckpt, arguments.data_dir, arguments.max_samples)
    return from_factory(arguments.problem, arguments.max_samples)


def provenance(
    arguments: Arguments, problem: "Problem", metrics: "list[Metric]", x: Axis, y: Axis, device: "torch.device"
) -> dict[str, Any]:
    """What the file says of itself; `identity` is what a later run must equal to complete it."""
    from importlib.metadata import version

    from landscape.params import dtype_of
    from landscape.problem import PERMUTATION_SEED

    definitions = {
        metric.name: {"definition": metric.definition, "over": list(metric.over), "transform": metric.transform}
        for metric in metrics
    }
    identity = {
        "weights": problem.weights_digest,
        "data": problem.data_digest,
        "model": problem.name,
        "modules": hashlib.sha256(repr(problem.model).encode()).hexdigest(),
        "order_seed": PERMUTATION_SEED,
        "x": x.spec,
        "y": y.spec,
        "seed": arguments.seed,
        "planes": arguments.planes,
        "normalization": arguments.normalization,
        "ignore": "biasbn",
        "orthogonal": arguments.orthogonal,
        "metrics": definitions,
        "batch_norm": arguments.batch_norm,
        "precision": arguments.precision,
        "dtype": str(dtype_of(problem.model)).removeprefix("torch."),
        "adaptive": arguments.adaptive,
        "samples": {name: samples.size for name, samples in problem.sets.items()},
    }
    return {
        **problem.meta,
        "identity": json.loads(json.dumps(identity)),
        "name": problem.name,
        "metrics": definitions,
        "device": str(device),
        "software": {package: version(package) for package in ("torch", "numpy", "h5py")},
    }


def saved_directions(planes: "list[tuple[Direction, ...]]") -> dict[str, Any]:
    """The directions as arrays named `<plane>/<axis>/<parameter>`."""
    return {
        f"{plane}/{direction.name}/{name}": (tensor if tensor.element_size() >= 4 else tensor.float()).numpy()
        for plane, directions in enumerate(planes)
        for direction in directions
        for name, tensor in direction.params.items()
    }


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""`python -m landscape.surface`: the loss surface of a checkpoint, or of a user's own problem, as an HDF5 grid."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from landscape.grid import LARGEST_SIZE, Axis, Grid, empty_grid, parse_axis
from training.command import InputError, check_out, command, parse

if TYPE_CHECKING:
    import torch

    from landscape.directions import Direction
    from landscape.evaluate import Evaluator
    from landscape.metric import Metric
    from landscape.problem import Problem

DESCRIPTION = """Evaluate metrics on a plane or a line of filter-normalized random directions through a model's weights.

Example: mpirun -n 4 python -m landscape.surface --ckpt runs/a/checkpoint.pt --x=-1:1:51 --y=-1:1:51 --out a.h5
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
    """First axis as low:high:count, in units of the direction; write --x=-1:1:51."""
    y: str = ""
    """Second axis likewise; without it a line is computed."""
    metrics: str = "l2"
    """Names joined by commas: l2, l1, ssim, l4, their -lamp forms, each also as NAME@SET (sets train-normal,
    test-normal, test-anomalous), own (the loss as trained), auroc. Of a classifier, with sets train and test: l2, l1,
    l4, their -lamp forms, cross-entropy, own, accuracy."""
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
    compute(arguments, *axes, comm)
    if rank_of(comm) == 0:
        print(arguments.out)


def check_arguments(arguments: Arguments) -> tuple[Axis, Axis]:
    """The axes; InputError for options that exclude each other or make no sense."""
    if (arguments.ckpt is None) == (arguments.problem == ""):
        raise InputError(
            "--ckpt, --problem: expected one of them, found " + ("both" if arguments.problem else "neither")
        )
    check_out(arguments.out)
    for name, least in (("planes", 1), ("max_samples", 0), ("seed", 0)):
        if getattr(arguments, name) < least:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option}: expected at least {least}, found {getattr(arguments, name)}")
    if arguments.adaptive:
        from landscape.adaptive import check_tolerance

        check_tolerance(arguments.adaptive)
    x, y = parse_axis("x", arguments.x), parse_axis("y", arguments.y or "0:0:1")
    points = arguments.planes * len(x.values) * len(y.values)
    if points > LARGEST_SIZE:
        raise InputError(f"--x, --y, --planes: expected at most {LARGEST_SIZE} points in all, found {points}")
    return x, y


def compute(arguments: Arguments, x: Axis, y: Axis, comm: Any | None) -> None:
    """Evaluate what is not yet done of the grid, over all ranks; the root writes it to `arguments.out`."""
    from landscape.gridfile import GridWriter
    from landscape.run import Surface
    from training.farm import rank_of, stop_all, together

    def open_writer() -> GridWriter | None:
        if rank_of(comm) != 0:
            return None
        if not arguments.out.exists():
            evaluator.at(0, [0.0] * len(planes[0]))  # a model or metric that cannot be used leaves no file behind
        return GridWriter(arguments.out, grid, saved_directions(planes))

    evaluator, grid, planes = together(comm, lambda: prepare(arguments, x, y, comm))
    writer = together(comm, open_writer)
    try:
        report = Surface(evaluator, grid, writer, comm).run(arguments.adaptive, arguments.seed)
    except BaseException as error:
        if comm is not None:
            stop_all(comm, error)
        raise
    finally:
        if writer:
            writer.close()
    if report:
        print(report)


def prepare(
    arguments: Arguments, x: Axis, y: Axis, comm: Any | None
) -> "tuple[Evaluator, Grid, list[tuple[Direction, ...]]]":
    """On each rank: the problem on its device, its directions, and the empty grid with its provenance."""
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
    problem = load_problem(arguments)
    metrics = resolve_metrics(problem, [name for name in arguments.metrics.split(",") if name])
    axes = 1 if len(y.values) == 1 and y.values[0] == 0 else 2
    planes = [
        random_directions(problem.model, arguments.seed, plane, arguments.normalization, arguments.orthogonal)[:axes]
        for plane in range(arguments.planes)
    ]
    check_statistics(problem.model)
    evaluator = Evaluator(problem, metrics, planes, device, arguments.batch_norm, PRECISIONS[arguments.precision])
    meta = provenance(arguments, problem, metrics, x, y, device)
    return evaluator, empty_grid(x, y, [metric.name for metric in metrics], arguments.planes, meta), planes


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
        "command": " ".join(sys.argv),
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

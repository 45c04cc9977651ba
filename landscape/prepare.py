"""What comes before a surface's points, for the command and the call alike: problem, planes, ranges, provenance."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from landscape.arguments import Arguments
from landscape.directions.axes import AutoAxis, Axes, is_point
from landscape.directions.normalization import Direction
from landscape.directions.planes import Planes, Setting, axes_on, directions_digest, notes_on, planes_of
from landscape.engine.batchnorm import check_statistics, check_weights
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.engine.precision import PRECISIONS
from landscape.files.grid import Axis, Grid, empty_grid, read_grid
from landscape.files.integrity import check_meta
from landscape.problem.metric import Metric
from landscape.problem.params import dtype_of
from landscape.problem.problem import PERMUTATION_SEED, Problem
from landscape.sampling.radius import Growth, chosen_axes
from landscape.sources import from_checkpoint, from_factory
from training.runtime.agreement import agree, digest_of_files
from training.runtime.device import choose_device, use_threads
from training.runtime.farm import local_ranks, together
from training.runtime.meeting import ALIKE


@dataclass
class Ready:
    """A problem on its device, and what is measured of it along which directions."""

    setting: Setting
    metrics: list[Metric]
    found: Planes
    axes: tuple[Axis | AutoAxis, Axis | AutoAxis]
    evaluator: Evaluator

    @property
    def planes(self) -> list[tuple[Direction, ...]]:
        return self.found.planes


def prepare(arguments: Arguments, axes: Axes, comm: Any | None, problem: Problem | None = None) -> Ready:
    """On each rank, collective: the problem on its device, and its directions.

    Without `problem` it is what `arguments` name.
    """
    rank, ranks, cores = local_ranks(comm)

    def load() -> tuple[torch.device, Problem, list[Metric]]:
        use_threads(arguments.threads, ranks, cores)
        device = choose_device(arguments.device, rank, ranks)
        loaded = problem or load_problem(arguments)
        check_statistics(loaded.model)
        check_weights(loaded.model, loaded.name)
        return device, loaded, resolve_metrics(loaded, [name for name in arguments.metrics.split(",") if name])

    device, loaded, metrics = together(comm, load)  # all are known to be usable before the root makes planes for all
    agree(comm, {**identity_of(arguments, loaded, metrics), **code_of(arguments)}, ALIKE)
    setting = Setting(
        loaded,
        metrics[0],
        1 if is_point(axes[1]) else 2,
        arguments.planes,
        arguments.seed,
        arguments.normalization,
        arguments.orthogonal,
        arguments.batch_norm,
        device,
        arguments.out if arguments.out.name else None,
    )
    found = planes_of(arguments.plane, setting, comm)
    found.planes = [plane[: setting.axes] for plane in found.planes]
    precision = PRECISIONS[arguments.precision]
    evaluator = together(
        comm, lambda: Evaluator(loaded, metrics, found.planes, device, arguments.batch_norm, precision)
    )
    return Ready(setting, metrics, found, axes_on(found, *axes), evaluator)


def find_ranges(arguments: Arguments, ready: Ready) -> tuple[list[Axis], dict[str, Any]]:
    """Axes with numbers in the place of `auto`, and how they were found; those of the file that will be completed."""
    asked = {axis.name: axis.spec for axis in ready.axes if isinstance(axis, AutoAxis)}
    if asked and ready.setting.out and ready.setting.out.is_file():
        there = read_grid(ready.setting.out)
        found = there.meta.get("ranges", {})
        if {name: entry.get("asked") for name, entry in found.items()} == asked:
            return [axis if isinstance(axis, Axis) else getattr(there, axis.name) for axis in ready.axes], found

    def growth() -> Growth:
        setting, precision = ready.setting, ready.evaluator.forward.precision
        return Growth(setting.problem, ready.metrics[0], ready.planes, setting.device, arguments.batch_norm, precision)

    return chosen_axes(ready.axes, growth)


def make_grid(arguments: Arguments, ready: Ready, axes: list[Axis], ranges: dict[str, Any], how: str) -> Grid:
    """The empty grid with its provenance; `how` is the command or call that made it."""
    x, y = axes
    meta = provenance(arguments, ready.setting.problem, ready.metrics, x, y, ready.setting.device)
    meta["identity"] |= ready.found.identity
    meta |= {"command": how, "directions": directions_digest(ready.planes)}
    if ranges:
        meta["ranges"] = ranges
    if ready.found.meta:
        meta["plane"] = {**ready.found.meta, "notes": notes_on(ready.found, ready.setting, x, y)}
    check_meta(json.loads(json.dumps(meta)), "Problem.meta")
    grid = empty_grid(x, y, [metric.name for metric in ready.metrics], arguments.planes, meta)
    grid.paths = ready.found.paths
    return grid


def put_notes(grid: Grid, notes: list[str]) -> list[str]:
    """Have the file say `notes` of itself, if there are any; returns them."""
    if notes:
        grid.meta["notes"] = notes
    return notes


def range_lines(grid: Grid) -> list[str]:
    """What `auto` found, a line an axis."""
    lines = []
    for name, found in grid.meta.get("ranges", {}).items():
        factor = float(found["asked"].split(":")[1])
        lines.append(f"--{name}={getattr(grid, name).spec}, where {found['metric']} grows {factor:g}-fold")
    return lines


def load_problem(arguments: Arguments) -> Problem:
    if arguments.ckpt is not None:
        return from_checkpoint(arguments.ckpt, arguments.data_dir, arguments.max_samples)
    return from_factory(arguments.problem, arguments.max_samples)


def identity_of(arguments: Arguments, problem: Problem, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What decides the numbers, but for axes and directions: runs that are resumed, and ranks, must equal in it."""
    definitions = {
        metric.name: {"definition": metric.definition, "over": list(metric.over), "transform": metric.transform}
        for metric in metrics
    }
    return {
        "weights": problem.weights_digest,
        "data": problem.data_digest,
        "model": problem.name,
        "modules": hashlib.sha256(repr(problem.model).encode()).hexdigest(),
        "order_seed": PERMUTATION_SEED,
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


def code_of(arguments: Arguments) -> dict[str, str]:
    """The code that ranks must have in common beside this project's: the module of a user's problem."""
    module = sys.modules.get(arguments.problem.partition(":")[0])
    source = getattr(module, "__file__", None)
    return {"--problem": digest_of_files([(arguments.problem, Path(source))])} if source else {}


def check_same_directions(comm: Any | None, grid: Grid) -> None:
    """Raise AgreedError unless all ranks drew, or were given, the same directions."""
    agree(comm, {"directions": grid.meta["directions"]}, ALIKE)


def provenance(
    arguments: Arguments, problem: Problem, metrics: Sequence[Metric], x: Axis, y: Axis, device: torch.device
) -> dict[str, Any]:
    """What the file says of itself; `identity` is what a later run must equal to complete it."""
    identity = identity_of(arguments, problem, metrics) | {"x": x.spec, "y": y.spec}
    return {
        **problem.meta,
        "identity": json.loads(json.dumps(identity)),
        "name": problem.name,
        "metrics": identity["metrics"],
        "device": str(device),
        "software": {package: version(package) for package in ("torch", "numpy", "h5py")},
    }


def saved_directions(planes: Sequence[Sequence[Direction]]) -> dict[str, Any]:
    """The directions as arrays named `<plane>/<axis>/<parameter>`."""
    return {
        f"{plane}/{direction.name}/{name}": (tensor if tensor.element_size() >= 4 else tensor.float()).numpy()
        for plane, directions in enumerate(planes)
        for direction in directions
        for name, tensor in direction.params.items()
    }

"""The kinds of planes: random, between models, along a trajectory, saved, along the Hessian's eigenvectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.directions.axes import Given
from landscape.directions.components import combine, difference, inner, principal_components, ranges_of
from landscape.directions.normalization import Direction, random_directions
from landscape.directions.options import PlaneOptions
from landscape.directions.others import direction, moving, name_of, only_parameters, track_of, trajectory_files
from landscape.directions.saved import read_directions, renormalized
from landscape.files.grid import TRAJECTORY, Axis, Track, parse_axis, read_grid
from landscape.hessian.eigen import extreme_eigenvalues
from landscape.hessian.objective import Objective
from landscape.problem.metric import Metric
from landscape.problem.params import Params, digest_of_tensors
from landscape.problem.problem import Problem
from landscape.problem.weights import load_tensors
from training.runtime.command import InputError
from training.runtime.farm import rank_of, together

LEAST_ANGLE = 1e-6  # squared sine of the angle between x and y, below which they span no plane


@dataclass(frozen=True)
class Setting:
    """What a plane is made for.

    metric: the first one, whose Hessian eigenvectors are of. axes: 1 for a line. out: the file that may be resumed.
    """

    problem: Problem
    metric: Metric
    axes: int = 2
    planes: int = 1
    seed: int = 0
    normalization: str = "filter"
    orthogonal: bool = False
    batch_norm: str = "frozen"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    out: Path | None = None


@dataclass
class Planes:
    """Directions of each plane, and what a grid file says of them.

    identity: what a later run must equal, beside or instead of the options that random directions have. meta: `kind`,
    `summary` (one line) and details. paths: models on the plane. ranges: axes as text around them, of a trajectory.
    """

    planes: list[tuple[Direction, ...]]
    identity: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, Track] = field(default_factory=dict)
    ranges: tuple[str, str] | None = None


def planes_of(options: PlaneOptions, setting: Setting, comm: Any | None = None) -> Planes:
    """The planes that `options` ask for; collective, and the same on every rank.

    Random directions are drawn on each rank; the root alone makes any others and reads their files. Raises InputError
    on all ranks if a file cannot be used.
    """
    if options.kind == "random" and not options.mark:
        return together(comm, lambda: random(options, setting))

    def make() -> Planes | None:
        if rank_of(comm) != 0:
            return None
        result = PLANES[options.kind](options, setting)
        if result.identity and not options.renormalize:
            result.identity |= {"normalization": "none", "ignore": "none"}
        add_marks(result, options.mark, setting.problem.model)
        return result

    made = together(comm, make)
    return made if comm is None else comm.bcast(made)  # type: ignore[return-value]


def random(options: PlaneOptions, setting: Setting) -> Planes:
    """Seeded random directions, normalized to the weights."""
    model = setting.problem.model
    drawn = (
        random_directions(model, setting.seed, plane, setting.normalization, setting.orthogonal)
        for plane in range(setting.planes)
    )
    return Planes([plane[: setting.axes] for plane in drawn])


def between(options: PlaneOptions, setting: Setting) -> Planes:
    """x = θ_B - θ, y = θ_C - θ, unnormalized, of all parameters: (1, 0) is B and (0, 1) is C.

    With batch norm "interpolate" the floating-point buffers move likewise, so that these points are B and C in all.
    """
    model = setting.problem.model
    base = moving(model, setting.batch_norm)
    paths = [path for path in (options.to, options.and_) if path is not None]
    directions, models = [], []
    for axis, path in zip("xy", paths, strict=False):
        tensors, digest = load_tensors(path, model)
        step = difference(tensors, base)
        norm = inner(*2 * [only_parameters(step, model)]) ** 0.5
        if norm == 0:
            raise InputError(f"{path}: expected another model than the base, found the same weights; name another")
        directions.append(direction(axis, step, model))
        models.append({"axis": axis, "name": name_of(path), "digest": digest, "distance": norm})
    check_spanned([only_parameters(d.params, model) for d in directions], "--and")
    kind = "interpolation" if len(paths) == 1 else "plane through three models"
    return Planes(
        [tuple(directions)],
        {"plane": {"kind": "between", "models": [found["digest"] for found in models]}},
        {"kind": "between", "models": models, "summary": f"{kind}: " + ", ".join(map(_described, models))},
    )


def trajectory(options: PlaneOptions, setting: Setting) -> Planes:
    """The first two principal components of a training trajectory, of unit norm, through the base model."""
    model = setting.problem.model
    files = trajectory_files(options.trajectory)
    loaded = [load_tensors(path, model) for path in files]
    points = [only_parameters(tensors, model) for tensors, _ in loaded]
    components = principal_components(points)
    names = list(moving(model, setting.batch_norm))
    found = [
        direction(axis, combine(weights, [tensors for tensors, _ in loaded], names), model)
        for axis, weights in zip("xy", components.weights, strict=True)
    ]
    track = track_of(files, points, found, model)
    shares = components.shares.tolist()
    summary = f"principal components explain {shares[0]:.2%} and {shares[1]:.2%} of the variance of {len(files)} models"
    return Planes(
        [tuple(found)],
        {"plane": {"kind": "trajectory", "models": [digest for _, digest in loaded]}},
        {"kind": "trajectory", "explained_variance": shares, "count": len(files), "summary": summary},
        {TRAJECTORY: track},
    )


def saved(options: PlaneOptions, setting: Setting) -> Planes:
    """The directions in another grid file, as they are or scaled to this model."""
    path, model = options.directions, setting.problem.model
    if path is None:
        raise ValueError("planes: expected --directions of this kind, found none")
    read = [read_directions(path, model, plane, setting.axes) for plane in range(setting.planes)]
    digest = directions_digest(
        [[direction(axis, step, model) for axis, step in zip("xy", steps, strict=False)] for steps in read]
    )
    planes = [
        tuple(scaled(axis, step, options, setting) for axis, step in zip("xy", steps, strict=False)) for steps in read
    ]
    how = f", scaled to this model by {setting.normalization}" if options.renormalize else ""
    said = {"kind": "saved", "directions": digest, "renormalized": options.renormalize}
    return Planes(planes, {"plane": said}, {**said, "summary": f"directions of {path.name}{how}"})


def eigenvectors(options: PlaneOptions, setting: Setting) -> Planes:
    """Eigenvectors of the first metric's Hessian at the model, of unit norm, or scaled to the weights.

    x is that of the largest eigenvalue, y that of the smallest or of the second largest; signs such that the entry of
    the largest size is positive. In double precision; a pair that has not converged is noted with its residual. A run
    that goes on takes those in its file: found anew elsewhere, they would differ within the tolerance.
    """
    said = {"kind": "eigenvectors", "which": options.eigenvectors, "renormalized": options.renormalize}
    if setting.out and setting.out.exists():
        found_before = read_grid(setting.out).meta.get("plane", {})
        if found_before.get("kind") == "eigenvectors":
            steps = read_directions(setting.out, setting.problem.model, 0, setting.axes)
            plane = [direction(axis, step, setting.problem.model) for axis, step in zip("xy", steps, strict=False)]
            return Planes([tuple(plane)], {"plane": said}, found_before)
    objective = Objective(setting.problem, setting.metric, setting.device, torch.float64)
    largest, smallest = (1, setting.axes - 1) if options.eigenvectors == "extreme" else (setting.axes, 0)
    found = extreme_eigenvalues(objective.products, objective.size, largest, smallest)
    pairs = (found.largest, found.smallest)
    values, residuals = (np.concatenate([getattr(p, part) for p in pairs]).tolist() for part in ("values", "residuals"))
    shapes = {name: parameter.shape for name, parameter in zip(objective.names, objective.parameters, strict=True)}
    plane = [
        scaled(axis, _tensors(_signed(vector), shapes), options, setting)
        for axis, vector in zip("xy", torch.cat([pair.vectors for pair in pairs]), strict=False)
    ]
    text = ", ".join(
        f"{value:.6g} (residual {residual:.2g})" for value, residual in zip(values, residuals, strict=True)
    )
    warning = "" if found.converged else "; not converged"
    return Planes(
        [tuple(plane)],
        {"plane": said},
        {
            **said,
            "eigenvalues": values,
            "residuals": residuals,
            "converged": found.converged,
            "metric": setting.metric.name,
            "summary": f"eigenvectors of the Hessian of {setting.metric.name} with eigenvalues {text}{warning}",
        },
    )


def _signed(vector: torch.Tensor) -> torch.Tensor:
    return vector * vector[vector.abs().argmax()].sign()


def _tensors(row: torch.Tensor, shapes: dict[str, torch.Size]) -> Params:
    """One row (P,) as named tensors."""
    parts = row.split([shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def scaled(axis: str, step: Params, options: PlaneOptions, setting: Setting) -> Direction:
    """A direction as it is, or normalized to the model's weights if that is asked for."""
    if options.renormalize:
        step = renormalized(step, setting.problem.model, setting.normalization)
        return Direction(axis, step, setting.normalization, setting.seed)
    return direction(axis, step, setting.problem.model)


#: kind -> what makes it
PLANES: dict[str, Callable[[PlaneOptions, Setting], Planes]] = {
    "random": random,
    "between": between,
    "trajectory": trajectory,
    "saved": saved,
    "eigenvectors": eigenvectors,
}


def axes_on(planes: Planes, x: Given | None, y: Given | None) -> tuple[Given, Given]:
    """The axes, those that are None from the trajectory's extent."""
    if planes.ranges is None:
        if x is None or y is None:
            raise ValueError("planes: expected both axes without a trajectory, found one to be made from its extent")
        return x, y
    return x or parse_axis("x", planes.ranges[0]), y or parse_axis("y", planes.ranges[1])


def directions_digest(planes: Sequence[Sequence[Direction]]) -> str:
    """SHA-256 of the directions of all planes: files in which it is the same are of one plane, whatever its kind."""
    return digest_of_tensors(
        (f"{plane}/{step.name}/{name}", tensor)
        for plane, steps in enumerate(planes)
        for step in steps
        for name, tensor in step.params.items()
    )


def check_spanned(directions: Sequence[Params], option: str) -> None:
    """Raise InputError if two directions are on one line."""
    if len(directions) == 2:
        (xx, xy), (_, yy) = ([inner(a, b) for b in directions] for a in directions)
        if xx * yy - xy * xy <= LEAST_ANGLE * xx * yy:
            raise InputError(f"{option}: expected three models that span a plane, found them on a line; name another")


def add_marks(planes: Planes, marks: Sequence[Path], model: nn.Module) -> None:
    """Project each of `marks`, a model or a folder of checkpoints, onto the plane; a trajectory's axes show them."""
    digests = {}
    for mark in marks:
        files = trajectory_files([mark]) if mark.is_dir() else [mark]
        loaded = [load_tensors(path, model) for path in files]
        name = _unused(name_of(mark), planes.paths)
        points = [only_parameters(tensors, model) for tensors, _ in loaded]
        planes.paths[name] = track_of(files, points, planes.planes[0], model)
        digests[name] = [digest for _, digest in loaded]
    if digests:
        planes.identity["marks"] = digests
    if TRAJECTORY in planes.paths:
        planes.ranges = ranges_of(np.concatenate([track.coordinates for track in planes.paths.values()]))


def _unused(name: str, taken: dict[str, Track]) -> str:
    numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _described(model: dict[str, Any]) -> str:
    return f"{model['axis']} = 1 is {model['name']}, at a distance of {model['distance']:.4g}"


def notes_on(planes: Planes, setting: Setting, x: Axis, y: Axis) -> list[str]:
    """What a user should know of batch norm on planes through other models, one line each."""
    norms = [
        (f"{name}.running_var" if name else "running_var", module.running_var.detach().cpu().double())
        for name, module in setting.problem.model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_var is not None
    ]
    if not norms or planes.meta.get("kind") not in ("between", "trajectory"):
        return []
    if setting.batch_norm == "frozen":
        return [
            "batch norm keeps the base model's running statistics, so other models are not reached in all; "
            "--batch-norm recalibrate re-estimates them at each point, interpolate moves them along"
        ]
    if setting.batch_norm == "interpolate" and any(
        bool((lowest_on(buffer, variance, plane, x, y) < 0).any())
        for buffer, variance in norms
        for plane in planes.planes
    ):
        return [
            "interpolated running variances get negative on a part of these axes, where the loss has no value (NaN); "
            "between models they cannot: narrow --x and --y, or choose --batch-norm recalibrate"
        ]
    return []


def lowest_on(buffer: str, base: torch.Tensor, plane: Sequence[Direction], x: Axis, y: Axis) -> torch.Tensor:
    """The lowest values that a buffer takes on the axes: it is linear in the steps, so lowest at a corner."""
    slopes = [step.params[buffer].double() for step in plane]
    ends = [(float(axis.values[0]), float(axis.values[-1])) for axis in (x, y)]
    return base + sum(
        (torch.minimum(low * slope, high * slope) for slope, (low, high) in zip(slopes, ends, strict=False)),
        torch.zeros(()),
    )

"""Points in weight space and planes: principal components of a trajectory, coordinates of models on a plane."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from landscape.files.grid import Floats
from landscape.problem.params import Params
from training.runtime.command import InputError

MARGIN = 0.1  # of a path's extent, on each side of it
STEPS = 50  # of an axis made for a path
LEAST_SHARE = 1 / 3  # of the longer axis, so that a path along one direction still has a plane around it
LEAST_VARIANCE = 1e-12  # of the first component's; below, a second one is mere rounding


@dataclass(frozen=True)
class Components:
    """weights (k, n): component j is Σ_i weights[j, i]·θ_i, of unit norm. shares (k,): of the variance explained."""

    weights: Floats
    shares: Floats


def principal_components(points: Sequence[Params], count: int = 2) -> Components:
    """The first `count` principal components of n points in weight space, without any matrix of P×P.

    With centred rows A (n, P), AAᵀ = U diag(λ) Uᵀ is n×n; component j is Aᵀu_j / √λ_j, and its variance λ_j / (n - 1).
    As the rows of U are centred too, A may be replaced by the points themselves. Equal to the PCA of the rows
    θ_i - θ_last by Li et al. (NeurIPS 2018, section 7), which centring makes independent of what is subtracted. Signs
    are such that the first point lies on the negative side of the last. Raises InputError for points that span less.
    """
    gram = np.zeros((len(points), len(points)))
    for name in points[0]:
        rows = torch.stack([point[name].double().flatten() for point in points])
        rows -= rows.mean(0)
        gram += (rows @ rows.T).numpy()
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    if len(points) <= count or not values[count - 1] > LEAST_VARIANCE * values[0]:
        raise InputError(
            f"--trajectory: expected checkpoints that span {count} directions, found {len(points)} that do not; give "
            "more of them, or interpolate between two with --to"
        )
    weights = (vectors[:, :count] / np.sqrt(values[:count])).T
    for row in weights:
        if (gram @ row)[0] > (gram @ row)[-1]:
            row *= -1
    return Components(weights, values[:count] / values.sum())


def combine(weights: Floats, points: Sequence[Params], names: Sequence[str]) -> Params:
    """Σ_i weights[i]·θ_i of the tensors `names`, in double precision."""
    return {
        name: sum(
            (float(weight) * point[name].double() for weight, point in zip(weights, points, strict=True)),
            torch.zeros((), dtype=torch.float64),
        )
        for name in names
    }


def inner(a: Params, b: Params) -> float:
    """The inner product over the tensors that both have, in double precision."""
    return math.fsum(float((a[name].double() * b[name].double()).sum()) for name in a if name in b)


def difference(a: Params, b: Params) -> Params:
    """a - b over the tensors of `b`, in double precision."""
    return {name: a[name].double() - tensor.double() for name, tensor in b.items()}


def project(points: Sequence[Params], base: Params, directions: Sequence[Params]) -> tuple[Floats, Floats]:
    """Coordinates (n, 2) of points on the plane through `base`, and their distances (n,) from it.

    Least squares: c minimizes ‖θ - θ_base - Σ c_j d_j‖, whose value is the distance, in units of the weights, over the
    tensors of `base`. On a line the second coordinate is 0.
    """
    gram = np.array([[inner(a, b) for b in directions] for a in directions])
    coordinates, distances = np.zeros((len(points), 2)), np.zeros(len(points))
    for row, point in enumerate(points):
        step = difference(point, base)
        found = np.linalg.lstsq(gram, np.array([inner(direction, step) for direction in directions]), rcond=None)[0]
        for name in step:
            for coordinate, direction in zip(found, directions, strict=True):
                if name in direction:
                    step[name] -= float(coordinate) * direction[name].double()
        coordinates[row, : len(directions)] = found
        distances[row] = inner(step, step) ** 0.5
    return coordinates, distances


def ranges_of(coordinates: Floats) -> tuple[str, str]:
    """Axes `low:high:count` around a path (n, 2): a margin on each side, and 0, the base, among the steps."""
    points = np.concatenate([coordinates, np.zeros((1, 2))])
    low, high = points.min(0), points.max(0)
    extent = np.maximum(high - low, LEAST_SHARE * (high - low).max())
    middle, half = (low + high) / 2, extent * (0.5 + MARGIN)
    step = 2 * half / STEPS
    first = np.floor((middle - half) / step).astype(int)
    last = np.ceil((middle + half) / step).astype(int)
    x, y = (f"{float(a * h)!r}:{float(b * h)!r}:{b - a + 1}" for a, b, h in zip(first, last, step, strict=True))
    return x, y

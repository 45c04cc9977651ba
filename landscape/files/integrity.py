"""Whether a grid file's content is whole: the digest of a finished one, and the types of what a file says of itself."""

import hashlib
import json
from typing import Any, Literal, TypedDict

import numpy as np

from training.data.config import RunConfig
from training.runtime.command import InputError
from training.runtime.typed import misfit

#: attributes that two files of equal numbers differ in
BESIDE = ("command",)


def digest_of_grid(grid: Any) -> str:
    """SHA-256 over axes, values, standard errors, masks, errors of interpolation, paths, and the attributes.

    Equal for files of the same run however it was given, resumed or divided; NaN of any bits are equal.
    """
    sha = hashlib.sha256()

    def add(name: str, values: Any) -> None:
        array = np.asarray(values, np.float64)
        array = np.where(np.isnan(array), np.nan, array)
        sha.update(f"{name} {array.shape} ".encode())
        sha.update(array.astype("<f8").tobytes())

    for axis in (grid.x, grid.y):
        add(f"axes/{axis.name}", axis.values)
    for kind in ("values", "stderr", "interpolation_error", "interpolation_limit"):
        for name in sorted(grid.values):  # what is not of a metric of the grid is not read back
            if name in getattr(grid, kind):
                add(f"{kind}/{name}", getattr(grid, kind)[name])
    add("done", grid.done)
    add("evaluated", grid.evaluated)
    for name, track in sorted(grid.paths.items()):
        for part, values in vars(track).items():
            add(f"paths/{name}/{part}", values)
    told = {name: value for name, value in grid.meta.items() if name not in BESIDE}
    sha.update(json.dumps(told, sort_keys=True).encode())
    return sha.hexdigest()


class Definition(TypedDict, total=False):
    """Of a metric."""

    definition: str
    over: list[str]
    transform: Literal["log", "none"]


class Scores(TypedDict, total=False):
    """Of a checkpoint, beside others."""

    auroc: float
    auroc_low: float
    auroc_high: float
    accuracy: float
    n_test: int
    probe: dict[str, Any]


class Range(TypedDict):
    """How `auto` found an axis."""

    asked: str
    metric: str
    radius: float


class Model(TypedDict):
    """One that a plane goes through."""

    name: str
    axis: str


class Plane(TypedDict, total=False):
    """What directions other than random ones are."""

    kind: str
    summary: str
    notes: list[str]
    models: list[Model]
    explained_variance: list[float]
    eigenvalues: list[float]


class Meta(TypedDict, total=False):
    """The attributes that this project reads; a problem may bring others of its own."""

    identity: dict[str, Any]
    metrics: dict[str, Definition]
    name: str
    device: str
    software: dict[str, str]
    command: str
    directions: str
    ranges: dict[str, Range]
    plane: Plane
    config: RunConfig
    epoch: int
    checkpoint_metrics: Scores


def check_meta(meta: dict[str, Any], source: str) -> None:
    """Raise InputError at the first attribute that is of another type than this project writes."""
    if found := misfit(meta, Meta):
        raise InputError(f"{source}: expected attributes as landscape.surface writes them, found {found}")

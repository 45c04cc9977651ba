"""`landscape.compute`: a surface in a notebook or a script, without files and without MPI."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from landscape.arguments import Arguments, check_settings
from landscape.directions.axes import AxisLike
from landscape.directions.options import PlaneOptions
from landscape.engine.at_model import notes_on_values
from landscape.engine.determinism import check_deterministic
from landscape.files.grid import Grid
from landscape.files.store import GridStore
from landscape.prepare import find_ranges, make_grid, prepare, put_notes, saved_directions
from landscape.problem.problem import Problem
from landscape.sampling.run import Surface
from landscape.sources import completed


def compute(
    problem: Problem,
    x: AxisLike | None = None,
    y: AxisLike | None = None,
    *,
    metrics: str | Sequence[str] = "l2",
    seed: int = 0,
    planes: int = 1,
    normalization: Literal["filter", "layer", "weight"] = "filter",
    orthogonal: bool = False,
    plane: PlaneOptions | None = None,
    adaptive: float = 0.0,
    batch_norm: Literal["frozen", "recalibrate", "interpolate"] = "frozen",
    precision: Literal["full", "float64", "tf32", "bfloat16"] = "full",
    max_samples: int = 0,
    device: str = "auto",
    threads: int = 0,
) -> Grid:
    """The surface of `problem` on a plane through its weights, or without `y` on a line.

    What `python -m landscape.surface` computes, with the same numbers and the same provenance in `meta`;
    :meth:`landscape.Grid.save` writes the same file. The problem and its model stay as they are.

    x, y: `"low:high:count"`, the tuple (low, high, count), increasing numbers, or `"auto"` (`"auto:FACTOR:COUNT"`): as
    far as the first metric grows by the factor; by default x is `"-1:1:51"` along random directions. metrics: names,
    joined by commas or in a sequence. plane: other directions than random ones. The other settings are the command's
    options; `python -m landscape.surface --help` explains them.

    Warns of metrics that have no finite value at the model. Raises InputError, a ValueError, for a problem or settings
    that cannot be used, a model that gives different numbers at the same weights among them.
    """
    names = metrics if isinstance(metrics, str) else ",".join(metrics)
    arguments = Arguments(
        out=Path(),
        metrics=names,
        seed=seed,
        planes=planes,
        normalization=normalization,
        orthogonal=orthogonal,
        plane=plane or PlaneOptions(),
        adaptive=adaptive,
        batch_norm=batch_norm,
        precision=precision,
        max_samples=max_samples,
        device=device,
        threads=threads,
    )
    axes = check_settings(arguments, x, y)
    threads_before = torch.get_num_threads()
    try:
        ready = prepare(arguments, axes, None, completed(problem, "landscape.compute", max_samples))
        numeric, ranges = find_ranges(arguments, ready)
        spec = ", ".join(f"{axis.name}={axis.spec!r}" for axis in numeric)
        grid = make_grid(arguments, ready, numeric, ranges, f"landscape.compute(…, {spec}, metrics={names!r})")
        for note in put_notes(grid, notes_on_values(ready.metrics, check_deterministic(ready.evaluator))):
            warnings.warn(note, stacklevel=2)
        Surface(ready.evaluator, grid, GridStore(grid), None).run(adaptive, seed)
    finally:
        torch.set_num_threads(threads_before)
    grid.directions = saved_directions(ready.planes)
    return grid

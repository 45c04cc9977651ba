"""A surface computed over all ranks: coarse to fine, level by level where it is adaptive, from wherever it stopped."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from landscape.engine.evaluate import Evaluator
from landscape.files.grid import Floats, Grid, Indices
from landscape.files.store import GridStore, Index
from landscape.sampling.adaptive import Adapted, progressive_order, refine
from training.runtime.command import InputError
from training.runtime.farm import farm

Values = dict[str, Floats]
RESUMED_WITHIN = 1e-2  # relative: other devices and bfloat16 differ by less, another model by more
Chunk = list[int]  # flat indices of points of one plane, evaluated in one call


class Surface:
    """The points of `grid` as tasks for the ranks of `comm`; on the root, `writer` stores them."""

    def __init__(self, evaluator: Evaluator, grid: Grid, writer: GridStore | None, comm: Any | None):
        self.evaluator = evaluator
        self.grid = grid
        self.writer = writer
        self.comm = comm
        self.busy = 0.0
        self.fresh = 0
        points = evaluator.points_per_call
        self.chunk = points if comm is None else min(comm.allgather(points))
        self.bar = tqdm(
            desc=Path(writer.name).name if writer else None,
            total=grid.done.size,
            initial=int(writer.grid.done.sum()) if writer else 0,
            unit="point",
            disable=None if writer else True,
        )

    def run(self, tol: float, seed: int) -> str:
        """Complete the file; collective. Returns a line that says what was done, on the root alone.

        The root plans, the other ranks wait for each level's points. A plan sees only what the file holds of them, so
        that a resumed run makes the same choices, and so do other numbers of ranks.
        """
        start = time.perf_counter()
        if self.writer is None:
            # The root checks alone what it resumes, before anybody computes.
            while (points := self._shared(None)) is not None:
                self._evaluate(points)
        else:
            self._check_resumed(self.writer)
            if not self.writer.grid.done.all():
                self._follow(self.writer, _plan(self.grid, tol, seed))
            self._shared(None)
        self.bar.close()
        return self._report(time.perf_counter() - start)

    def _check_resumed(self, writer: GridStore) -> None:
        """Raise InputError unless the first point of a file that is resumed still has the value that it says.

        Identities tell weights, data and options apart, but not two versions of a user's code.
        """
        evaluated = np.flatnonzero(writer.grid.evaluated & writer.grid.done)
        if not len(evaluated):
            return
        point = int(evaluated[0])
        (now,) = self._at([point])
        found = np.array([values.ravel()[point] for values in writer.grid.values.values()])
        if not np.allclose(found, now[0], rtol=RESUMED_WITHIN, equal_nan=True):
            raise InputError(
                f"{writer.name}: expected the values of the same model and metrics, found {_numbers(found)} where they "
                f"now are {_numbers(now[0])}; choose another --out, or delete the file"
            )

    def _follow(self, writer: GridStore, plan: Generator[Indices, Values, Adapted | None]) -> None:
        points = next(plan)
        while True:
            evaluated = writer.grid.evaluated.ravel()
            self._evaluate(self._shared(points[~evaluated[points]]))
            try:
                points = plan.send({name: values.ravel()[points] for name, values in writer.grid.values.items()})
            except StopIteration as stop:
                if stop.value is not None:
                    writer.write_interpolated(stop.value.values, stop.value.errors, stop.value.limits)
                return

    def _shared(self, points: Indices | None) -> Indices | None:
        """The root's points, on every rank."""
        return points if self.comm is None else self.comm.bcast(points)

    def _evaluate(self, points: Indices | None) -> None:
        chunks = self._chunks(points if points is not None else np.array([], np.int64))
        self.busy += farm(chunks, self._at, self._store, self.comm)["busy_s"]

    def _chunks(self, points: Indices) -> list[Chunk]:
        size = self.grid.done[0].size
        by_plane = [points[points // size == plane] for plane in np.unique(points // size)]
        if self.chunk == 1:
            return [[point] for point in points.tolist()]
        return [own[i : i + self.chunk].tolist() for own in by_plane for i in range(0, len(own), self.chunk)]

    def _index(self, point: int) -> Index:
        plane, row, column = (int(i) for i in np.unravel_index(point, self.grid.shape))
        return plane, row, column

    def _at(self, chunk: Chunk) -> np.ndarray:
        indices = [self._index(point) for point in chunk]
        plane = indices[0][0]
        steps = [(float(self.grid.x.values[column]), float(self.grid.y.values[row])) for _, row, column in indices]
        axes = len(self.evaluator.directions[plane])
        return self.evaluator.at_many(plane, [step[:axes] for step in steps])

    def _store(self, results: list[tuple[Chunk, np.ndarray]]) -> None:
        if self.writer is None:
            raise RuntimeError("results came to a rank that is not the root: only the root stores")
        points = [
            (self._index(point), result)
            for chunk, values in results
            for point, result in zip(chunk, values, strict=True)
        ]
        self.writer.write(points)
        self.fresh += len(points)
        self.bar.update(len(points))

    def _report(self, wall: float) -> str:
        busy = [self.busy] if self.comm is None else self.comm.gather(self.busy)
        if self.writer is None:
            return ""
        grid = self.writer.grid
        parts = [f"{grid.done.size} points, {int(grid.evaluated.sum())} evaluated, {self.fresh} of them now"]
        parts += [
            f"{name} has no finite value anywhere: see its definition, or whether the model has one"
            for name, values in grid.values.items()
            if not np.isfinite(values).any()
        ]
        errors = [
            f"{name} {error:.2%} (everywhere below {grid.interpolation_limit.get(name, np.nan):.2%})"
            for name, error in grid.interpolation_error.items()
            if not np.isnan(error)
        ]
        if errors:
            told = "largest error at held-out points (and limit for all, with 95% confidence), of the range"
            parts.append(f"{told}: {', '.join(errors)}")
        if len(busy) > 1:  # all that is not evaluating or storing: planning, waiting for a level's last points
            parts.append(f"ranks idle {1 - sum(busy) / (wall * len(busy)):.1%} of the time")
        return "; ".join(parts)


def _numbers(values: Floats) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _plan(grid: Grid, tol: float, seed: int) -> Generator[Indices, Values, Adapted | None]:
    """Levels of points to evaluate: all of them coarse to fine, or with a tolerance those that interpolation needs."""
    if tol:
        transforms = {name: grid.meta["metrics"][name]["transform"] for name in grid.values}
        return (yield from refine(grid.x.values, grid.y.values, transforms, tol, seed, grid.shape[0]))
    yield np.concatenate(progressive_order(grid.shape))
    return None

"""`python -m benchmarks.adaptive FULL.h5 …`: an adaptive surface's largest error beside what its file would state.

Each file holds a surface of which every point was evaluated. Its values answer the refinement, metric by metric and
plane by plane, at two tolerances and with three seeds, so that nothing is computed of the model. A row a run; the last
lines count in how many runs the largest error was above the tolerance, the stated error, and the stated limit.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landscape.files.grid import Floats, Grid, read_grid
from landscape.sampling.adaptive import Adapted, refine

TOLERANCES = (0.01, 0.03)
SEEDS = 3


class Found(NamedTuple):
    """Shares of the range: the largest true error, the one at held-out points, the limit; and the share evaluated."""

    tolerance: float
    true: float
    stated: float
    limit: float
    evaluated: float


def refined(grid: Grid, name: str, plane: int, tolerance: float, seed: int) -> Adapted:
    """What an adaptive run of one metric on one plane would have given."""
    values = grid.values[name][plane].ravel()
    transform = grid.meta["metrics"][name]["transform"]
    plan = refine(grid.x.values, grid.y.values, {name: transform}, tolerance, seed)
    points = next(plan)
    while True:
        try:
            points = plan.send({name: values[points]})
        except StopIteration as stop:
            found: Adapted = stop.value
            return found


def compare(grid: Grid, name: str, plane: int, tolerance: float, seed: int) -> Found:
    result = refined(grid, name, plane, tolerance, seed)
    logs = grid.meta["metrics"][name]["transform"] == "log"

    def shown(values: Floats) -> Floats:
        return np.log(values) if logs else values

    truth, evaluated = shown(grid.values[name][plane]), result.evaluated[0]
    error = np.abs(shown(result.values[name][0]) - truth).max() / np.ptp(truth[evaluated])
    return Found(tolerance, float(error), result.errors[name], result.limits[name], float(evaluated.mean()))


def runs(grid: Grid) -> Iterator[tuple[str, Found]]:
    for plane in np.flatnonzero(grid.done.all((1, 2)) & grid.evaluated.all((1, 2))).tolist():
        for name in grid.values:
            for tolerance in TOLERANCES:
                for seed in range(SEEDS):
                    found = compare(grid, name, plane, tolerance, seed)
                    yield f"{name}, plane {plane}, tolerance {tolerance:.0%}, seed {seed}", found


def main(paths: list[str]) -> None:
    every: list[Found] = []
    for path in paths:
        for what, found in runs(read_grid(Path(path))):
            every.append(found)
            shares = f"{found.true:.2%} true, {found.stated:.2%} stated, below {found.limit:.2%}"
            print(f"{path}: {what}: {shares}, {found.evaluated:.0%} of the points", flush=True)
    print(f"{len(every)} runs; largest error above the tolerance in {sum(one.true > one.tolerance for one in every)},")
    print(f"above the stated one in {sum(one.true > one.stated for one in every)},")
    print(f"above the limit in {sum(one.true > one.limit for one in every)}")
    print(f"limit over tolerance, median: {np.median([one.limit / one.tolerance for one in every]):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])

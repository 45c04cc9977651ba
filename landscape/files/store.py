"""Where the points of a surface are kept: here in memory, in :mod:`landscape.files.gridfile` in a file."""

from collections.abc import Sequence

import numpy as np

from landscape.files.grid import Floats, Grid

Index = tuple[int, int, int]


class GridStore:
    """Keeps points in `grid`. name: what messages call it."""

    def __init__(self, grid: Grid, name: str = "surface"):
        self.grid = grid
        self.name = name

    def write(self, points: Sequence[tuple[Index, Floats]], evaluated: bool = True) -> None:
        """Store points: each its (plane, row, column) and an array (2, metrics) of values and standard errors."""
        where = tuple(np.array([index for index, _ in points]).T)
        results = np.stack([result for _, result in points])
        for number, name in enumerate(self.grid.values):
            self.grid.values[name][where] = results[:, 0, number]
            self.grid.stderr[name][where] = results[:, 1, number]
        self.grid.evaluated[where] = evaluated
        self.grid.done[where] = True

    def write_errors(self, errors: dict[str, float], limits: dict[str, float]) -> None:
        """Store how large the errors of interpolation were found to be, and what the largest is below."""
        self.grid.interpolation_error.update(errors)
        self.grid.interpolation_limit.update(limits)

    def write_interpolated(self, values: dict[str, Floats], errors: dict[str, float], limits: dict[str, float]) -> None:
        """Store interpolated values where no forward pass was made, and how large their errors are (`write_errors`)."""
        self.write_errors(errors, limits)
        where = np.argwhere(~self.grid.evaluated)
        if len(where):
            stacked = np.stack([values[name][tuple(where.T)] for name in self.grid.values], 1)
            results = np.stack([stacked, np.full_like(stacked, np.nan)], 1)
            self.write([(tuple(index), result) for index, result in zip(where, results, strict=True)], evaluated=False)

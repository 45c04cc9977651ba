"""Persistent homology of the sublevel sets {f <= t} of a function known at the points of a grid.

The grid is a cubical complex whose vertices are its points: an edge between neighbours in a row or column (4 of them)
is there from the larger of its ends' values on, a square from the largest of its corners'. Points on a diagonal are no
neighbours. gudhi's `CubicalComplex(vertices=f)` is the same complex.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Pair(NamedTuple):
    """Points, as flat indices, whose values are the birth and the death of a class; None where it never dies."""

    birth: int
    death: int | None


def basins(values: Floats) -> list[Pair]:
    """Classes of dimension 0 of `values` (ny, nx) that live for more than no time: the basins.

    Each component is born at its minimum; where two meet, the one born later, at the higher value, dies (the elder
    rule). Points of value inf belong to no sublevel set, so what they part never meets. Union-find over the points in
    the order of their values, O(n log n).
    """
    ny, nx = values.shape
    flat = values.ravel()
    order = [int(point) for point in np.argsort(flat, kind="stable") if flat[point] < np.inf]
    parent = np.full(flat.size, -1)  # -1: not there yet; the root of a component is its minimum
    pairs: list[Pair] = []
    for point in order:
        parent[point] = point
        row, column = divmod(point, nx)
        around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        for i, j in around:
            if not (0 <= i < ny and 0 <= j < nx) or parent[i * nx + j] < 0:
                continue
            older, younger = sorted(
                (_root(parent, point), _root(parent, i * nx + j)), key=lambda root: (flat[root], root)
            )
            if older == younger:
                continue
            parent[younger] = older
            if flat[younger] < flat[point]:
                pairs.append(Pair(younger, point))
    return [Pair(point, None) for point in order if parent[point] == point] + pairs


def _root(parent: NDArray[np.int64], point: int) -> int:
    while parent[point] != point:
        parent[point] = parent[parent[point]]  # halve the path
        point = int(parent[point])
    return point


def hills(values: Floats) -> list[Pair] | None:
    """Classes of dimension 1 that live for more than no time: loops around hills; None without gudhi.

    A loop is born where it closes and dies at the hill's top. One around points of value inf never dies.
    """
    try:
        from gudhi import CubicalComplex
    except ImportError:
        return None
    if min(values.shape) == 1:
        return []
    complex_ = CubicalComplex(vertices=values.T)  # it counts points along columns first
    complex_.compute_persistence(homology_coeff_field=2, min_persistence=0)
    regular, essential = complex_.vertices_of_persistence_pairs()
    flat = values.ravel()
    pairs = [Pair(int(birth), int(death)) for birth, death in regular[1]] if len(regular) > 1 else []
    pairs = [Pair(birth, death if flat[death] < np.inf else None) for birth, death in pairs]
    pairs += [Pair(int(birth), None) for birth in essential[1]] if len(essential) > 1 else []
    return [pair for pair in pairs if flat[pair.birth] < np.inf]

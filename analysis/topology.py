"""`python -m analysis.topology`: basins of a loss surface, by the persistent homology of its sublevel sets."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from analysis.pictures.persistence import Floats, Pair, basins, hills
from analysis.rows.formats import Rows, comma_separated, markdown
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, make_parent, parse, write_whole
from training.runtime.kinds import TABLES

DESCRIPTION = """List the basins of a loss surface, and how deep each is: persistent homology of its sublevel sets.

Example: python -m analysis.topology surface.h5 --metric l2 --out basins.csv

A basin is born at its minimum and dies where it meets a deeper one; death - birth is its persistence. Those within
--sigmas standard errors may be noise. With gudhi installed (extra `topology`) hills, the loops around them, are listed
too."""


@dataclass(frozen=True)
class Arguments:
    surface: Annotated[Path, tyro.conf.Positional]
    """A grid file, complete."""
    metric: str = ""
    """Which metric; default: the file's first."""
    plane: int = 0
    """Which plane of the file."""
    sigmas: float = 2.0
    """A persistence counts as more than noise above so many standard errors of the difference death - birth."""
    out: Path | None = None
    """Also write the table as CSV to this file; its path is then the last line."""
    json: bool = False
    """Print JSON only."""


@dataclass(frozen=True)
class Feature:
    """A basin (dimension 0) or a hill (dimension 1) of a surface, in units of the metric and of the directions.

    x, y: the minimum of a basin, the closing point of a hill's loop. death_x, death_y: the pass to a deeper basin, or
    the hill's top; NaN where it never dies. stderr: of death - birth. significant: None where none is known.
    """

    dimension: int
    birth: float
    death: float
    persistence: float
    x: float
    y: float
    death_x: float
    death_y: float
    stderr: float
    significant: bool | None


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.topology", DESCRIPTION)
    if not (math.isfinite(arguments.sigmas) and arguments.sigmas >= 0):
        raise InputError(f"--sigmas: expected a number of at least 0, found {arguments.sigmas:g}")
    if arguments.out:
        make_parent(arguments.out, TABLES["dimension", "birth", "death"])
    grid = read_grid(arguments.surface)
    metric = arguments.metric or next(iter(grid.values))
    values = surface_of(grid, metric, arguments.plane, str(arguments.surface))
    features = features_of(grid, metric, arguments.plane, values, arguments.sigmas)
    about = summary(grid, metric, arguments.plane, features)
    if arguments.json:
        features_json = [_plain(asdict(feature)) for feature in features]
        print(json.dumps({**about, "features": features_json}, indent=1, allow_nan=False))
    else:
        print(markdown(rows_of(features)))
        print(text_of(about))
    if arguments.out:
        write_whole(arguments.out, comma_separated(rows_of(features, exact=True)))
        if not arguments.json:
            print(arguments.out)


def surface_of(grid: Grid, metric: str, plane: int, source: str) -> Floats:
    """The (ny, nx) values of a complete surface, NaN of diverged points as inf: higher than anything.

    Raises InputError if the file has no such metric or plane, is not complete, or has no finite value.
    """
    if metric not in grid.values:
        raise InputError(f"{source}: expected --metric among {', '.join(grid.values)}, found {metric!r}")
    if not 0 <= plane < grid.shape[0]:
        raise InputError(f"{source}: expected --plane from 0 to {grid.shape[0] - 1}, found {plane}")
    if left := int((~grid.done[plane]).sum()):
        raise InputError(
            f"{source}: expected a complete surface, found {left} of {grid.done[plane].size} points to come; "
            "give the command that computes it again (python -m landscape.inspect names it)"
        )
    values = np.where(np.isnan(grid.values[metric][plane]), np.inf, grid.values[metric][plane])
    if not np.isfinite(values).any() or (values == -np.inf).any():
        raise InputError(f"{source}: expected finite values of {metric!r}, found -inf or none; choose another range")
    return values


def features_of(grid: Grid, metric: str, plane: int, values: Floats, sigmas: float) -> list[Feature]:
    """Basins, and hills where gudhi is installed, the most persistent first.

    The standard error of death - birth is sqrt(se_birth² + se_death²), as if both values were measured on images of
    their own. They share their images, which makes it an upper bound wherever their errors go together. A point without
    one (interpolated) takes the largest of the plane.
    """
    errors = grid.stderr[metric][plane]
    largest = float(errors[np.isfinite(errors)].max()) if np.isfinite(errors).any() else math.nan
    errors = np.where(np.isfinite(errors), errors, largest)
    pairs = [(0, pair) for pair in basins(values)] + [(1, pair) for pair in hills(values) or []]
    features = [_feature(grid, values, errors, dimension, pair, sigmas) for dimension, pair in pairs]
    return sorted(features, key=lambda feature: (feature.dimension, -feature.persistence, feature.birth))


def _feature(grid: Grid, values: Floats, errors: Floats, dimension: int, pair: Pair, sigmas: float) -> Feature:
    (x, y), birth = _place(grid, pair.birth), float(values.flat[pair.birth])
    if pair.death is None:
        return Feature(dimension, birth, math.inf, math.inf, x, y, math.nan, math.nan, 0.0, True)
    death = float(values.flat[pair.death])
    stderr = float(np.hypot(errors.flat[pair.birth], errors.flat[pair.death]))
    significant = None if math.isnan(stderr) else death - birth > sigmas * stderr
    return Feature(dimension, birth, death, death - birth, x, y, *_place(grid, pair.death), stderr, significant)


def _place(grid: Grid, point: int) -> tuple[float, float]:
    row, column = divmod(point, len(grid.x.values))
    return float(grid.x.values[column]), float(grid.y.values[row])


def summary(grid: Grid, metric: str, plane: int, features: list[Feature]) -> dict[str, Any]:
    """What the features amount to: counts by dimension and significance, and what they were measured on."""
    counts = {
        name: {
            "all": sum(feature.dimension == dimension for feature in features),
            "significant": sum(feature.dimension == dimension and bool(feature.significant) for feature in features),
        }
        for dimension, name in enumerate(("basins", "hills"))
    }
    if hills(np.zeros((1, 1))) is None:
        del counts["hills"]
    return {
        "metric": metric,
        "plane": plane,
        **counts,
        "diverged_points": int((~np.isfinite(grid.values[metric][plane])).sum()),
        "interpolated_points": int((~grid.evaluated[plane]).sum()),
        "stderr_known": bool(np.isfinite(grid.stderr[metric][plane]).any()),
    }


def text_of(about: dict[str, Any]) -> str:
    """The summary as one line."""
    parts = [
        f"{name}: {about[name]['all']}, of them beyond noise: {about[name]['significant']}"
        for name in ("basins", "hills")
        if name in about
    ]
    parts += [] if "hills" in about else ["hills not computed: install gudhi (extra topology)"]
    parts += [] if about["stderr_known"] else ["no standard errors in the file, so only what never dies is certain"]
    parts += [
        f"{name.replace('_', ' ')}: {about[name]}" for name in ("diverged_points", "interpolated_points") if about[name]
    ]
    return "; ".join(parts)


def rows_of(features: list[Feature], exact: bool = False) -> Rows:
    """A header and a row a feature, of numbers as they are read back exactly, or rounded for the eye."""
    header = list(Feature.__dataclass_fields__)

    def text(value: float | bool | None) -> str:
        if value is None:
            return ""
        if isinstance(value, bool | int):
            return str(int(value))
        return repr(value) if exact else f"{value:.4g}"

    return [header, *([text(value) for value in asdict(feature).values()] for feature in features)]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """With None for numbers that JSON has not."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


if __name__ == "__main__":
    raise SystemExit(command(main)())

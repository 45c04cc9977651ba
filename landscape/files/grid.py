"""Axes, grids and their HDF5 file: the border that torch and MPI objects do not cross. NumPy and h5py alone."""

import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.files.integrity import check_meta, digest_of_grid
from landscape.files.untrusted import open_untrusted
from training.runtime.command import InputError, make_parent, whole_file

FORMAT = "landscape-grid"
VERSION = 1
DIGEST = "digest/sha256"  # of a finished file, see landscape.files.integrity; 0 before
TRAJECTORY = "trajectory"  # the path that the plane was made for; it comes first
LARGEST_SIZE = 10**8  # numbers in a data set
LARGEST_STEP = 1e30  # beyond, single precision overflows whatever the weights

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """The steps along one direction, in units of that direction, increasing."""

    name: str
    values: Floats

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def spec(self) -> str:
        """`low:high:count`, and of steps that are not evenly spaced a digest, so that equal specs are equal axes."""
        low, high = float(self.values[0]), float(self.values[-1])
        text = f"{low!r}:{high!r}:{self.count}"
        if np.allclose(self.values, np.linspace(low, high, self.count), rtol=0, atol=1e-9 * (high - low)):
            return text
        return f"{text}:{hashlib.sha256(self.values.tobytes()).hexdigest()[:12]}"


def parse_axis(name: str, text: str) -> Axis:
    """`low:high:count` as an axis of evenly spaced values; InputError for anything else. `0:0:1` is a single point."""
    option = f"--{name}={text}"
    try:
        low_text, high_text, count_text = text.split(":")
        low, high, count = float(low_text), float(high_text), int(count_text)
    except ValueError:
        raise InputError(f"{option}: expected low:high:count, such as --{name}=-1:1:51") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{option}: expected finite ends, found {low:g} and {high:g}")
    if not 1 <= count <= 10_001:
        raise InputError(f"{option}: expected 1 to 10001 points, found {count}")
    if (count == 1) != (low == high) or low > high:
        raise InputError(
            f"{option}: expected low < high (or low = high with one point), found {low:g}, {high:g}, {count}"
        )
    if max(abs(low), abs(high)) > LARGEST_STEP:
        raise InputError(f"{option}: expected steps of at most {LARGEST_STEP:g}, found {low:g} and {high:g}")
    values = np.linspace(low, high, count)
    if (np.diff(values) <= 0).any():
        raise InputError(f"{option}: expected ends that {count} points can lie between, found {low!r} and {high!r}")
    values[np.abs(values) < 1e-12 * max(abs(low), abs(high))] = 0.0  # the base point itself, not one beside it
    return Axis(name, values)


@dataclass(frozen=True)
class Track:
    """Models on the plane, in order: a training trajectory, or one model alone.

    coordinates (n, 2): steps along x and y, by least squares. distance (n,): from the plane, in units of the weights.
    updates (n,): of the optimizer before each; NaN where not known.
    """

    coordinates: Floats
    distance: Floats
    updates: Floats


@dataclass
class Grid:
    """Metric values over K planes of (x, y) steps; row = y, column = x, always; a line has ny = 1.

    values, stderr: {metric: (K, ny, nx)}, NaN where there is no value. done: final (the value may be inf or NaN).
    evaluated: by a forward pass, not interpolated. interpolation_error: {metric: largest error at points held out from
    interpolation, as a share of the range of the transformed metric}, NaN where nothing was interpolated.
    interpolation_limit: {metric: what the largest error of all is below with 95% confidence}, likewise. meta: where
    all this came from, plain values. paths: trajectories and other models on the plane, by name. directions: arrays
    named `<plane>/<x or y>/<parameter>`, of a grid that was computed; none of one that was read, whose file has them.
    """

    x: Axis
    y: Axis
    values: dict[str, Floats]
    stderr: dict[str, Floats]
    done: Bools
    evaluated: Bools
    interpolation_error: dict[str, float] = field(default_factory=dict)
    interpolation_limit: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, Track] = field(default_factory=dict)
    directions: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)

    def save(self, path: Path | str) -> None:
        """Write the grid as a file, as `landscape.surface` does; one that is there is replaced, whole or not at all."""
        path = Path(path)
        make_parent(path)
        with whole_file(path) as temporary:
            write_new(temporary, self, self.directions)

    @property
    def shape(self) -> tuple[int, int, int]:
        planes, ny, nx = self.done.shape
        return planes, ny, nx


def empty_grid(x: Axis, y: Axis, metrics: list[str], planes: int, meta: dict[str, Any]) -> Grid:
    """A grid without values yet."""
    shape = (planes, len(y.values), len(x.values))
    return Grid(
        x,
        y,
        values={name: np.full(shape, np.nan) for name in metrics},
        stderr={name: np.full(shape, np.nan) for name in metrics},
        done=np.zeros(shape, bool),
        evaluated=np.zeros(shape, bool),
        interpolation_error=dict.fromkeys(metrics, math.nan),
        interpolation_limit=dict.fromkeys(metrics, math.nan),
        meta=meta,
    )


def write_new(path: Path, grid: Grid, directions: dict[str, NDArray[Any]]) -> None:
    """Write `grid` whole under a new file, every data set allocated; `directions` as `<k>/<x or y>/<parameter>`.

    HDF5's classic format: a process killed while elements are written later leaves it readable. Raises OSError if the
    file cannot be written.
    """
    with in_memory() as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = VERSION
        for name, value in grid.meta.items():
            file.attrs[name] = json.dumps(value)
        scales = [file.create_dataset("axes/plane", data=np.arange(grid.shape[0]))]
        scales += [file.create_dataset(f"axes/{axis.name}", data=axis.values) for axis in (grid.y, grid.x)]
        for scale in scales:
            scale.make_scale(scale.name.rsplit("/", 1)[1])
        arrays: dict[str, NDArray[Any]] = {f"metrics/{name}": values for name, values in grid.values.items()}
        arrays |= {f"stderr/{name}": values for name, values in grid.stderr.items()}
        arrays |= {"done": grid.done, "evaluated": grid.evaluated}
        for name, values in arrays.items():
            dataset = file.create_dataset(name, data=values)
            for dimension, scale in zip(dataset.dims, scales, strict=True):
                dimension.attach_scale(scale)
        for kind in ("interpolation_error", "interpolation_limit"):
            for name, number in getattr(grid, kind).items():
                file.create_dataset(f"{kind}/{name}", data=np.float64(number))
        for name, track in grid.paths.items():
            for part, values in vars(track).items():
                file.create_dataset(f"paths/{name}/{part}", data=values)
        for number, (name, values) in enumerate(directions.items()):
            # the model's order, as HDF5 lists names by the alphabet
            file.create_dataset(f"directions/{name}", data=values).attrs["order"] = number
        stated = bytes.fromhex(digest_of_grid(grid)) if grid.done.all() else bytes(32)
        file.create_dataset(DIGEST, data=np.frombuffer(stated, np.uint8))
        _link_for_xarray(file, grid)
        image = image_of(file)
    with open(path, "wb") as new:
        new.write(image)
        new.flush()
        os.fsync(new.fileno())  # some disks say only now that they are full


def in_memory() -> h5py.File:
    """A new HDF5 file without a disk: where HDF5 itself meets a full one, it goes on to crash."""
    return h5py.File("in memory", "w", driver="core", backing_store=False)


def image_of(file: h5py.File) -> bytes:
    """What the file of :func:`in_memory` would be on a disk."""
    file.flush()
    image: bytes = file.id.get_file_image()
    return image


def _link_for_xarray(file: h5py.File, grid: Grid) -> None:
    """Hard links in the root to axes, metrics and standard errors: NetCDF finds dimensions in a group and above it.

    A metric whose name the root already has is left where it is.
    """
    links = {name: f"axes/{name}" for name in ("plane", "y", "x")}
    links |= {name: f"metrics/{name}" for name in grid.values if name not in (*file, *links)}
    links |= {f"{name}_stderr": f"stderr/{name}" for name in grid.stderr if f"{name}_stderr" not in (*file, *links)}
    for link, name in links.items():
        file[link] = file[name]


def read_grid(path: Path | str) -> Grid:
    """Read a grid file, finished or still being written.

    Raises InputError if it is missing, damaged, of another kind, or of a newer version.
    """
    path = Path(path)
    try:
        with open_file(path) as file:
            stated = _digest(file)  # before the values: it is written after them, while others read
            grid = _read(file)
    except InputError:
        raise
    except Exception:  # HDF5 and json raise anything on damaged bytes
        raise damaged(path) from None
    check_meta(grid.meta, str(path))
    if not is_consistent(grid):
        raise damaged(path)
    if stated and stated != digest_of_grid(grid):
        raise InputError(
            f"{path}: expected the numbers that its digest is of, found others: it is damaged; compute it again"
        )
    return grid


def _digest(file: h5py.File) -> str:
    """The digest of a finished file; "" of one that grows, or of an older release."""
    stated = file[DIGEST][()].tobytes() if DIGEST in file else b""
    return stated.hex() if any(stated) else ""


def _read(file: h5py.File) -> Grid:
    meta = {name: json.loads(value) for name, value in file.attrs.items() if name not in ("format", "format_version")}
    definitions = list(meta.get("metrics", ()))  # in the order asked for; HDF5 lists names by the alphabet
    names = sorted(file["metrics"], key=lambda name: definitions.index(name) if name in definitions else -1)
    return Grid(
        Axis("x", _array(file["axes/x"])),
        Axis("y", _array(file["axes/y"])),
        values={name: _array(file["metrics"][name]) for name in names},
        stderr={name: _array(dataset) for name, dataset in file["stderr"].items()},
        done=_array(file["done"]).astype(bool),
        evaluated=_array(file["evaluated"]).astype(bool),
        interpolation_error={name: float(_array(error)) for name, error in file["interpolation_error"].items()},
        interpolation_limit={  # files of older releases have none
            name: float(_array(file[path])) if (path := f"interpolation_limit/{name}") in file else math.nan
            for name in names
        },
        meta=meta,
        paths={
            name: Track(*(_array(file[f"paths/{name}/{part}"]) for part in ("coordinates", "distance", "updates")))
            for name in sorted(file.get("paths", {}), key=lambda name: (name != TRAJECTORY, name))
        },
    )


def _array(dataset: h5py.Dataset) -> Floats:
    """The numbers or truth values of a data set; ValueError if it holds others, or says that it is larger than any."""
    if dataset.dtype.kind not in "bf" or dataset.size > LARGEST_SIZE:
        raise ValueError(f"{dataset.name}: expected at most {LARGEST_SIZE} numbers")
    return np.asarray(dataset[()], np.float64)


def is_consistent(grid: Grid) -> bool:
    """Whether axes increase, arrays are (K, ny, nx), and metrics, standard errors and definitions belong together."""
    axes = [axis.values for axis in (grid.y, grid.x)]
    if not all(axis.ndim == 1 and len(axis) and (np.diff(axis) > 0).all() for axis in axes):
        return False
    arrays = [grid.evaluated, *grid.values.values(), *grid.stderr.values()]
    shape = (len(grid.done), *map(len, axes))
    if not all(array.shape == grid.done.shape == shape for array in arrays):
        return False
    for track in grid.paths.values():
        count = track.updates.size
        if not (track.coordinates.shape == (count, 2) and track.distance.shape == track.updates.shape == (count,)):
            return False
    definitions = grid.meta.get("metrics")
    names = set(grid.values)
    return (
        bool(names)
        and isinstance(definitions, dict)
        and names == set(grid.stderr) == set(grid.interpolation_error) <= set(definitions)
        and all(isinstance(definitions[name], dict) and "transform" in definitions[name] for name in names)
        and isinstance(grid.meta.get("identity"), dict)
    )


def open_file(path: Path, looked_through: bool = False) -> h5py.File:
    """Open a grid file of this version to read, without a lock: it may still grow. InputError says what else it is.

    looked_through: this process has opened it before, or made it, so that it need not be looked through again.
    """
    try:
        file = h5py.File(path, "r", locking=False) if looked_through else open_untrusted(path, "a grid file")
    except OSError:
        raise damaged(path) from None
    try:
        kind, version = file.attrs.get("format"), file.attrs.get("format_version")
    except OSError:
        file.close()
        raise damaged(path) from None
    if not (isinstance(kind, str) and kind == FORMAT):
        file.close()
        raise InputError(f"{path}: expected a grid file (format {FORMAT!r}), found an HDF5 file of another kind")
    if not isinstance(version, np.integer):
        file.close()
        raise damaged(path)
    if version > VERSION:
        file.close()
        raise InputError(f"{path}: expected format version {VERSION} or older, found {version}; use a newer release")
    return file


def damaged(path: Path) -> InputError:
    return InputError(f"{path}: expected a grid file, found a damaged or foreign file; choose another")

"""The HDF5 layout of the reference tool (Li et al., "Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018).

A surface file holds `xcoordinates` (nx), `ycoordinates` (ny) and, under `train_loss`, `train_acc` (per cent) and
perhaps other names, values of shape (ny, nx), row = y; a line has no `ycoordinates` and values (nx). -1 means "not
computed", so that a value of exactly -1 cannot be told from none; values of at most 0 the tool computes again when it
goes on. A direction file holds the groups `xdirection` and `ydirection`, each with a data set "0", "1", … a parameter,
in the model's order.

The tool allocates (nx, ny) but writes elements in the order of (ny, nx): where nx and ny differ, its own files are to
be read in that order, not transposed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.files.grid import LARGEST_SIZE, Axis, Floats, Grid, empty_grid, image_of, in_memory, open_file
from landscape.files.untrusted import open_untrusted
from training.runtime.command import InputError, write_whole

SURFACE, DIRECTION_FILE = "a surface file of the reference layout", "a direction file of the reference layout"
NOT_COMPUTED = -1.0
COORDINATES = ("xcoordinates", "ycoordinates")
DIRECTIONS = {"x": "xdirection", "y": "ydirection"}
LOSS, ACCURACY = "train_loss", "train_acc"
OURS = "accuracy"  # a share, where the reference has per cent

Named = list[tuple[str, NDArray[Any]]]  # parameters and their directions, in the model's order


def to_reference(grid: Grid, metric: str, plane: int) -> dict[str, Floats]:
    """The data sets of the reference layout: `metric` as `train_loss`, accuracy as `train_acc`, -1 where not done.

    Inf and NaN of done points stay. `train_acc` is there in any case, since the tool's plots of lines ask for it.
    """
    done = grid.done[plane]
    loss = np.where(done, grid.values[metric][plane], NOT_COMPUTED)
    accuracy = np.full(done.shape, NOT_COMPUTED)
    if ACCURACY in grid.values:
        accuracy = np.where(done, grid.values[ACCURACY][plane], NOT_COMPUTED)
    elif OURS in grid.values:
        accuracy = np.where(done, 100 * grid.values[OURS][plane], NOT_COMPUTED)
    arrays = {"xcoordinates": grid.x.values, "ycoordinates": grid.y.values, LOSS: loss, ACCURACY: accuracy}
    if len(grid.y.values) == 1 and grid.y.values[0] == 0:  # a line
        del arrays["ycoordinates"]
        arrays |= {LOSS: loss[0], ACCURACY: accuracy[0]}
    return arrays


def write_reference(path: Path, arrays: dict[str, Floats], attributes: dict[str, str]) -> None:
    """Write the data sets, whole or not at all; the attributes are ours, which the reference tool passes over."""
    with in_memory() as file:
        for name, values in arrays.items():
            file[name] = values
        file.attrs.update(attributes)
        write_whole(path, image_of(file))


def attributes_of(grid: Grid, metric: str, plane: int) -> dict[str, str]:
    """Where the numbers came from, as JSON: what :func:`read_reference` needs to name the metrics as they were."""
    names = {LOSS: metric}
    if OURS in grid.values and ACCURACY not in grid.values:
        names[ACCURACY] = OURS
    about = {"names": names, "plane": plane, "meta": grid.meta}
    return {"landscape": json.dumps(about)}


def read_reference(path: Path, metric: str = "") -> Grid:
    """A surface file of the reference layout as a grid of one plane; only the data set `metric`, if one is named.

    A point is done where no data set has -1 there; one that is -1 everywhere was never computed and is left out.
    Raises InputError if the file is none of this layout.
    """
    try:
        with open_untrusted(path, SURFACE) as file:
            arrays = {name: _values(item) for name, item in file.items() if _is_numbers(item)}
            about = json.loads(file.attrs.get("landscape", "{}"))
    except InputError:
        raise
    except Exception:  # HDF5 raises anything on damaged bytes
        raise InputError(f"{path}: expected a surface file of the reference layout, found {_found(path)}") from None
    if "xcoordinates" not in arrays:
        raise InputError(f"{path}: expected a surface file of the reference layout, found no data set 'xcoordinates'")
    x, y = Axis("x", arrays["xcoordinates"]), Axis("y", arrays.get("ycoordinates", np.zeros(1)))
    check_increasing(path, (x, y))
    shape = (len(y.values), len(x.values))
    surfaces = {
        name: values.reshape(shape)  # (nx, ny) as the tool allocates it, too: its elements are in the order (ny, nx)
        for name, values in arrays.items()
        if name not in COORDINATES and values.shape in (shape, shape[::-1], (shape[1],) if shape[0] == 1 else shape)
    }
    if metric and metric not in surfaces:
        raise InputError(f"{path}: expected --metric among {', '.join(surfaces) or 'none'}, found {metric!r}")
    wanted = {metric: surfaces[metric]} if metric else _computed(surfaces)
    if not wanted:
        raise InputError(f"{path}: expected values of shape {shape}, such as {LOSS!r}, found none")
    return _grid(path, x, y, dict(sorted(wanted.items(), key=lambda item: item[0] != LOSS)), about)


def _computed(surfaces: dict[str, Floats]) -> dict[str, Floats]:
    """Without the data sets that are -1 everywhere, unless all are: a file that was only laid out."""
    begun = {name: values for name, values in surfaces.items() if (values != NOT_COMPUTED).any()}
    return begun or {name: values for name, values in surfaces.items() if name == LOSS} or surfaces


def _grid(path: Path, x: Axis, y: Axis, surfaces: dict[str, Floats], about: dict[str, Any]) -> Grid:
    names = {name: about.get("names", {}).get(name, name) for name in surfaces}
    before = about.get("meta", {})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    definitions = {
        new: before.get("metrics", {}).get(new) or _definition(name, surfaces[name]) for name, new in names.items()
    }
    meta = {
        **{key: value for key, value in before.items() if key not in ("identity", "metrics")},
        # of no run: a converted file is complete in itself, and nothing may resume it
        "identity": {"converted": "reference layout", "sha256": digest, "x": x.spec, "y": y.spec},
        "name": before.get("name") or path.stem,
        "metrics": definitions,
    }
    grid = empty_grid(x, y, list(names.values()), 1, meta)
    grid.done[0] = grid.evaluated[0] = np.all([values != NOT_COMPUTED for values in surfaces.values()], axis=0)
    for name, new in names.items():
        share = 0.01 if (name, new) == (ACCURACY, OURS) else 1.0
        grid.values[new][0] = np.where(grid.done[0], share * surfaces[name], np.nan)
    return grid


def _definition(name: str, values: Floats) -> dict[str, Any]:
    over = "test" if name.startswith("test") else "train"
    unit = ", per cent" if name.endswith("_acc") else ""
    positive = bool((values[np.isfinite(values) & (values != NOT_COMPUTED)] > 0).all())
    log = name.endswith("loss") and positive
    return {
        "definition": f"{name} of a file in the reference layout{unit}; no standard error",
        "over": [over],
        "transform": "log" if log else "none",
    }


def _is_numbers(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and 0 < item.ndim <= 2


def _values(item: h5py.Dataset) -> Floats:
    if item.size > LARGEST_SIZE:
        raise ValueError(f"{item.name}: expected at most {LARGEST_SIZE} numbers")
    return np.asarray(item[()], np.float64)


def _found(path: Path) -> str:
    return "a damaged or foreign file" if path.is_file() else "none"


def check_increasing(path: Path, axes: tuple[Axis, Axis]) -> None:
    """Raise InputError unless coordinates are finite and increase, as a grid's do."""
    for axis in axes:
        values = axis.values
        if values.ndim != 1 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            found = "others"
            if values.size > 1 and (values == values.flat[0]).all():
                found = f"{values.size} times {values.flat[0]:g}"
            raise InputError(f"{path}: expected {axis.name}coordinates that increase, found {found}")


def read_directions(path: Path, plane: int) -> dict[str, Named]:
    """The directions of one plane of a grid file by axis, in the model's order of parameters; empty if it has none."""
    with open_file(path) as file:
        group = file.get(f"directions/{plane}")
        if not isinstance(group, h5py.Group) or not all(isinstance(axis, h5py.Group) for axis in group.values()):
            return {}
        if any("order" not in dataset.attrs for axis in group.values() for dataset in axis.values()):
            raise InputError(
                f"{path}: expected directions with the model's order of parameters, found a file of an older release; "
                "compute the surface again"
            )
        return {axis: _in_order(group[axis]) for axis in DIRECTIONS if axis in group}


def _in_order(group: h5py.Group) -> Named:
    return [(name, item[()]) for name, item in sorted(group.items(), key=lambda named: named[1].attrs["order"])]


def write_reference_directions(path: Path, directions: dict[str, Named]) -> None:
    """Write a direction file of the reference layout, whole or not at all."""
    with in_memory() as file:
        for axis, named in directions.items():
            for number, (_, values) in enumerate(named):
                file[f"{DIRECTIONS[axis]}/{number}"] = values
        write_whole(path, image_of(file))


def read_reference_directions(path: Path) -> dict[str, NDArray[Any]]:
    """The directions of a file, named as :func:`landscape.files.grid.write_new` takes them: `0/x/<number>`."""
    try:
        with open_untrusted(path, DIRECTION_FILE) as file:
            return {
                f"0/{axis}/{number}": file[group][str(number)][()]
                for axis, group in DIRECTIONS.items()
                if axis == "x" or group in file
                for number in range(len(file[group]))
            }
    except InputError:
        raise
    except Exception:
        raise InputError(f"{path}: expected a direction file of the reference layout, found {_found(path)}") from None


def is_ambiguous(grid: Grid, metric: str, plane: int) -> int:
    """How many done values the reference tool would take for not computed: those of at most 0."""
    values = grid.values[metric][plane][grid.done[plane]]
    return int((values <= 0).sum())

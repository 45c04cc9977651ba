"""What a file of this project, or of the reference tool, holds: plain values, for :mod:`landscape.inspect` to print."""

import dataclasses
import math
import shlex
from pathlib import Path

import numpy as np

from landscape.files.grid import FORMAT, VERSION, Axis, Grid, damaged, open_file, read_grid
from landscape.files.known import About, about_text
from landscape.files.reference import read_reference, read_reference_directions
from landscape.files.untrusted import check_file, open_untrusted
from training.data.config import RunConfig
from training.runtime.lock import writer_of


def describe(path: Path) -> About:
    """What `path` holds, by its content, not its name; InputError if it is missing, damaged or foreign."""
    check_file(path, "a file")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\x89HDF"):
        return {"file": str(path), **_hdf5(path)}
    if start.startswith(b"PK"):
        return {"file": str(path), **_checkpoint(path)}
    return {"file": str(path), **about_text(path)}


def _hdf5(path: Path) -> About:
    with open_untrusted(path, "a grid file") as file:
        names, is_grid = set(file), "format" in file.attrs
    if not is_grid and "xcoordinates" in names:
        grid = read_reference(path)
        return {"kind": "surface in the reference tool's layout", **about_grid(grid), **_to_ours(path)}
    if not is_grid and "xdirection" in names:
        directions = read_reference_directions(path)
        return {
            "kind": "directions in the reference tool's layout",
            "directions": _sizes({name: np.size(values) for name, values in directions.items()}),
        }
    grid = read_grid(path)
    with open_file(path, looked_through=True) as file:
        version, stored = int(file.attrs["format_version"]), file.get("directions", {})
        try:
            sizes = {
                f"{plane}/{axis}/{name}": item.size
                for plane, axes in stored.items()
                for axis, named in axes.items()
                for name, item in named.items()
            }
        except AttributeError:  # a data set where a group is expected, or the reverse
            raise damaged(path) from None
    about = {"kind": "grid file", "format": FORMAT, "format_version": version, "newest_version": VERSION}
    return {**about, **about_grid(grid), "directions": _sizes(sizes), **_source(path, grid)}


def about_grid(grid: Grid) -> About:
    """Axes, planes, progress, and each metric with its definition, least and largest value and where they are."""
    return {
        "name": grid.meta.get("name", ""),
        "planes": grid.shape[0],
        "axes": {axis.name: _axis(axis) for axis in (grid.x, grid.y)},
        "progress": progress(grid),
        "metrics": {
            name: {
                **grid.meta["metrics"][name],
                **_extremes(grid, name),
                "finite": bool(np.isfinite(grid.values[name][grid.done]).any()) if grid.done.any() else None,
                "interpolation_error": _number(grid.interpolation_error[name]),
                "interpolation_limit": _number(grid.interpolation_limit.get(name, math.nan)),
            }
            for name in grid.values
        },
    }


def _axis(axis: Axis) -> About:
    return {"low": float(axis.values[0]), "high": float(axis.values[-1]), "points": len(axis.values)}


def progress(grid: Grid) -> About:
    """How many points there are, and how many are done, evaluated, interpolated, and diverged in some metric."""
    diverged = grid.done & ~np.all([np.isfinite(values) for values in grid.values.values()], axis=0)
    return {
        "points": int(grid.done.size),
        "done": int(grid.done.sum()),
        "evaluated": int((grid.evaluated & grid.done).sum()),
        "interpolated": int((grid.done & ~grid.evaluated).sum()),
        "diverged": int(diverged.sum()),
        "complete": bool(grid.done.all()),
    }


def _extremes(grid: Grid, name: str) -> About:
    """Least and largest finite value of the done points, with their places; None where there is none."""
    values = np.where(grid.done & np.isfinite(grid.values[name]), grid.values[name], np.nan)
    if np.isnan(values).all():
        return {"minimum": None, "maximum": None}

    def at(point: np.intp) -> About:
        plane, row, column = (int(i) for i in np.unravel_index(point, grid.shape))
        place = {"plane": plane, "x": float(grid.x.values[column]), "y": float(grid.y.values[row])}
        return {"value": float(values[plane, row, column]), **place}

    return {"minimum": at(np.nanargmin(values)), "maximum": at(np.nanargmax(values))}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sizes(directions: dict[str, int]) -> dict[str, About]:
    """Of each direction, `<plane>/<axis>`: how many parameters and numbers it has."""
    sizes: dict[str, About] = {}
    for name, numbers in directions.items():
        size = sizes.setdefault("/".join(name.split("/", 2)[:2]), {"parameters": 0, "numbers": 0})
        size["parameters"] += 1
        size["numbers"] += numbers
    return sizes


def _source(path: Path, grid: Grid) -> About:
    """Where a grid came from, who writes it, and the command that completes or repeats it."""
    keys = [key for key in grid.meta if key not in ("metrics", "name")]
    made = surface_command(str(grid.meta.get("command", "")), path)
    resumable = made is not None and "converted" not in grid.meta["identity"]
    again = {"continue" if not grid.done.all() else "repeat": made if resumable else None}
    return {"origin": {key: grid.meta[key] for key in keys}, "writer": writer_of(path), "commands": again}


def surface_command(recorded: str, path: Path) -> str | None:
    """The command line that made the grid file `path`, as a shell takes it; None if none is recorded.

    It is as it was given, but for the name after --out if the file has another now; ranks are free, and relative paths
    are from the folder that it was given in.
    """
    try:
        words = shlex.split(recorded)
    except ValueError:
        return None
    if not words or Path(words[0]).stem != "surface":
        return None
    options = words[1:]
    for i, word in enumerate(options):
        option, equals, value = word.partition("=")
        if option == "--out" and Path(value or next(iter(options[i + 1 : i + 2]), "")).name != path.name:
            options[i : i + 1 if equals else i + 2] = ["--out", str(path)]
            break
    return shlex.join(["python", "-m", "landscape.surface", *options])


def _to_ours(path: Path) -> About:
    words = ("python", "-m", "landscape.convert", str(path), "--from", "reference", "--out", f"{path.stem}-grid.h5")
    return {"commands": {"convert": shlex.join(words)}}


def _checkpoint(path: Path) -> About:
    from training.fitting.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    is_probe = "probe" in checkpoint.metrics
    return {
        "kind": "checkpoint of a linear probe" if is_probe else "checkpoint",
        "epoch": checkpoint.epoch,
        "metrics": checkpoint.metrics,
        "digest": checkpoint.digest,
        "data_digest": checkpoint.data_digest,
        "data_dir": checkpoint.data_dir,
        "parameters": sum(tensor.numel() for tensor in checkpoint.params.values()),
        "config": vars(checkpoint.config),
        "commands": {
            "repeat": None if is_probe else training_command(checkpoint.config, path.parent, checkpoint.data_dir)
        },
    }


def training_command(config: RunConfig, folder: Path, data_dir: str = "") -> str:
    """The command line that trains `config` into `folder`: the options that are not the defaults, and the data set."""
    words = ["python", "-m", "training.train", "--dataset", config.dataset]
    for field in dataclasses.fields(config):
        value, option = getattr(config, field.name), "--" + field.name.replace("_", "-")
        if field.name == "dataset" or value == field.default:
            continue
        words += [option if value else "--no-" + option[2:]] if isinstance(value, bool) else [option, str(value)]
    words += ["--data-dir", data_dir] if data_dir else []
    return shlex.join([*words, "--out", str(folder)])

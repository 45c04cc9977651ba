"""The one writer of a grid file: created whole, then written element by element, safe to kill at any instant."""

import errno
import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from landscape.files.grid import DIGEST, Floats, Grid, damaged, open_file, read_grid, write_new
from landscape.files.integrity import digest_of_grid
from landscape.files.store import GridStore, Index
from training.runtime.command import TEMPORARY, InputError, WriteError, writing
from training.runtime.lock import Lock


class Place(NamedTuple):
    """Where the elements of a data set lie: from `offset` in the file on, row by row."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class GridWriter(GridStore):
    """Opens `path` to write, made from `grid` if it is not there yet, and holds it against other writers.

    An existing file is resumed if its identity (`grid.meta["identity"]`) is the same. Raises InputError if it differs,
    naming what, if another process writes it, or if the folder cannot be written.
    """

    def __init__(self, path: Path, grid: Grid, directions: dict[str, NDArray[Any]]):
        super().__init__(grid, str(path))
        self.path = path
        self.lock = Lock(path)
        try:
            if path.exists():
                self.grid = read_grid(path)
                check_same(path, self.grid.meta.get("identity"), grid.meta["identity"])
                check_layout(path, self.grid, grid)
                in_order_of(grid, self.grid)
                self.grid.evaluated &= self.grid.done  # where a kill came between the two, the point is to be done
            else:
                _create(path, grid, directions)
            self.places = _places(path)
            self.file = _open_to_write(path)
        except BaseException:
            self.lock.release()
            raise

    def write(self, points: Sequence[tuple[Index, Floats]], evaluated: bool = True) -> None:
        """Store points: each its (plane, row, column) and an array (2, metrics) of values and standard errors.

        Values reach the file before their `done`, so what is done is whole whenever the process dies.
        """
        self.check_still_there()
        where = np.array([index for index, _ in points])
        results = np.stack([result for _, result in points])
        for number, name in enumerate(self.grid.values):
            self._put(f"metrics/{name}", where, results[:, 0, number])
            self._put(f"stderr/{name}", where, results[:, 1, number])
        self._put("evaluated", where, np.full(len(where), evaluated))
        self._put("done", where, np.ones(len(where), bool))
        super().write(points, evaluated)

    def write_errors(self, errors: dict[str, float], limits: dict[str, float]) -> None:
        for kind, numbers in (("interpolation_error", errors), ("interpolation_limit", limits)):
            for name, number in numbers.items():
                if f"{kind}/{name}" in self.places:  # a file of an older release has no limits
                    self._put(f"{kind}/{name}", np.zeros((1, 0), np.int64), np.array([number]))
        super().write_errors(errors, limits)

    def _put(self, name: str, where: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Write single elements of a data set."""
        offset, shape, dtype = self.places[name]
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        with writing(self.path):
            for element, value in zip(where @ np.array(strides, np.int64), values.astype(dtype), strict=True):
                _write_at(self.file, offset + int(element) * dtype.itemsize, value.tobytes())

    def check_still_there(self) -> None:
        """Raise WriteError if the file is no longer at its path, so that what is written would be lost."""
        try:
            if os.path.samestat(self.path.stat(), os.fstat(self.file.fileno())):
                return
        except OSError:
            pass
        raise WriteError(
            f"{self.path}: expected the file that this run writes, found it removed or replaced; start again"
        )

    def close(self) -> None:
        """End writing; a finished file gets its digest, by which readers see whether a byte has changed since."""
        if self.grid.done.all() and DIGEST in self.places:
            with suppress(OSError):  # a full disk, or a file that is gone, has been told of already
                _write_at(self.file, self.places[DIGEST].offset, bytes.fromhex(digest_of_grid(self.grid)))
        self.file.close()
        self.lock.release()


def check_same(path: Path, found: Any, wanted: dict[str, Any]) -> None:
    """Raise InputError that lists what differs between a file's identity and this run's."""
    found = found if isinstance(found, dict) else {}
    different = [
        f"{name} {_short(found.get(name))} instead of {_short(wanted.get(name))}"
        for name in sorted(set(found) | set(wanted))
        if found.get(name) != wanted.get(name)
    ]
    if different:
        raise InputError(
            f"{path}: expected a file of the same run, found one with {'; '.join(different)}; "
            "choose another --out, or delete the file"
        )


def check_layout(path: Path, found: Grid, wanted: Grid) -> None:
    """Raise InputError unless a file of the same run also has its data sets."""
    if found.shape != wanted.shape or any(
        getattr(found, name).keys() != getattr(wanted, name).keys()
        for name in ("values", "stderr", "interpolation_error")
    ):
        raise damaged(path)


def in_order_of(wanted: Grid, found: Grid) -> None:
    """Bring the metrics of `found`, which HDF5 lists by the alphabet, into the order of `wanted`, as results come."""
    found.values = {name: found.values[name] for name in wanted.values}
    found.stderr = {name: found.stderr[name] for name in wanted.values}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _create(path: Path, grid: Grid, directions: dict[str, NDArray[Any]]) -> None:
    temporary = path.with_name(f".{path.name}{TEMPORARY}")  # one left by a kill goes with the next, as it has the lock
    try:
        temporary.unlink(missing_ok=True)
        write_new(temporary, grid, directions)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: expected a folder that can be written, found {error.strerror}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _places(path: Path) -> dict[str, Place]:
    """Where in the file the elements of each data set to be written lie."""
    places = {}
    with open_file(path, looked_through=True) as file:
        kinds = ("metrics", "stderr", "interpolation_error", "interpolation_limit")
        names = [f"{kind}/{name}" for kind in kinds for name in file.get(kind, ())]
        for name in (*names, "evaluated", "done", *([DIGEST] if DIGEST in file else [])):
            offset = file[name].id.get_offset()
            if offset is None:  # in chunks, or not allocated: not made by `write_new`
                raise damaged(path)
            places[name] = Place(offset, file[name].shape, file[name].dtype)
    return places


def _open_to_write(path: Path) -> FileIO:
    try:
        return FileIO(path, "r+")
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be written, found {error.strerror}") from None


def _write_at(file: FileIO, offset: int, content: bytes) -> None:
    """Write past HDF5, which crashes at its end where it could not write, and promises no order in between."""
    if os.pwrite(file.fileno(), content, offset) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file.name))

"""HDF5 files as somebody might send them: nothing outside them is read, nothing in them ends or holds a reader."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.directions.saved import read_directions
from landscape.files.describe import describe
from landscape.files.grid import read_grid
from landscape.files.reference import read_reference, read_reference_directions
from tests.conftest import run_python
from tests.landscape.files.test_gridfile import GridWriter, grid, point
from training.runtime.command import InputError


def sound(path: Path) -> Path:
    """A finished file with directions."""
    whole = grid()
    writer = GridWriter(path, whole, {f"0/{axis}/weight": np.ones((2, 3)) for axis in "xy"})
    writer.write([(index, point(float(sum(index)))) for index in np.ndindex(*whole.shape)])
    writer.close()
    return path


def external_link(file: h5py.File) -> None:
    file["axes/z"] = h5py.ExternalLink("secret.h5", "/x")


def soft_link(file: h5py.File) -> None:
    file["axes/z"] = h5py.SoftLink("/axes")


def external_storage(file: h5py.File) -> None:
    del file["metrics/l2"]
    file.create_dataset("metrics/l2", (2, 3, 4), "f8", external=[("secret.h5", 0, 192)])


def virtual(file: h5py.File) -> None:
    del file["metrics/l2"]
    layout = h5py.VirtualLayout((2, 3, 4), "f8")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (2, 3, 4))
    file.create_virtual_dataset("metrics/l2", layout)


def bomb(file: h5py.File) -> None:
    file.create_dataset("train_loss", (10**8 // 2,), "f8", chunks=(10**6,), compression="gzip")


def never_written(file: h5py.File) -> None:
    file.create_dataset("train_loss", (10**12,), "f8")


def deep(file: h5py.File) -> None:
    group = file
    for _ in range(100):
        group = group.create_group("a")


def texts(file: h5py.File) -> None:
    file["texts"] = ["a"] * 2000


HOSTILE: dict[str, Callable[[h5py.File], None]] = {
    "a link to another place or file": external_link,
    "a link to another place": soft_link,
    "values that are in another file": external_storage,
    "values that are in another file, which": virtual,
    "data sets that unpack to more than": bomb,
    "data sets that unpack to more": never_written,
    "groups in groups more than 64 deep": deep,
    "more than 1000 texts": texts,
}


@pytest.mark.parametrize("found", HOSTILE)
def test_what_is_not_followed_is_named_by_every_reader(tmp_path: Path, found: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(24.0).reshape(2, 3, 4)
    path = sound(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        HOSTILE[found](file)
    readers = (
        *(read_grid, describe, read_reference, read_reference_directions),
        lambda path: read_directions(path, None, 0, 1),
    )
    for read in readers:
        with pytest.raises(InputError, match=f"a.h5: expected .*, found {found}"):
            read(path)


def test_a_heap_that_loops_ends_within_seconds(tmp_path: Path) -> None:
    """The size of an object in a global heap, made 0: HDF5 looks for the next one at the same place for ever."""
    whole = bytearray(sound(tmp_path / "a.h5").read_bytes())
    heap = whole.index(b"GCOL")
    whole[heap + 8 : heap + 16] = (1 << 40).to_bytes(8, "little")
    whole[heap + 16 + 8 : heap + 32] = (1 << 60).to_bytes(8, "little")
    (tmp_path / "b.h5").write_bytes(whole)
    start = time.monotonic()
    with pytest.raises(InputError, match="a damaged"):
        read_grid(tmp_path / "b.h5")
    assert time.monotonic() - start < 100


@pytest.mark.parametrize("name", ["metrics/l2", "stderr/own", "axes/x", "evaluated", "interpolation_error/l2"])
def test_a_number_that_changed_after_the_end_is_noticed(tmp_path: Path, name: str) -> None:
    path = sound(tmp_path / "a.h5")
    with h5py.File(path) as file:
        last = file[name].id.get_offset() + file[name].dtype.itemsize - 1  # of the first number: its sign, exponent
    content = bytearray(path.read_bytes())
    content[last] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.h5: expected .* found (others: it is damaged|a damaged or foreign file)"):
        read_grid(path)


def test_a_mask_or_an_attribute_that_changed_after_the_end_is_noticed(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.h5")
    shutil.copy(path, tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        file["done"][0, 0, 0] = False
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file.attrs["identity"] = '{"seed": 1, "x": "-1:1:4"}'
    for name in ("a.h5", "b.h5"):
        with pytest.raises(InputError, match="expected the numbers that its digest is of"):
            read_grid(tmp_path / name)


def test_a_converted_or_saved_grid_has_its_digest_and_an_unfinished_one_has_none(tmp_path: Path) -> None:
    whole = read_grid(sound(tmp_path / "a.h5"))
    whole.save(tmp_path / "b.h5")
    GridWriter(tmp_path / "c.h5", grid(), {}).close()
    stated = {}
    for name in "abc":
        with h5py.File(tmp_path / f"{name}.h5") as file:
            stated[name] = file["digest/sha256"][()].tobytes()
    assert stated["a"] == stated["b"] != bytes(32)
    assert stated["c"] == bytes(32)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("config", '{"loss": 3}', "config.loss: 3"),
        ("config", '{"width": "16"}', "config.width: '16'"),
        ("checkpoint_metrics", '{"auroc": "0.9"}', "checkpoint_metrics.auroc: '0.9'"),
        ("checkpoint_metrics", '{"auroc": null}', "checkpoint_metrics.auroc: None"),
        ("metrics", '{"l2": {"transform": "sqrt"}, "own": {"transform": "log"}}', "metrics.l2.transform: 'sqrt'"),
        ("plane", '{"kind": "between", "models": [1]}', "plane.models.0: 1"),
        ("name", '"\\ud800"', "name: "),
        ("device", '{"a": "\\ud800"}', "device: "),
        ("ranges", '{"x": {}}', "no ranges.x.asked"),
    ],
)
def test_attributes_of_another_type_are_named(tmp_path: Path, name: str, value: str, found: str) -> None:
    path = tmp_path / "a.h5"
    GridWriter(path, grid(), {}).close()
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(InputError, match=f"expected attributes as landscape.surface writes them, found {found}"):
        read_grid(path)


def test_directions_that_are_a_data_set_are_named(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["directions"]
        file["directions"] = 1.0
    with pytest.raises(InputError, match="a damaged or foreign file"):
        describe(path)


def test_what_is_no_file_and_what_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo.h5")
    for name, found in (("fifo.h5", "something that is no file"), ("none.h5", "none"), (".", "a folder")):
        with pytest.raises(InputError, match=f"expected a grid file, found {found}"):
            read_grid(tmp_path / name)
    path = sound(tmp_path / "a.h5")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)  # root may read any file
    with pytest.raises(InputError, match="expected a grid file that can be read, found Permission denied"):
        read_grid(path)


TIMED = """
import resource, sys
from pathlib import Path
import torch
from landscape.files.untrusted import looked_through

def spent():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)

times = []
for _ in range(30):
    before = spent()
    assert looked_through(Path(sys.argv[1])) == ""
    times.append(spent() - before)
print(min(times))
"""


def test_looking_through_a_sound_file_takes_milliseconds(tmp_path: Path) -> None:
    """In processor time, of a command's process and of the one that looks: it does not depend on what else is running.

    In a process of its own: a fork costs the more the more memory its parent has, and tests have held much.
    """
    done = run_python("-c", TIMED, sound(tmp_path / "a.h5"))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.05

"""Damaged files and random command lines: a grid, or one line that says what is wrong; never a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from figures import fig1
from landscape import surface
from landscape.files.grid import read_grid
from landscape.files.gridfile import GridWriter
from tests.conftest import ROOT
from tests.landscape.files.test_gridfile import grid, point
from training import train
from training.runtime.command import InputError, command

READ = """
import sys, pathlib
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError
for path in map(pathlib.Path, sys.argv[1:]):
    print(path, flush=True)
    try:
        assert isinstance(read_grid(path), Grid)
    except InputError as error:
        assert path.name in str(error) and "\\n" not in str(error)
"""


def small_file(path: Path) -> Path:
    writer = GridWriter(path, grid(), {"0/x/weight": np.ones(3)})
    writer.write([((0, 2, 3), point(5.0)), ((1, 0, 1), point(-1.0))])
    writer.close()
    return path


def mutated(whole: bytes, number: int) -> bytes:
    """Cut, flipped, overwritten or spliced bytes, by a seeded draw; half of them near the start, where headers lie."""
    random = np.random.default_rng(number)
    content = bytearray(whole)
    reach = len(content) if number % 2 else min(len(content), 3000)
    for _ in range(int(random.integers(1, 8))):
        at = int(random.integers(reach))
        kind = random.integers(4)
        if kind == 0:
            content[at] ^= 1 << int(random.integers(8))
        elif kind == 1:
            content[at : at + 8] = random.bytes(len(content[at : at + 8]))
        elif kind == 2:
            source = int(random.integers(reach))
            content[at : at + 16] = content[source : source + len(content[at : at + 16])]
        elif number % 5 == 0:
            del content[at:]
            break
    return bytes(content)


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """In a process of its own: of damage to its heaps of strings, some 1% of all, HDF5 itself dies or never ends."""
    whole = small_file(tmp_path / "g.h5").read_bytes()
    paths = [tmp_path / f"{number:03}.h5" for number in range(150)]
    for number, path in enumerate(paths):
        path.write_bytes(mutated(whole, number))
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(paths)


def replace(file: h5py.File, name: str, value: object) -> None:
    del file[name]
    if value is not None:
        file[name] = value


CHANGES = {
    "done of another shape": lambda file: replace(file, "done", np.ones((2, 2), bool)),
    "done of text": lambda file: replace(file, "done", "yes"),
    "no evaluated": lambda file: replace(file, "evaluated", None),
    "metric of another shape": lambda file: replace(file, "metrics/l2", np.ones(3)),
    "metric of text": lambda file: replace(file, "metrics/l2", "five"),
    "metrics no group": lambda file: replace(file, "metrics", 3),
    "metrics empty": lambda file: file["metrics"].clear(),
    "stderr missing one": lambda file: replace(file, "stderr/l2", None),
    "axis empty": lambda file: replace(file, "axes/x", np.array([])),
    "axis of text": lambda file: replace(file, "axes/x", "abcd"),
    "axis not increasing": lambda file: replace(file, "axes/x", np.array([1.0, 0, 2, 3])),
    "axis of another length": lambda file: replace(file, "axes/y", np.arange(7.0)),
    "axis a group": lambda file: (replace(file, "axes/y", None), file.create_group("axes/y")),
    "attribute no JSON": lambda file: file.attrs.__setitem__("identity", "{"),
    "attribute a number": lambda file: file.attrs.__setitem__("identity", 3),
    "attribute an array": lambda file: file.attrs.__setitem__("format", np.arange(3)),
    "version a text": lambda file: file.attrs.__setitem__("format_version", "two"),
    "no definitions": lambda file: file.attrs.__delitem__("metrics"),
    "definitions a list": lambda file: file.attrs.__setitem__("metrics", "[]"),
    "interpolation error an array": lambda file: replace(file, "interpolation_error/l2", np.ones(3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_files_of_another_layout_are_refused_by_all_readers(tmp_path: Path, name: str) -> None:
    path = small_file(tmp_path / "g.h5")
    with h5py.File(path, "r+") as file:
        CHANGES[name](file)
    with pytest.raises(InputError, match=r"g\.h5: expected"):
        read_grid(path)
    with pytest.raises(InputError, match=r"g\.h5: expected"):
        GridWriter(path, grid(), {})
    assert command(fig1.main)([str(path), str(path), "--out", str(tmp_path / "f.png")]) == 2


OPTIONS = ("x", "y", "metrics", "planes", "seed", "out", "problem", "ckpt", "threads", "device", "adaptive", "normal")
OTHERS = ("epochs", "patches", "loss", "lr", "help", "metric", "height", "follow", "plane", "dataset", "data-dir")
VALUES = ("-1:1:3", "nan:1:3", "", "l2,,own", "-1", "9" * 30, "a:b", "..:f", "absent.pt", "/dev/null", ".", "0.5", "é")
WORDS = st.sampled_from([f"--{name}" for name in OPTIONS + OTHERS] + ["--x=-1:1:3", "--y=", *VALUES])
COMMANDS = {
    "surface": (surface.main, ["--ckpt", "absent.pt", "--out", "absent/folder/a.h5"]),
    "train": (train.main, ["--dataset", "mvtec", "--category", "absent", "--out", "absent/folder"]),
    "fig1": (fig1.main, ["--out", "absent.bmp"]),
}


@pytest.mark.parametrize("name", COMMANDS)
@given(words=st.lists(WORDS | st.text(max_size=8), max_size=6), last=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_command_lines_are_answered(
    name: str, words: list[str], last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an input that cannot be used among them, so that none starts to work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    main, unusable = COMMANDS[name]
    try:
        status = command(main)([*words, *unusable] if last else [*unusable, *words])
    except SystemExit as usage:
        status = usage.code
    assert status in (0, 1, 2)


def test_attributes_stay_json(tmp_path: Path) -> None:
    with h5py.File(small_file(tmp_path / "g.h5")) as file:
        for name, value in file.attrs.items():
            assert name in ("format", "format_version") or json.loads(value) is not None

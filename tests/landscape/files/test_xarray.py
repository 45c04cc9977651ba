"""The grid file in xarray: `/metrics` with their axes as coordinates, in one call, also while the file grows."""

from pathlib import Path

import numpy as np
import xarray as xr

from landscape.files.grid import empty_grid, parse_axis, read_grid
from landscape.files.gridfile import GridWriter

NAMES = ["l2", "l2@test-normal", "done", "x", "directions"]  # three that the file's root has already


def writer_of(path: Path) -> GridWriter:
    meta = {"identity": {}, "metrics": {name: {"transform": "log"} for name in NAMES}}
    grid = empty_grid(parse_axis("x", "-1:1:4"), parse_axis("y", "0:1:3"), NAMES, 2, meta)
    return GridWriter(path, grid, {"0/x/conv.weight": np.ones((2, 3))})


def point(value: float) -> np.ndarray:
    return np.stack([value + np.arange(len(NAMES)), 0.1 * np.ones(len(NAMES))])


def test_values_standard_errors_and_axes_in_one_call(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "g.h5")
    writer.write([((0, 2, 3), point(5.0)), ((1, 0, 1), point(-np.inf))])
    with xr.open_dataset(tmp_path / "g.h5", engine="h5netcdf") as data:  # while it is open for writing
        assert dict(data.sizes) == {"plane": 2, "y": 3, "x": 4}
        assert data["l2"].dims == data["done"].dims == ("plane", "y", "x")
        np.testing.assert_array_equal(data.x, np.linspace(-1, 1, 4))
        np.testing.assert_array_equal(data.y, [0, 0.5, 1])
        assert data.l2.sel(plane=0, y=1, x=1) == 5
        assert data["l2@test-normal"].sel(plane=0, y=1, x=1) == 6
        assert data.l2_stderr.sel(plane=0, y=1, x=1) == 0.1
        assert data.l2.sel(plane=1, y=0).isel(x=1) == -np.inf
        assert data.done.dtype == bool
        assert data.done.sum() == 2
        assert bool(data.done.sel(plane=0, y=1, x=1))
    writer.close()


def test_metrics_whose_names_are_taken_stay_in_their_group(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "g.h5")
    writer.write([((0, 2, 3), point(5.0))])
    writer.close()
    with xr.open_dataset(tmp_path / "g.h5", engine="h5netcdf", group="metrics") as data:
        assert set(data.variables) == set(NAMES)
        assert data["done"][0, 2, 3] == 7
    assert read_grid(tmp_path / "g.h5").values["x"][0, 2, 3] == 8


def test_the_links_lead_to_what_is_written_later(tmp_path: Path) -> None:
    writer_of(tmp_path / "g.h5").close()
    again = writer_of(tmp_path / "g.h5")
    again.write([((1, 1, 1), point(2.5))])
    again.close()
    with xr.open_dataset(tmp_path / "g.h5", engine="h5netcdf") as data:
        assert data.l2[1, 1, 1] == 2.5
        assert data.l2.notnull().sum() == 1

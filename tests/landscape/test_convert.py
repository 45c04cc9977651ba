"""Conversions: the reference tool's layout there and back, square or not; VTK parsed back; tables; what is refused."""

import base64
import csv
import xml.etree.ElementTree as ET
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.convert import main as uncaught
from landscape.files.grid import Grid, empty_grid, parse_axis, read_grid, write_new
from landscape.surface import main as surface
from training.runtime.command import command

main = command(uncaught)
LOG, PLAIN = {"definition": "a loss", "over": ["train"], "transform": "log"}, {"definition": "-", "transform": "none"}


def made(x: str = "-1:1:4", y: str = "0:2:3", planes: int = 2) -> Grid:
    """Metrics own, accuracy, l2: own is 100·plane + 10·row + column + 1; one point undone, one NaN, one inf."""
    metrics = {"own": LOG, "accuracy": PLAIN, "l2": LOG}
    meta = {"identity": {"seed": 3}, "metrics": metrics, "name": "m", "config": {"loss": "l2"}}
    grid = empty_grid(parse_axis("x", x), parse_axis("y", y), list(metrics), planes, meta)
    plane, row, column = np.indices(grid.shape)
    grid.values["own"][:] = 100 * plane + 10 * row + column + 1
    grid.values["accuracy"][:] = (column + 1) / 8
    grid.values["l2"][:] = 2.0 ** -(10 * row + column)
    for values in grid.stderr.values():
        values[:] = 0.25
    grid.done[:] = grid.evaluated[:] = True
    grid.done[:, -1, 1] = grid.evaluated[:, -1, 1] = False
    for name in grid.values:
        grid.values[name][:, -1, 1] = np.nan
    grid.values["own"][:, 0, 2], grid.values["own"][:, 0, 3] = np.nan, np.inf
    return grid


def stored(folder: Path, grid: Grid) -> Path:
    directions = {f"{k}/{axis}/{name}": np.full((2, 3), k) for k in (0, 1) for axis in "xy" for name in ("z.w", "a.w")}
    directions["1/x/z.w"] = np.arange(6.0).reshape(2, 3)
    write_new(folder / "ours.h5", grid, directions)
    return folder / "ours.h5"


def convert(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def plotted(path: Path, name: str = "train_loss") -> dict[tuple[float, float], float]:
    """(x, y) -> value as a plot with meshgrid coordinates shows it: value [i, j] lies at x[j], y[i]."""
    with h5py.File(path) as file:
        x, values = file["xcoordinates"][:], file[name][:]
        if "ycoordinates" not in file:
            return {(a, 0.0): v for a, v in zip(x, values, strict=True)}
        y = file["ycoordinates"][:]
    assert values.shape == (len(y), len(x))
    return {(a, b): values[i, j] for i, b in enumerate(y) for j, a in enumerate(x)}


@pytest.mark.parametrize("plane", [0, 1])
def test_the_reference_tool_plots_each_value_at_its_point(tmp_path: Path, plane: int) -> None:
    grid = made()
    convert(stored(tmp_path, grid), "--to", "reference", "--plane", plane, "--out", tmp_path / "ref.h5")
    found = plotted(tmp_path / "ref.h5")
    for row, y in enumerate(grid.y.values):
        for column, x in enumerate(grid.x.values):
            expected = grid.values["own"][plane, row, column] if grid.done[plane, row, column] else -1
            np.testing.assert_equal(found[x, y], expected)
    accuracies = plotted(tmp_path / "ref.h5", "train_acc")
    assert accuracies[grid.x.values[3], 0.0] == 50  # per cent
    assert accuracies[grid.x.values[1], 2.0] == -1


@pytest.mark.parametrize(("x", "y"), [("-1:1:4", "0:2:3"), ("-1:1:4", "-1:1:4"), ("-1:1:4", "0:0:1")])
def test_there_and_back(tmp_path: Path, x: str, y: str) -> None:
    grid = made(x, y)
    ours = stored(tmp_path, grid)
    convert(ours, "--to", "reference", "--plane", 1, "--out", tmp_path / "ref.h5")
    with h5py.File(tmp_path / "ref.h5") as file:
        assert ("ycoordinates" in file) == (y != "0:0:1")
    convert(tmp_path / "ref.h5", "--from", "reference", "--out", tmp_path / "back.h5")
    back = read_grid(tmp_path / "back.h5")
    assert list(back.values) == ["own", "accuracy"]
    np.testing.assert_array_equal(back.x.values, grid.x.values)
    np.testing.assert_array_equal(back.y.values, grid.y.values)
    np.testing.assert_array_equal(back.done[0], grid.done[1])
    np.testing.assert_array_equal(back.values["own"][0], grid.values["own"][1])  # NaN and inf of done points as well
    np.testing.assert_allclose(back.values["accuracy"][0], grid.values["accuracy"][1])
    assert back.meta["metrics"]["own"] == LOG
    assert back.meta["config"] == {"loss": "l2"}
    assert back.meta["identity"] != grid.meta["identity"]


def test_another_metric_can_be_named(tmp_path: Path) -> None:
    convert(stored(tmp_path, made()), "--to", "reference", "--metric", "l2", "--out", tmp_path / "ref.h5")
    assert plotted(tmp_path / "ref.h5")[-1.0, 1.0] == 2.0**-10


def as_the_reference_tool(path: Path, nx: int, ny: int, **values: np.ndarray) -> None:
    """Its files: allocated (nx, ny), element k belonging to the k-th point of meshgrid(x, y), of shape (ny, nx)."""
    with h5py.File(path, "w") as file:
        file["dir_file"] = "some_directions.h5"
        file["xcoordinates"], file["ycoordinates"] = np.linspace(-1, 1, nx), np.linspace(-2, 2, ny)
        for name, flat in values.items():
            file[name] = flat.reshape(nx, ny)


@pytest.mark.parametrize(("nx", "ny"), [(4, 3), (3, 5), (4, 4)])
def test_its_own_files_are_read_in_the_order_it_wrote(tmp_path: Path, nx: int, ny: int) -> None:
    x, y = (part.ravel() for part in np.meshgrid(np.linspace(-1, 1, nx), np.linspace(-2, 2, ny)))
    loss = 10 + 3 * x + y
    loss[[1, nx]] = -1, np.nan
    as_the_reference_tool(tmp_path / "ref.h5", nx, ny, train_loss=loss, train_acc=50 + x, test_loss=-np.ones(nx * ny))
    convert(tmp_path / "ref.h5", "--from", "reference", "--out", tmp_path / "ours.h5")
    grid = read_grid(tmp_path / "ours.h5")
    assert set(grid.values) == {"train_loss", "train_acc"}  # test_loss was never computed
    expected = 10 + 3 * grid.x.values + grid.y.values[:, None]
    assert np.argwhere(~grid.done).tolist() == [[0, 0, 1]]
    good = grid.done[0].copy()
    good[1, 0] = False
    np.testing.assert_allclose(grid.values["train_loss"][0][good], expected[good])
    assert np.isnan(grid.values["train_loss"][0, 1, 0])  # diverged, but done
    assert grid.done[0, 1, 0]
    assert grid.meta["metrics"]["train_loss"]["transform"] == "log"


def test_negative_losses_are_kept_but_for_the_formats_own_minus_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = made()
    grid.values["own"][0, 1, :3] = -2.0, 0.0, -1.0
    convert(stored(tmp_path, grid), "--to", "reference", "--out", tmp_path / "ref.h5")
    assert "3 values are at most 0" in capsys.readouterr().err
    convert(tmp_path / "ref.h5", "--from", "reference", "--out", tmp_path / "back.h5")
    back = read_grid(tmp_path / "back.h5")
    assert back.values["own"][0, 1, :2].tolist() == [-2, 0]
    assert back.done[0, 1].tolist() == [True, True, False, True]


def test_directions_go_there_and_back_in_the_models_order(tmp_path: Path) -> None:
    words = ("--to", "reference", "--plane", 1, "--directions", tmp_path / "dir.h5", "--out", tmp_path / "ref.h5")
    convert(stored(tmp_path, made()), *words)
    with h5py.File(tmp_path / "dir.h5") as file:
        assert sorted(file) == ["xdirection", "ydirection"]
        assert sorted(file["xdirection"]) == ["0", "1"]
        np.testing.assert_array_equal(file["xdirection/0"], np.arange(6).reshape(2, 3))  # z.w comes first in the model
        np.testing.assert_array_equal(file["xdirection/1"], np.ones((2, 3)))
    words = ("--from", "reference", "--directions", tmp_path / "dir.h5", "--out", tmp_path / "back.h5")
    convert(tmp_path / "ref.h5", *words)
    with h5py.File(tmp_path / "back.h5") as file:
        np.testing.assert_array_equal(file["directions/0/x/0"], np.arange(6).reshape(2, 3))
        assert set(file["directions/0"]) == {"x", "y"}


def test_a_computed_line_plots_in_the_reference_tool(tmp_path: Path) -> None:
    out = tmp_path / "line.h5"
    surface(["--problem", "tests.problems:quadratic", "--x=-1:1:5", "--threads", "1", "--out", str(out)])
    convert(out, "--to", "reference", "--directions", tmp_path / "dir.h5", "--out", tmp_path / "ref.h5")
    with h5py.File(tmp_path / "ref.h5") as file, h5py.File(tmp_path / "dir.h5") as directions:
        assert set(file) == {"xcoordinates", "train_loss", "train_acc"}
        np.testing.assert_array_equal(file["train_loss"][:], read_grid(out).values["l2"][0, 0])
        assert (file["train_acc"][:] == -1).all()
        assert set(directions) == {"xdirection"}
        assert directions["xdirection/0"].shape == (3, 5)


def parsed(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The piece's counts and the arrays of a VTK XML file, read by the format's description."""
    root = ET.parse(path).getroot()
    assert root.attrib["type"] == "PolyData"
    arrays = {}
    for section in ("PointData", "Points", "Lines", "Polys"):
        for item in root.iter(section):
            for array in item:
                content = base64.b64decode(array.text)
                length = int.from_bytes(content[:8], "little")
                kind = {"Float64": "<f8", "Int64": "<i8", "UInt8": "u1"}[array.attrib["type"]]
                assert len(content) == 8 + length
                arrays[f"{section}/{array.attrib['Name']}"] = np.frombuffer(content[8:], kind)
    return root.find("PolyData/Piece").attrib, arrays


def test_a_vtk_surface_has_its_points_heights_and_no_cell_at_holes(tmp_path: Path) -> None:
    grid = made()
    out = tmp_path / "s.vtp"
    convert(stored(tmp_path, grid), "--to", "vtk", "--plane", 1, "--height", "linear", "--out", out)
    piece, arrays = parsed(out)
    points = arrays["Points/Points"].reshape(-1, 3)
    assert int(piece["NumberOfPoints"]) == len(points) == 12
    quads = arrays["Polys/connectivity"].reshape(-1, 4)
    assert int(piece["NumberOfPolys"]) == len(quads) == len(arrays["Polys/offsets"])
    assert arrays["Polys/offsets"].tolist() == [4, 8]  # of 6 quadrilaterals 2 have four heights
    np.testing.assert_allclose(points[quads[0]][:, :2], [[-1, 0], [-1 / 3, 0], [-1 / 3, 1], [-1, 1]])
    assert points[quads[0]][:, 2].tolist() == [101, 102, 112, 111]
    np.testing.assert_array_equal(arrays["PointData/own"].reshape(3, 4), grid.values["own"][1])
    np.testing.assert_array_equal(arrays["PointData/l2_stderr"], 0.25)
    np.testing.assert_array_equal(arrays["PointData/done"].reshape(3, 4), grid.done[1])


def test_the_height_is_the_log_where_the_metric_has_one(tmp_path: Path) -> None:
    ours = stored(tmp_path, made())
    for metric, height in (("l2", -np.log10(2)), ("accuracy", 2 / 8)):
        convert(ours, "--to", "vtk", "--metric", metric, "--out", tmp_path / "s.vtp")
        heights = parsed(tmp_path / "s.vtp")[1]["Points/Points"].reshape(-1, 3)[:, 2]
        assert heights[1] == pytest.approx(height)


def test_a_line_is_segments(tmp_path: Path) -> None:
    convert(stored(tmp_path, made(y="0:0:1")), "--to", "vtk", "--metric", "l2", "--out", tmp_path / "s.vtp")
    assert parsed(tmp_path / "s.vtp")[1]["Lines/connectivity"].tolist() == [2, 3]  # point 1 is not done


def test_a_table_has_a_row_a_point_and_metric(tmp_path: Path) -> None:
    grid = made()
    ours = stored(tmp_path, grid)
    convert(ours, "--to", "csv", "--out", tmp_path / "all.csv")
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert len(rows) == 2 * 3 * 4 * 3
    for row in rows:
        here = (
            int(row["plane"]),
            *(int(np.flatnonzero(axis.values == float(row[axis.name]))[0]) for axis in (grid.y, grid.x)),
        )
        np.testing.assert_equal(float(row["value"]), grid.values[row["metric"]][here])
        assert row["done"] == row["evaluated"] == str(int(grid.done[here]))
    convert(ours, "--to", "csv", "--plane", 1, "--metric", "l2", "--out", tmp_path / "one.csv")
    rows = list(csv.DictReader((tmp_path / "one.csv").open()))
    assert {(row["plane"], row["metric"]) for row in rows} == {("1", "l2")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ours.h5 --out o.h5", "--to, --from: expected one of them, found neither"),
        ("ours.h5 --to vtk --from reference --out o.h5", "found both"),
        ("ours.h5 --to vtk --out o.h5", "ends in .vtp"),
        ("ours.h5 --to csv --metric l7 --out o.csv", "expected --metric among own, accuracy, l2, found 'l7'"),
        ("ours.h5 --to csv --plane 2 --out o.csv", "--plane from 0 to 1, found 2"),
        ("ours.h5 --to csv --out ours.h5", "expected another file than those read"),
        ("absent.h5 --to csv --out o.csv", "found none; make one"),
        ("absent.h5 --from reference --out o.h5", "expected a surface file of the reference layout, found none"),
        ("text.h5 --from reference --out o.h5", "found a damaged or foreign file"),
        ("ours.h5 --from reference --out o.h5", "found no data set 'xcoordinates'"),
        ("bare.h5 --from reference --out o.h5", "expected values of shape (1, 3), such as 'train_loss', found none"),
        ("down.h5 --from reference --out o.h5", "expected xcoordinates that increase"),
        ("flat.h5 --from reference --out o.h5", "expected ycoordinates that increase, found 3 times 0"),
        ("ref.h5 --from reference --metric m --out o.h5", "expected --metric among train_loss, found 'm'"),
        ("ref.h5 --from reference --directions ours.h5 --out o.h5", "expected a direction file of the reference"),
        ("ours.h5 --to csv --directions d.h5 --out o.csv", "--directions: expected with"),
        ("blind.h5 --to reference --directions d.h5 --out o.h5", "expected directions to write"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path, made())
    write_new(tmp_path / "blind.h5", made(), {})
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, x in (("bare", [0, 1, 2]), ("down", [2, 1, 0]), ("ref", [0, 1, 2]), ("flat", [0, 1, 2])):
        with h5py.File(f"{name}.h5", "w") as file:
            file["xcoordinates"] = x
            if name == "flat":  # one that somebody made: a line that was computed three times
                file["ycoordinates"], file["train_loss"] = np.zeros(3), np.ones((3, 3))
            if name == "ref":
                file["train_loss"] = [1.0, 2.0, 3.0]
    before = sorted(tmp_path.iterdir())
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before

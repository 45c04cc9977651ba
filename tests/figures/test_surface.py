"""One file: a plane in 3D and as contours, several planes, lines with bands; holes, limits, real files of others."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from PIL import Image

from figures import fig1, surface
from figures.parts.lines import Z95
from figures.parts.surface import label_places, loose_points
from landscape import convert
from landscape.files.grid import Axis, Grid, read_grid, write_new
from tests.figures.test_fig1 import bowl, contour_sets
from tests.figures.test_fig1 import line as one_line
from training.runtime.command import InputError, command

DATA = os.environ.get("LANDSCAPE_DATA", "")


def lines(count: int, interpolated: bool = False) -> Grid:
    """exp(x² + plane) with standard errors of a tenth, every second point interpolated if asked for."""
    grid = one_line()
    planes = np.arange(count)[:, None, None]
    values = np.exp(grid.x.values**2 + planes)
    errors = values / 10
    evaluated = np.ones_like(values, dtype=bool)
    if interpolated:
        evaluated[..., 1::2], errors[..., 1::2] = False, np.nan
    return replace(
        grid,
        values={"l2": values},
        stderr={"l2": errors},
        evaluated=evaluated,
        done=np.ones_like(evaluated),
        interpolation_error={"l2": math.nan},
    )


def texts_of(figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_one_plane_is_a_3d_surface_beside_its_contours() -> None:
    grid = bowl(3)
    figure = surface.draw(grid, "a", "l2", [1])
    assert [ax.name for ax in figure.axes] == ["3d", "rectilinear", "rectilinear"]
    filled = next(c for c in contour_sets(figure) if c.filled)
    np.testing.assert_allclose(filled.levels[[0, -1]], np.log10([3, 3 * np.exp(1.5)]))
    assert figure.axes[2].get_ylabel() == "L2, log-spaced levels"
    assert texts_of(figure) == ("trained with L2  |  batch 128  |  AUROC 0.900 [0.850, 0.930]  |  L2 at the model 3")


def test_lines_on_the_map_are_round_values_with_their_labels() -> None:
    lined = next(c for c in contour_sets(surface.draw(bowl(3), "a", "l2", [0])) if not c.filled)
    np.testing.assert_allclose(10**lined.levels, [4, 6, 8, 10, 12])
    assert {text.get_text() for text in lined.labelTexts} <= {"4", "6", "8", "10", "12"}
    assert len(lined.labelTexts) >= 2
    low = next(c for c in contour_sets(surface.draw(bowl(0.01), "a", "l2", [0])) if not c.filled)
    assert all(dashes is None for _, dashes in low.get_linestyle())  # of negative heights too


def test_labels_keep_off_the_edge_and_off_each_other() -> None:
    turn = np.linspace(0, 2 * np.pi, 300)
    circles = [np.stack([radius * np.cos(turn), 10 * radius * np.sin(turn)], axis=1) for radius in (0.5, 0.52, 0.99, 3)]
    places = np.array(label_places(circles, np.array([-1.0, 1]), np.array([-10.0, 10])))
    shares = (places / [1, 10] + 1) / 2
    assert len(places) == 3  # the last circle lies outside
    assert np.minimum(shares, 1 - shares).min() >= 0.07
    assert min(np.linalg.norm(a - b) for k, a in enumerate(shares) for b in shares[:k]) >= 0.15
    assert label_places([np.array([[0.99, 0], [1, 0]])], np.array([-1.0, 1]), np.array([-10.0, 10])) == []


def test_all_planes_are_drawn_on_one_scale_unless_some_are_named() -> None:
    grid = bowl(1)
    grid.values["l2"][1] *= 100
    figure = surface.draw(grid, "a", "l2")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["plane 0", "plane 1"]
    first, second = (c for c in contour_sets(figure) if c.filled)
    np.testing.assert_array_equal(first.levels, second.levels)
    assert first.levels[-1] == pytest.approx(np.log10(100 * np.exp(1.5)))
    solid = surface.draw(grid, "a", "l2", [1, 0], view="3d")
    assert [(ax.name, ax.get_title()) for ax in solid.axes] == [("3d", "plane 1"), ("3d", "plane 0")]
    both = surface.draw(grid, "a", "l2", [0, 1], view="both")
    assert [ax.name for ax in both.axes].count("3d") == 2
    with pytest.raises(InputError, match="expected --plane from 0 to 1, found 2"):
        surface.draw(grid, "a", "l2", [2])


def test_of_many_planes_the_first_twelve_are_drawn_and_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = bowl(1)
    many = replace(
        grid,
        values={name: np.repeat(values[:1], 20, axis=0) for name, values in grid.values.items()},
        stderr={name: np.repeat(errors[:1], 20, axis=0) for name, errors in grid.stderr.items()},
        done=np.ones((20, 9, 11), bool),
        evaluated=np.ones((20, 9, 11), bool),
    )
    assert surface.chosen_planes(many) == list(range(12))
    assert surface.chosen_planes(lines(20)) == list(range(20))
    with pytest.raises(InputError, match="--planes: expected at most 12, found 13"):
        surface.chosen_planes(many, range(13))
    write_new(tmp_path / "a.h5", many, {})
    surface.main([str(tmp_path / "a.h5"), "--out", str(tmp_path / "a.png")])
    found = capsys.readouterr()
    assert found.err == "12 of 20 planes drawn; choose others with --planes\n"
    assert found.out == f"{tmp_path / 'a.png'}\n"


def test_a_line_is_a_curve_with_its_interval() -> None:
    grid = lines(1, interpolated=True)
    (ax,) = surface.draw(grid, "a").axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.log10(grid.values["l2"][0, 0]))
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    evaluated = grid.x.values[::2]
    for share in (1 + Z95 / 10, 1 - Z95 / 10):
        for x in evaluated:
            ends = corners[np.isclose(corners[:, 0], x), 1]
            assert np.isclose(ends, np.log10(share * np.exp(x**2))).any()
    assert set(np.round(corners[:, 0], 9)) <= set(np.round(evaluated, 9))  # bridged where interpolated
    assert "1.96 standard errors" in ax.get_title()
    hollow = next(line for line in ax.lines if line.get_markerfacecolor() == "white")
    np.testing.assert_allclose(hollow.get_xdata(), grid.x.values[1::2])


def test_a_band_stops_at_a_hole_and_goes_to_the_bottom_where_it_has_no_logarithm() -> None:
    grid = lines(1)
    grid.values["l2"][0, 0, 5] = np.inf
    grid.stderr["l2"][0, 0, 2] = 1e3
    (ax,) = surface.draw(grid, "a").axes
    left, right = (band.get_paths()[0].vertices for band in ax.collections)
    assert left[:, 0].max() < grid.x.values[5] < right[:, 0].min()
    assert left[:, 1].min() < ax.get_ylim()[0]


def test_several_lines_are_named_and_many_are_thin() -> None:
    (ax,) = surface.draw(lines(5), "a").axes
    assert [line.get_label() for line in ax.lines if str(line.get_label()).startswith("plane")] == [
        f"plane {k}" for k in range(5)
    ]
    assert len(ax.collections) == 5
    (ax,) = surface.draw(lines(40), "a").axes
    assert len(ax.collections) == 0
    assert ax.get_title() == "trained with L2  |  batch 128  |  AUROC 0.900 [0.850, 0.930]"


def test_a_line_along_y_and_a_point_are_drawn() -> None:
    grid = lines(1)
    upright = replace(
        grid,
        x=Axis("x", np.zeros(1)),
        y=Axis("y", grid.x.values),
        **{name: {"l2": getattr(grid, name)["l2"].reshape(1, 11, 1)} for name in ("values", "stderr")},
        **{name: getattr(grid, name).reshape(1, 11, 1) for name in ("done", "evaluated")},
    )
    (ax,) = surface.draw(upright, "a").axes
    assert ax.get_xlabel().startswith("y (step")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), upright.y.values)


def test_holes_are_counted_and_points_in_no_cell_are_dots() -> None:
    grid = bowl(1)
    grid.done[0] = False
    grid.done[0, 0, :4] = True  # part of the first row: row by row, as the reference tool goes
    grid.values["l2"][0, 0, 1] = math.nan
    figure = surface.draw(grid, "a", "l2", [0])
    assert "unfinished: 4% of 99 points, 1 of 99 points diverged" in texts_of(figure)
    (dots,) = [c for c in figure.axes[1].collections if not isinstance(c, QuadContourSet)]
    np.testing.assert_allclose(np.asarray(dots.get_offsets())[:, 0], grid.x.values[[0, 2, 3]])
    z = np.array([[1, 1, math.nan], [1, 1, 2], [3, math.nan, math.nan]])
    assert np.argwhere(loose_points(z)).tolist() == [[1, 2], [2, 0]]


def test_limits_and_levels_can_be_chosen() -> None:
    figure = surface.draw(bowl(3), "a", "l2", [0], limits=(5, 10), levels=6)
    filled = next(c for c in contour_sets(figure) if c.filled)
    np.testing.assert_allclose(filled.levels, np.linspace(np.log10(5), 1, 6))
    assert filled.extend == "both"
    heights = figure.axes[0].collections[0].get_array()  # of the faces
    assert np.log10(5) <= heights.min() < heights.max() <= 1


def test_values_below_0_are_linear_and_the_label_does_not_speak_of_logarithms() -> None:
    grid = bowl(1)
    grid.values["l2"] -= 2
    figure = surface.draw(grid, "a", "l2", [0])
    filled = next(c for c in contour_sets(figure) if c.filled)
    np.testing.assert_allclose(filled.levels[[0, -1]], [-1, np.exp(1.5) - 2])
    assert figure.axes[2].get_ylabel() == "L2"


def test_long_maps_are_stretched_to_be_read() -> None:
    grid = bowl(1)
    assert surface.draw(grid, "a", "l2", [0]).axes[1].get_aspect() == 1
    strip = replace(grid, y=Axis("y", grid.y.values / 100))
    assert surface.draw(strip, "a", "l2", [0]).axes[1].get_aspect() == "auto"


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_every_format_is_written_by_one_command_and_by_the_other(tmp_path: Path, suffix: str) -> None:
    for name, grid in (("plane", bowl(1)), ("line", lines(2))):
        write_new(tmp_path / f"{name}.h5", grid, {})
        for module in (surface, fig1):
            out = tmp_path / f"{name}.{suffix}"
            module.main([str(tmp_path / f"{name}.h5"), "--out", str(out)])
            starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
            assert out.read_bytes().startswith(starts[suffix])
            if suffix == "png":
                assert np.asarray(Image.open(out).convert("L")).std() > 10


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(DATA) / "reference-tool").is_dir() or not DATA, reason="LANDSCAPE_DATA has no reference-tool/"
)
@pytest.mark.filterwarnings("error")
def test_surfaces_that_others_made_with_the_reference_tool_are_drawn(tmp_path: Path) -> None:
    """Values up to 8e35, below 0, unfinished: each file that is a surface is converted, and drawn in each way."""
    drawn = 0
    for number, path in enumerate(sorted((Path(DATA) / "reference-tool").rglob("*.h5"))):
        made = tmp_path / f"{number}.h5"
        if command(convert.main)([str(path), "--from", "reference", "--out", str(made)]):
            continue  # a file of directions or of a projection, or an empty one
        grid = read_grid(made)
        for height in ("log", "linear"):
            for metric in grid.values:
                surface.draw(grid, str(path), metric, height=height).canvas.draw()
        drawn += 1
    assert drawn == 40

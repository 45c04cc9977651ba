"""Figures and tables: what is drawn is what the files hold; formats; holes; shared limits."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from PIL import Image

from analysis import panels, tables
from analysis.rows import formats
from figures import fig1, fig2
from figures.parts.scale import scale_of
from figures.parts.surface import complete_part, plane_of
from landscape.files.grid import Grid, empty_grid, parse_axis, write_new
from landscape.files.gridfile import GridWriter
from training.models.losses import FIXED_LAMP
from training.runtime.command import InputError


def bowl(scale: float, loss: str = "l2", ny: int = 9) -> Grid:
    meta = {
        "identity": {},
        "metrics": {
            "l2": {"transform": "log", "definition": "same"},
            "own": {"transform": "log", "definition": f"as trained with {loss}"},
            "auroc": {"transform": "none", "definition": "same"},
        },
        "config": {"loss": loss, "batch_size": 128},
        "checkpoint_metrics": {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.93},
    }
    grid = empty_grid(parse_axis("x", "-1:1:11"), parse_axis("y", f"-0.5:0.5:{ny}"), ["l2", "own", "auroc"], 2, meta)
    x, y = np.meshgrid(grid.x.values, grid.y.values)
    for name in grid.values:
        grid.values[name][:] = scale * np.exp(x**2 + 2 * y**2)
    grid.done[:] = True
    return grid


def contour_sets(figure) -> list[QuadContourSet]:
    return [
        c for ax in figure.axes if ax.name == "rectilinear" for c in ax.collections if isinstance(c, QuadContourSet)
    ]


def test_panels_of_a_common_metric_share_levels_and_limits() -> None:
    figure = fig1.draw([("a", bowl(1)), ("b", bowl(50))], "l2")
    filled = [c for c in contour_sets(figure) if c.filled]
    assert len(filled) == 2
    np.testing.assert_array_equal(filled[0].levels, filled[1].levels)
    assert filled[0].levels[0] == pytest.approx(0)
    assert filled[0].levels[-1] == pytest.approx(np.log10(50 * np.exp(1.5)))
    zlims = {ax.get_zlim() for ax in figure.axes if ax.name == "3d"}
    assert len(zlims) == 1


def test_own_losses_of_different_definitions_keep_their_own_limits() -> None:
    figure = fig1.draw([("a", bowl(1, "l2")), ("b", bowl(50, "l2-lamp"))], "own")
    filled = [c for c in contour_sets(figure) if c.filled]
    assert filled[0].levels[0] != filled[1].levels[0]


def test_the_row_below_a_model_says_its_auroc_and_interval() -> None:
    texts = [text.get_text() for text in fig1.draw([("a", bowl(1, "l2")), ("b", bowl(2, "l2-lamp"))], "l2").texts]
    assert texts == [
        "trained with L2  |  batch 128  |  AUROC 0.900 [0.850, 0.930]  |  L2 at the model 1",
        "trained with L2-LAMP  |  batch 128  |  AUROC 0.900 [0.850, 0.930]  |  L2 at the model 2",
    ]


def test_what_is_not_done_or_diverged_is_a_hole() -> None:
    grid = bowl(1)
    grid.done[0, 2, 3] = False
    grid.values["l2"][0, 4, 5] = np.inf
    grid.values["l2"][0, 4, 6] = 0
    values = plane_of(grid, "l2", 0, "a")
    scale = scale_of([values], log=True)
    assert np.argwhere(np.isnan(scale.heights(values))).tolist() == [[2, 3], [4, 5], [4, 6]]
    assert np.isfinite(scale.limits).all()
    fig1.draw([("a", grid), ("b", bowl(1))], "l2").canvas.draw()


def test_an_unfinished_surface_is_drawn_by_its_complete_part() -> None:
    grid = bowl(1)
    grid.done[:] = False
    grid.done[:, ::4, ::4] = grid.done[:, ::4, -1] = True  # 11 columns: 0, 4, 8 and the last
    part = complete_part(grid)
    np.testing.assert_array_equal(part.x.values, grid.x.values[[0, 4, 8, 10]])
    np.testing.assert_array_equal(part.y.values, grid.y.values[[0, 4, 8]])
    np.testing.assert_array_equal(part.values["l2"][0], grid.values["l2"][0][np.ix_([0, 4, 8], [0, 4, 8, 10])])
    assert part.done.all()
    whole = bowl(1)
    np.testing.assert_array_equal(complete_part(whole).x.values, whole.x.values)
    whole.done[:, 0, 0] = False
    assert complete_part(whole) is whole


def test_following_draws_until_the_surfaces_are_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = bowl(1)
    values, grid.done[0, 1::2] = grid.values["l2"].copy(), False
    write_new(tmp_path / "a.h5", bowl(1), {})
    writer = GridWriter(tmp_path / "b.h5", grid, {})
    drawn: list[float] = []

    def finish(seconds: float) -> None:
        drawn.append((tmp_path / "f.png").stat().st_size)
        for row in range(1, 9, 2):
            point = np.array([[values[0, row, column], 1.0, 1.0] for column in range(11)])
            writer.write([((0, row, column), np.stack([point[column]] * 2)) for column in range(11)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", finish)
        fig1.main([str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), "--follow", "5", "--out", str(tmp_path / "f.png")])
    writer.close()
    assert len(drawn) == 1
    assert capsys.readouterr().err == "44 points to come\n"


def test_rows_are_y_and_columns_are_x() -> None:
    grid = bowl(1)
    grid.values["l2"][:] = 1.0
    grid.values["l2"][0, :, -1] = 100.0  # the right edge: x = 1
    figure = fig1.draw([("a", grid), ("b", grid)], "l2", "linear")
    ax = next(ax for ax in figure.axes if ax.name == "rectilinear")
    assert ax.get_xlim() == (-1, 1)
    assert ax.get_ylim() == (-0.5, 0.5)
    top = next(c for c in ax.collections if isinstance(c, QuadContourSet) and c.filled).get_paths()[-1]
    assert top.vertices[:, 0].min() > 0.7
    assert np.ptp(top.vertices[:, 1]) == pytest.approx(1)


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
@pytest.mark.parametrize(
    "options", [[], ["--metric", "own", "--height", "linear"], ["--metric", "auroc", "--plane", "1"]]
)
def test_fig1_writes_every_format(tmp_path: Path, suffix: str, options: list[str]) -> None:
    for name in "ab":
        write_new(tmp_path / f"{name}.h5", bowl(1), {})
    out = tmp_path / f"fig1.{suffix}"
    fig1.main([str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), "--out", str(out), *options])
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert out.read_bytes().startswith(starts[suffix])
    if suffix == "png":
        assert np.asarray(Image.open(out).convert("L")).std() > 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", out.name]


def test_unusable_surfaces_are_named() -> None:
    with pytest.raises(InputError, match="a: expected metric 'l1', found l2, own, auroc"):
        fig1.draw([("a", bowl(1)), ("b", bowl(1))], "l1")
    with pytest.raises(InputError, match="expected --plane from 0 to 1, found 2"):
        fig1.draw([("a", bowl(1)), ("b", bowl(1))], "l2", plane=2)
    with pytest.raises(InputError, match=r"files with a metric in common, found l2, own, auroc / other"):
        fig1.draw([("a", bowl(1)), ("b", other_metric())])


def test_the_metric_drawn_by_default_is_l2_or_the_first_that_all_have() -> None:
    for grids, wanted in (([bowl(1), line()], "L2"), ([other_metric()], "other")):
        figure = fig1.draw([("a", grid) for grid in grids])
        labels = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()]
        assert any(text.startswith(f"{wanted}, log") for text in labels)


def test_one_file_is_a_figure_of_its_own() -> None:
    figure = fig1.draw([("a", bowl(1))], "l2")
    assert [ax.name for ax in figure.axes] == ["3d", "rectilinear", "rectilinear"]
    assert len(figure.texts) == 1


def test_lines_of_one_metric_share_their_axes_others_have_a_row_each() -> None:
    lines = [line(1, "l2"), line(3, "l2-lamp")]
    (ax,) = fig1.draw([("a", lines[0]), ("b", lines[1])], "l2").axes
    curves = [curve for curve in ax.lines if str(curve.get_label()).startswith("trained")]
    for curve, grid in zip(curves, lines, strict=True):
        np.testing.assert_allclose(curve.get_ydata(), np.log10(grid.values["l2"][0, 0]))
    assert len(fig1.draw([("a", lines[0]), ("b", lines[1])], "own").axes) == 2
    mixed = fig1.draw([("a", lines[0]), ("b", bowl(1))], "l2")
    assert [ax.name for ax in mixed.axes] == ["rectilinear", "3d", "rectilinear", "rectilinear"]


def test_surfaces_that_cannot_be_compared_are_drawn_with_a_note() -> None:
    one, other = bowl(1), bowl(1)
    one.meta["identity"] = {"seed": 0, "data": "a", "x": "-1:1:11"}
    other.meta["identity"] = {"seed": 9, "data": "a", "x": "-3:3:11"}
    texts = [text.get_text() for text in fig1.draw([("a", one), ("b", other)], "l2").texts]
    assert texts[-1] == "Not comparable as they stand: different x, seed"
    assert len(fig1.draw([("a", one), ("b", one)], "l2").texts) == 2


def test_the_same_file_twice_is_two_panels() -> None:
    assert len([ax for ax in fig1.draw([("a", bowl(1)), ("a", bowl(1))], "l2").axes if ax.name == "3d"]) == 2


def line(scale: float = 1, loss: str = "l2") -> Grid:
    grid = empty_grid(parse_axis("x", "-1:1:11"), parse_axis("y", "0:0:1"), ["l2", "own"], 1, bowl(1, loss).meta)
    for name in grid.values:
        grid.values[name][:] = scale * np.exp(grid.x.values**2)
        grid.stderr[name][:] = 0.1 * grid.values[name]
    grid.done[:] = grid.evaluated[:] = True
    return grid


def other_metric() -> Grid:
    grid = bowl(1)
    grid.values = {"other": grid.values["l2"]}
    grid.stderr = {"other": grid.stderr["l2"]}
    grid.meta["metrics"] = {"other": {"transform": "log"}}
    return grid


def test_fig2_curves_are_the_closed_forms() -> None:
    curves = panels.fig2_curves(101)
    r, keep = curves["residual"], 1 - FIXED_LAMP.eps
    np.testing.assert_allclose(curves["loss_l2"], r**2)
    np.testing.assert_allclose(curves["gradient_l2"], 2 * r)
    np.testing.assert_allclose(curves["gradient_l1"], np.ones_like(r))
    np.testing.assert_allclose(curves["loss_l1-lamp"], -np.log(1 - keep * r))
    np.testing.assert_allclose(curves["gradient_l1-lamp"], keep / (1 - keep * r))
    np.testing.assert_allclose(curves["loss_l2-lamp"], -np.log(1 - keep * r**2))
    np.testing.assert_allclose(curves["gradient_l2-lamp"], 2 * keep * r / (1 - keep * r**2))


def test_fig2_draws_what_panels_wrote_and_says_scale_none(tmp_path: Path) -> None:
    panels.main(["fig2", "--out", str(tmp_path / "c.npz")])
    for suffix in ("png", "pdf", "svg"):
        fig2.main([str(tmp_path / "c.npz"), "--out", str(tmp_path / f"f.{suffix}")])
    assert "scale=none" in (tmp_path / "f.svg").read_text()
    figure = fig2.draw(fig2.read_curves(tmp_path / "c.npz"))
    assert [line.get_label() for line in figure.axes[0].lines] == ["L1", "L2", "L1-LAMP", "L2-LAMP"]


def metrics(folder: Path, auroc: float) -> Path:
    folder.mkdir()
    config = {"dataset": "mnist-mini", "category": "", "train_dir": "", "normal": 3, "loss": "l2_x", "batch_size": 128}
    content = {"config": config, "epoch": 30, "train_l2": 7.5, "auroc": auroc, "auroc_low": 0.8, "auroc_high": 0.95}
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def test_tables_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(metrics(tmp_path / name, auroc)) for name, auroc in (("a", 0.9), ("b", 0.91))]
    tables.main(["runs", *folders, "--out", str(tmp_path / "t.md")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "t.md")
    assert lines[:-1] == (tmp_path / "t.md").read_text().splitlines()
    assert [cell.strip() for cell in lines[3].split("|")][1:-1] == [
        "b",
        "mnist-mini",
        "3",
        "l2_x",
        "128",
        "30",
        "7.50",
        "0.9100",
        "0.8000 to 0.9500",
    ]
    tables.main(["runs", *folders, "--format", "csv"])
    assert capsys.readouterr().out.splitlines()[1].startswith("a,mnist-mini,3,l2_x,128,30,7.50,0.9000,")
    tables.main(["runs", *folders, "--format", "latex"])
    latex = capsys.readouterr().out
    assert r"l2\_x" in latex
    assert formats.latex([["a&b $1 #2 {~^}\\"]]).splitlines()[2] == (
        r"a\&b \$1 \#2 \{\textasciitilde{}\textasciicircum{}\}\textbackslash{} \\"
    )
    assert r"a\|b" in formats.markdown([["x"], ["a|b"]])
    assert r"95\% interval \\" in latex

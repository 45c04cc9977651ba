"""Paths on contour maps: drawn where the file says, named, in fig1 and fig3 too; frames of the animation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from figures import animate, fig1, fig3, trajectory
from figures.parts.captions import differences
from figures.parts.surface import axis_label
from landscape.files.grid import Grid, Track, read_grid, write_new
from tests.figures.test_fig1 import bowl
from training.runtime.command import InputError

PATH = np.array([[-0.8, 0.4], [-0.2, 0.3], [0.5, -0.1], [0.0, 0.0]])


def walked() -> Grid:
    grid = bowl(1)
    grid.paths = {
        "trajectory": Track(PATH, np.array([0.1, 0.3, 0.2, 0.0]), np.array([0.0, 10, 20, 30])),
        "adam": Track(np.array([[0.6, 0.2]]), np.array([1.5]), np.array([np.nan])),
    }
    grid.meta["plane"] = {"kind": "trajectory", "explained_variance": [0.8, 0.1523]}
    return grid


def written(folder: Path, grid: Grid) -> Path:
    write_new(folder / "t.h5", grid, {})
    return folder / "t.h5"


def lines_of(ax: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.array(line.get_data()).T for line in ax.lines}


def test_paths_survive_the_file_and_old_files_have_none(tmp_path: Path) -> None:
    grid = walked()
    found = read_grid(written(tmp_path, grid))
    assert list(found.paths) == ["trajectory", "adam"]
    for name, track in grid.paths.items():
        for part, values in vars(track).items():
            np.testing.assert_array_equal(getattr(found.paths[name], part), values)
    assert read_grid(written(tmp_path, bowl(1))).paths == {}
    grid.paths["adam"] = replace(grid.paths["adam"], distance=np.zeros(2))
    with pytest.raises(InputError, match="found a damaged or foreign file"):
        read_grid(written(tmp_path, grid))


def test_path_and_marks_are_drawn_where_the_file_says() -> None:
    figure = trajectory.draw(walked(), "a")
    lines = lines_of(figure.axes[0])
    np.testing.assert_array_equal(lines["trajectory"], PATH)
    np.testing.assert_array_equal(lines["start (0 updates)"], PATH[:1])
    np.testing.assert_array_equal(lines["end (30 updates)"], PATH[-1:])
    np.testing.assert_array_equal(lines["adam"], [[0.6, 0.2]])
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["trajectory", "start (0 updates)", "end (30 updates)", "adam"]
    assert figure.axes[0].get_xlabel() == "principal component 1 (80.0% of variance)"
    assert figure.axes[0].get_ylabel() == "principal component 2 (15.2% of variance)"
    assert "trajectory up to 0.3, adam 1.5" in figure.get_supxlabel()


def test_figures_of_several_models_draw_paths_too() -> None:
    first = fig1.draw([("a", walked()), ("b", bowl(2, "l2-lamp"))], "l2")
    flat = [ax for ax in first.axes if ax.name == "rectilinear" and "trajectory" in lines_of(ax)]
    assert len(flat) == 1
    np.testing.assert_array_equal(lines_of(flat[0])["trajectory"], PATH)
    other = bowl(2, "l2-lamp")
    third = fig3.draw([("a", walked()), ("b", other)], "l2")
    assert sum("trajectory" in lines_of(ax) for ax in third.axes) == 1


def test_axis_labels_say_what_a_step_is() -> None:
    grid = bowl(1)
    assert axis_label("x", grid) == axis_label("x") == "x (step / filter norm)"
    grid.meta["plane"] = {"kind": "between", "models": [{"axis": "x", "name": "adam"}]}
    assert axis_label("x", grid) == "x (0: the model, 1: adam)"
    assert axis_label("y", grid) == "y"
    grid.meta["plane"] = {"kind": "eigenvectors", "eigenvalues": [12.34, -5.6]}
    assert axis_label("y", grid) == "y (eigenvector of -5.6)"


def test_planes_of_different_kinds_are_not_comparable() -> None:
    grids = [bowl(1), bowl(1)]
    grids[1].meta["identity"] = {"plane": {"kind": "between", "models": ["a"]}}
    assert differences(grids) == ["plane"]
    assert differences([grids[0], bowl(2)]) == []
    for grid in grids:
        grid.meta["directions"] = "the same"  # such as those of one file, used again for another model
    assert differences(grids) == []
    grids[1].meta["directions"] = "others"
    assert differences(grids) == ["plane"]


def test_the_figure_is_written_and_a_file_without_paths_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.png"
    trajectory.main([str(written(tmp_path, walked())), "--metric", "auroc", "--out", str(out)])
    assert capsys.readouterr().out.strip() == str(out)
    assert Image.open(out).size[0] > 300
    with pytest.raises(InputError, match=r"t\.h5: expected a surface with a trajectory or marks, found none"):
        trajectory.main([str(written(tmp_path, bowl(1))), "--out", str(out)])


def test_the_animation_has_a_frame_for_each_checkpoint_and_moves_only_the_path(tmp_path: Path) -> None:
    out = tmp_path / "t.gif"
    animate.main([str(written(tmp_path, walked())), "--dpi", "60", "--out", str(out)])
    with Image.open(out) as movie:
        durations, frames = [], []
        for number in range(movie.n_frames):
            movie.seek(number)
            durations.append(movie.info["duration"])
            frames.append(np.asarray(movie.convert("L"), float))
    assert len(frames) == 4
    assert durations[-1] > 1000  # the end stays
    assert out.stat().st_size < 300_000
    changed = np.abs(frames[0] - frames[1]) > 40
    assert 0 < changed.mean() < 0.1
    with pytest.raises(InputError, match=r"expected a name that ends in \.gif, found '\.png'"):
        animate.main([str(tmp_path / "t.h5"), "--out", str(tmp_path / "t.png")])


def test_frames_show_the_path_up_to_a_checkpoint() -> None:
    grid = walked()
    figure = trajectory.draw(grid, "a")
    animate.show(figure, grid, 2)
    lines = lines_of(figure.axes[0])
    np.testing.assert_array_equal(lines["trajectory"], PATH[:2])
    np.testing.assert_array_equal(lines["now (10 updates)"], PATH[1:2])
    assert "end (30 updates)" not in lines
    assert "2" in [text.get_text() for text in figure.axes[0].texts]  # a level, which stays
    frames = animate.frames_of(1000)
    assert len(frames) == animate.MOST_FRAMES
    assert (frames[0], frames[-1]) == (1, 1000)


def test_single_models_cannot_be_animated(tmp_path: Path) -> None:
    grid = walked()
    del grid.paths["trajectory"]
    with pytest.raises(InputError, match="expected a trajectory of several checkpoints, found single models"):
        animate.main([str(written(tmp_path, grid)), "--out", str(tmp_path / "t.gif")])
    assert not list(tmp_path.glob("*.gif"))

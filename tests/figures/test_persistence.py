"""The persistence figure: what is drawn where, on a surface whose basins are known."""

from pathlib import Path

import numpy as np
import pytest

from analysis.topology import features_of
from figures.persistence import draw
from figures.persistence import main as uncaught
from landscape.files.grid import write_new
from tests.analysis.test_topology import made, wells
from training.runtime.command import command

main = command(uncaught)


@pytest.mark.parametrize("height", ["log", "linear"])
def test_minima_are_marked_and_intervals_lie_where_they_are(height: str) -> None:
    values = wells() + 2
    grid = made(values, stderr=0.1)
    features = features_of(grid, "l2", 0, values, 2)
    figure = draw(grid, "l2", 0, features, height)
    spaced = ", log-spaced levels" if height == "log" else ""
    contours, bar, diagram = figure.axes[0], figure.axes[2], figure.axes[1]
    marks = [line.get_xydata()[0] for line in contours.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(sorted(mark[0] for mark in marks), sorted(f.x for f in features), atol=1e-12)
    (points,) = (collection.get_offsets() for collection in diagram.collections)
    as_height = np.log10 if height == "log" else np.asarray
    np.testing.assert_allclose(points[1], as_height([features[1].birth, features[1].death]))
    assert points[0, 1] > as_height(values.max())  # never dies
    assert [text.get_text() for text in diagram.texts] == ["never", "1", "2"]
    assert bar.get_ylabel() == f"L2{spaced}"
    assert diagram.get_legend().get_texts()[0].get_text() == "2 basins"


def test_basins_within_noise_are_hollow_and_not_numbered() -> None:
    values = wells() + 2
    grid = made(values, stderr=5.0)
    figure = draw(grid, "l2", 0, features_of(grid, "l2", 0, values, 2))
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["1 basin, within noise", "1 basin"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1"]


def test_the_command_writes_the_figure_also_of_values_without_a_log(tmp_path: Path) -> None:
    for name, values in (("a", wells() + 2), ("b", wells()), ("c", np.where(wells() > 5, np.nan, wells()))):
        write_new(tmp_path / f"{name}.h5", made(values, stderr=0.1), {})
        assert main([str(tmp_path / f"{name}.h5"), "--out", str(tmp_path / f"{name}.png")]) == 0
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_lines_and_unfinished_surfaces_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, open_ended = made(np.ones((1, 5))), made(wells())
    open_ended.done[0, 0, 0] = False
    for grid, message in ((line, "at least 2×2 points"), (open_ended, "found 1 of 3321 points to come")):
        (tmp_path / "g.h5").unlink(missing_ok=True)
        write_new(tmp_path / "g.h5", grid, {})
        assert main([str(tmp_path / "g.h5"), "--out", str(tmp_path / "g.png")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "g.png").exists()

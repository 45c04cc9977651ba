"""The figure of convergence: which evaluations are common, what is drawn, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from analysis.rows.results import Evaluation, read_history, read_runs
from figures.convergence import curves, draw, main
from tests.analysis.test_specification import write_sweep
from training.runtime.command import InputError


def at(updates: float, train_l2: float, auroc: float) -> Evaluation:
    return Evaluation(0, updates, train_l2, 0, 0, auroc, 0, 0, 0)


def test_curves_are_at_the_updates_that_all_runs_of_a_group_share(tmp_path: Path) -> None:
    runs = read_runs(write_sweep(tmp_path))
    plain = [run for run in runs if not run.lamp][:2]
    histories = {
        plain[0].name: [at(1, 9, 0.6), at(2, 5, 0.7), at(3, 4, 0.8)],
        plain[1].name: [at(1, 7, 0.5), at(3, 2, 0.9)],
    }
    curve = curves(plain, histories, Path("x"))[32]["l2"]
    np.testing.assert_array_equal(curve.updates, [1, 3])
    np.testing.assert_array_equal(curve.train_l2, [[9, 4], [7, 2]])
    np.testing.assert_array_equal(curve.auroc, [[0.6, 0.8], [0.5, 0.9]])


def test_lines_are_means_over_runs(tmp_path: Path) -> None:
    runs = read_runs(write_sweep(tmp_path))
    groups = curves(runs, read_history(tmp_path / "x_history.csv"), Path("x"))
    figure = draw(groups)
    above, below = figure.axes
    assert above.get_title() == "batch size 32"
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["L2", "L2-LAMP"]
    for line, curve in zip(above.get_lines(), groups[32].values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), curve.train_l2.mean(0))
    np.testing.assert_allclose(below.get_lines()[0].get_xdata(), groups[32]["l2"].train_l2.mean(0))
    left, right = below.get_xlim()
    assert left > right  # a better fit is further to the right


def test_command_and_runs_without_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path)
    main([str(path), "--where", "normal!=0", "--out", str(tmp_path / "c.png")])
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "c.png")]
    assert (tmp_path / "c.png").stat().st_size > 1000
    with pytest.raises(InputError, match="expected runs with evaluations in its history, found none"):
        curves(read_runs(path), {}, path)

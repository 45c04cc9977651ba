"""Gains as curves: against numbers worked by hand, and against the tables that read the same runs another way."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.paper.cells import Rule, make_cells
from analysis.paper.gains import Group, against_fit, against_updates, gain, gains_table, grouped, levels
from analysis.rows.results import Evaluation, read_history, read_runs
from analysis.tables import main
from figures.gain import draw
from figures.gain import main as figure
from tests.made_sweeps import product, write_sweep
from training.runtime.command import InputError


def sweep(folder: Path, cells: list[dict], **options: Any) -> Path:
    return write_sweep(folder, cells, **options) / "results.csv"


def at(updates: float, train_l2: float, auroc: float) -> Evaluation:
    return Evaluation(0, updates, train_l2, 0, 0, auroc, 0, 0, 0)


def group(**gains: float) -> Group:
    """Two tasks with their gains at 1, 2 and the last update; the second has one update more. L2: 80, 40, 10."""
    pairs = {}
    for seed, (name, value) in enumerate(gains.items()):
        del name
        of_tasks = []
        for end, share in ((3, 1.0), (4, 3.0)):
            base = [at(1, 80, 0.5), at(2, 40, 0.6), at(end, 10, 0.7)]
            lamp = [at(1, 80, 0.5), at(2, 40, 0.6 + share * value), at(end, 10, 0.7 - share * value)]
            of_tasks.append((base, lamp))
        pairs[seed] = of_tasks
    return Group(128, ["0", "1"], pairs)


def test_gains_at_equal_updates_are_means_over_tasks_and_end_at_the_mean_last_update() -> None:
    curve = against_updates(group(a=0.01, b=0.03, c=0.02))
    np.testing.assert_allclose(curve.at, [1, 2, 3.5])
    np.testing.assert_allclose(curve.gains, [[0, 0.02, -0.02], [0, 0.06, -0.06], [0, 0.04, -0.04]], atol=1e-12)
    middle = curve.intervals()[1]
    assert middle.mean == pytest.approx(0.04)
    assert middle.high - middle.mean == pytest.approx(stats.t.ppf(0.975, 2) * 0.02 / math.sqrt(3))


def test_gains_at_equal_fit_are_interpolated_in_the_logarithm() -> None:
    one = group(a=0.01, b=0.03)
    found = levels(one)
    assert found[0] <= 80
    assert found[-1] >= 10
    np.testing.assert_allclose(np.diff(np.log10(found)), -1 / 16)
    # At 20, halfway between 40 and 10, the gain is halfway between 2·value and -2·value; at 40 it is 2·value.
    np.testing.assert_allclose(against_fit(one, np.array([40.0, 20.0])).gains, [[0.02, 0], [0.06, 0]], atol=1e-12)
    assert math.isnan(gain(one, "fit", 5.0).mean)  # which no run reaches
    assert gain(one, "fit", 40.0).count == 2


def test_rules_choose_the_evaluation_that_their_name_says() -> None:
    one = group(a=0.01)
    assert gain(one, "end").mean == pytest.approx(-0.02)
    assert gain(one, "last").mean == pytest.approx(0)  # over all three evaluations
    assert gain(one, "oracle").mean == pytest.approx(-0.02)
    cells = gains_table([one], [40.0]).rows
    assert [row[1] for row in cells if row[0] == "equal fit, training L2 40"] == ["+0.0200"]
    assert [row[1] for row in cells if row[0] == "seeds"] == ["1"]


def test_gains_agree_with_the_tables_over_the_same_runs(tmp_path: Path) -> None:
    cells = product(normal=range(3), loss=("l2", "l2-lamp"), batch_size=(128, 16), seed=(0, 1))
    path = sweep(tmp_path, cells)
    runs, histories = read_runs(path), read_history(tmp_path / "history.csv")
    for found in grouped(runs, histories, path):
        for rule, protocol in (("end", "last"), ("validation", "validation"), ("oracle", "oracle")):
            of_table = make_cells(runs, histories, Rule(protocol), path)
            column = next(one for one in of_table.groups if one.batch_size == found.batch_size)
            assert gain(found, rule).mean == pytest.approx(of_table.gains(column).mean(), abs=1e-9)


def test_a_seed_that_lacks_a_task_is_left_out(tmp_path: Path) -> None:
    cells = product(normal=range(2), loss=("l2", "l2-lamp"), seed=(0, 1))
    path = sweep(tmp_path, cells, failed=lambda one: one["seed"] == 1 and one["normal"] == 1)
    (found,) = grouped(read_runs(path), read_history(tmp_path / "history.csv"), path)
    assert list(found.pairs) == [0]
    only = [run for run in read_runs(path) if run.seed == 1]
    with pytest.raises(InputError, match="expected a seed with all tasks of a loss and its LAMP form, found none"):
        grouped(only, read_history(tmp_path / "history.csv"), path)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = product(normal=range(2), loss=("l2", "l2-lamp"), batch_size=(128, 16), seed=(0, 1))
    path = sweep(tmp_path, cells)
    main(["gains", str(path), "--thresholds", "10", "5"])
    assert "| equal fit, training L2 5 " in capsys.readouterr().out
    with pytest.raises(InputError, match="--thresholds: expected levels of the common training L2 above 0, found -1"):
        main(["gains", str(path), "--thresholds=-1"])
    with pytest.raises(InputError, match="--limit: expected a gain above 0, below 1, or 0 for none, found -1"):
        figure([str(path), "--out", str(tmp_path / "gain.png"), "--limit=-1"])
    figure([str(path), "--out", str(tmp_path / "gain.png")])
    assert (tmp_path / "gain.png").stat().st_size > 1000
    groups = grouped(read_runs(path), read_history(tmp_path / "history.csv"), path)
    axes = draw(groups).axes
    assert [ax.get_title().splitlines()[0] for ax in axes[:2]] == ["batch size 128", "batch size 16"]
    line = next(line for line in axes[0].get_lines() if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(line.get_ydata(), against_updates(groups[0]).gains.mean(0))
    assert axes[2].get_xlim()[0] > axes[2].get_xlim()[1]  # a better fit is further to the right

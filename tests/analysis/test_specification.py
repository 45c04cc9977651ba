"""The specification curve: differences, matches, what is missing, and its figure."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.rows.results import read_history, read_runs
from analysis.specification import COLUMNS, curve, main
from analysis.statistics.paired import mean_interval
from figures import specification as figure
from training.runtime.command import InputError
from training.sweeps.record import COLUMNS as RESULTS
from training.sweeps.record import HISTORY

TASKS, SEEDS = ("0", "1", "2"), ("0", "1")


def write_sweep(folder: Path, censored: bool = False) -> Path:
    """AUROC = 0.7 + 0.01·task + 0.001·seed for L2, 0.02·(1 + task) more for LAMP; the fit is crossed at epoch 1."""
    rows, history = [], []
    for task in TASKS:
        for seed in SEEDS:
            for loss, scale in (("l2", "batch"), ("l2-lamp", "batch"), ("l2-lamp", "sample")):
                gain = 0.02 * (1 + int(task)) * loss.endswith("lamp") * (1 if scale == "batch" else -1)
                auroc = 0.7 + 0.01 * int(task) + 0.001 * int(seed) + gain
                name = f"{task}-{seed}-{loss}-{scale}"
                settings = {"normal": task, "seed": seed, "loss": loss, "lamp_scale": scale, "dataset": "mnist-mini"}
                fixed = {"lamp_detach": "False", "lamp_eps": "0.001", "loss_factor": "1.0", "reduction": "mean"}
                others = {"optimizer": "adam", "lr": "0.001", "batch_size": "32", "epochs": "2", "status": "done"}
                measured = {"auroc": auroc, "train_l2": 9, "updates": 20, "epoch": 2}
                rows.append({"run": name, **settings, **fixed, **others, **measured})
                never = censored and task == "2" and scale == "sample"
                for epoch, l2 in ((1, 19), (2, 9)):
                    at = {"run": name, "epoch": epoch, "updates": 10 * epoch, "train_l2": 50 if never else l2}
                    history.append({**at, "auroc": auroc / epoch})
    for name, columns, content in (("x.csv", RESULTS, rows), ("x_history.csv", ("run", *HISTORY), history)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(content)
    return folder / "x.csv"


def test_differences_are_over_tasks_of_means_over_seeds(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    rows = [
        dict(zip(COLUMNS, row, strict=True))
        for row in curve(read_runs(path), read_history(tmp_path / "x_history.csv"), 20)
    ]
    assert [(row["loss"], row["lamp_scale"], row["matching"]) for row in rows] == [
        (loss, scale, matching)
        for loss, scale in (("l2", ""), ("l2-lamp", "batch"), ("l2-lamp", "sample"))
        for matching in ("epochs", "fit")
    ]
    gains = np.array([0.02, 0.04, 0.06])
    half = stats.t.ppf(0.975, 2) * gains.std(ddof=1) / math.sqrt(3)
    for row in rows[2:4]:  # the first crossing is the first evaluation, whose AUROC is the last one's
        assert float(row["difference"]) == pytest.approx(0.04, abs=1e-6)
        assert float(row["low"]) == pytest.approx(0.04 - half, abs=1e-6)
        assert (row["tasks"], row["pairs"], row["missing"]) == ("3", "6", "0")
    assert float(rows[4]["difference"]) == pytest.approx(-0.04, abs=1e-6)
    assert float(rows[0]["difference"]) == 0
    assert float(rows[3]["train_l2"]) == 19


def test_runs_that_never_cross_are_missing_and_counted(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, censored=True)
    rows = [
        dict(zip(COLUMNS, row, strict=True))
        for row in curve(read_runs(path), read_history(tmp_path / "x_history.csv"), 20)
    ]
    assert (rows[5]["tasks"], rows[5]["pairs"], rows[5]["missing"]) == ("2", "4", "2")
    assert rows[4]["missing"] == "0"


def test_without_plain_l2_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    runs = [run for run in read_runs(write_sweep(tmp_path)) if run.lamp]
    with pytest.raises(InputError, match="expected runs of plain L2 with adam"):
        curve(runs, {}, 20)


def test_mean_interval_is_students() -> None:
    values = [0.1, 0.4, 0.2, 0.3]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert math.isnan(mean_interval([1.0]).low)
    assert math.isnan(mean_interval([]).mean)


def test_command_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path)
    main([str(path), "--threshold", "20", "--out", str(tmp_path / "curve.csv")])
    figure.main([str(tmp_path / "curve.csv"), "--out", str(tmp_path / "curve.png")])
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "curve.csv"), str(tmp_path / "curve.png")]
    rows = figure.read_curve(tmp_path / "curve.csv")
    epochs, fit, *choices = figure.draw(rows).axes
    assert [ax.get_title() for ax in (epochs, fit)] == ["equal epochs", "matched fit"]
    assert [ax.get_xlabel() for ax in choices] == ["2 specifications, sorted"] * 2
    assert [text.get_text() for text in choices[0].get_yticklabels()] == ["maximum over batch", "maximum over sample"]
    for ax, matching in ((epochs, "epochs"), (fit, "fit")):
        found = sorted(float(row["difference"]) for row in rows if row["matching"] == matching and row["lamp_scale"])
        (points,) = [line for line in ax.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
        np.testing.assert_allclose(np.asarray(points.get_ydata(), float), found)
    # What lies beyond the limit is an arrow with its value.
    cut = figure.draw(rows, limit=min(abs(value) for value in found) / 2).axes[1]
    assert [text.get_text() for text in cut.texts] == [f"{value:+.2f}" for value in found]
    with pytest.raises(InputError, match="--limit: expected a difference of AUROC above 0, below 1, found 0"):
        figure.main([str(tmp_path / "curve.csv"), "--out", str(tmp_path / "curve.png"), "--limit", "0"])


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    (tmp_path / "x_history.csv").unlink()
    with pytest.raises(InputError, match=r"--history: expected x_history\.csv beside"):
        main([str(tmp_path / "x.csv"), "--threshold", "20", "--out", str(tmp_path / "curve.csv")])
    with pytest.raises(InputError, match=r"expected a CSV file written by analysis\.specification"):
        figure.main([str(tmp_path / "x.csv"), "--out", str(tmp_path / "curve.png")])

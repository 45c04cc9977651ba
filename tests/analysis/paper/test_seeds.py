"""Runs that differ in the seed alone: means, spread and paired differences, against numbers worked by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.paper.seeds import seeds_table
from analysis.rows.results import MEASURED, read_history, read_runs
from analysis.tables import main
from training.runtime.command import InputError

AUROCS = {"l2": [0.90, 0.91, 0.88], "l2-lamp": [0.93, 0.90, 0.92]}
SETTINGS = ("dataset", "normal", "loss", "lamp_scale", "lamp_detach", "lamp_eps", "optimizer", "batch_size", "epochs")


def write(folder: Path, aurocs: dict[str, list[float]], failed: int = 0) -> Path:
    """results.csv of runs with these AUROCs by seed, and history.csv: three evaluations each, the last is it."""
    rows, history = [], []
    for loss, values in aurocs.items():
        for seed, auroc in enumerate(values):
            name = f"{loss},{seed}"
            row = {"run": name, "seed": seed, "status": "done", "epoch": 3, "updates": 24, "train_l2": 10.0 + seed}
            row |= dict(zip(SETTINGS, ("mnist-mini", 3, loss, "batch", "False", 0.001, "adam", 128, 3), strict=True))
            rows.append(row | {"auroc": auroc})
            for epoch, change in enumerate((0.02, -0.02, 0.0), start=1):
                history.append({"run": name, "epoch": epoch, "updates": 8 * epoch, "auroc": auroc + change})
    for row in rows[:failed]:
        row |= {"status": "failed", "auroc": ""}
    for path, columns, lines in (
        (folder / "results.csv", ("run", *SETTINGS, "seed", "status", *MEASURED), rows),
        (folder / "history.csv", ("run", *MEASURED), history),
    ):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(lines)
    return folder / "results.csv"


def test_means_and_spread_are_those_of_the_seeds(tmp_path: Path) -> None:
    table = seeds_table(read_runs(write(tmp_path, AUROCS)), None, 5)
    header, plain, lamp = table.rows
    assert header == ["normal", "batch size", "loss", "seeds", "AUROC", "lowest to highest", "train L2"]
    assert plain[:4] == ["3", "128", "l2", "3"]
    mean, spread = np.mean(AUROCS["l2"]), np.std(AUROCS["l2"], ddof=1)
    assert plain[4:] == [f"{mean:.4f} ± {spread:.4f}", "0.8800 to 0.9100", "11.00 ± 1.00"]
    assert lamp[4] == f"{np.mean(AUROCS['l2-lamp']):.4f} ± {np.std(AUROCS['l2-lamp'], ddof=1):.4f}"


def test_the_difference_is_paired_by_seed_with_students_interval(tmp_path: Path) -> None:
    table = seeds_table(read_runs(write(tmp_path, AUROCS)), None, 5)
    differences = np.subtract(AUROCS["l2-lamp"], AUROCS["l2"])
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert f"{differences.mean():+.4f} (95% interval {low:+.4f} to {high:+.4f} over 3 seeds" in table.notes[-1]
    assert "no difference shown" in table.notes[-1]
    sure = seeds_table(read_runs(write(tmp_path, {"l2": [0.8, 0.8], "l2-lamp": [0.9, 0.9001]})), None, 5)
    assert "0 lies outside" in sure.notes[-1]


def test_means_of_the_last_evaluations_are_of_each_run(tmp_path: Path) -> None:
    path = write(tmp_path, AUROCS)
    table = seeds_table(read_runs(path), read_history(tmp_path / "history.csv"), 2)
    assert table.rows[0][6] == "AUROC, mean of the last 2"
    moved = np.array(AUROCS["l2"]) - 0.01  # the last two evaluations are 0.02 below it, and it
    assert table.rows[1][6] == f"{moved.mean():.4f} ± {moved.std(ddof=1):.4f}"
    longer = seeds_table(read_runs(path), read_history(tmp_path / "history.csv"), 4)  # than any history
    assert len(longer.rows[0]) == 7


def test_failed_runs_are_left_out_and_pairs_with_them(tmp_path: Path) -> None:
    table = seeds_table(read_runs(write(tmp_path, AUROCS, failed=2)), None, 5)
    assert table.rows[1][3:6] == ["1", "0.8800", "0.8800 to 0.8800"]
    assert table.notes[-1].endswith("+0.0400, one seed: nothing can be said")
    with pytest.raises(InputError, match="expected runs with an AUROC, found none"):
        seeds_table(read_runs(write(tmp_path, AUROCS, failed=6)), None, 5)


def test_the_command_prints_and_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, AUROCS)
    main(["seeds", str(path), "--last", "2", "--out", str(tmp_path / "t.md")])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / "t.md")
    assert (tmp_path / "t.md").read_text().splitlines() == printed[:-1]
    with pytest.raises(InputError, match="--last: expected at least 1 evaluation, found 0"):
        main(["seeds", str(path), "--last", "0"])

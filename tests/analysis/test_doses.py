"""Arms of twins against plain ones: numbers worked by hand, AUROC interpolated to the fit, command and figure."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.doses import main
from analysis.relation.doses import arms
from analysis.relation.measured import joined, read_checkpoints
from analysis.rows.results import Evaluation, read_history
from figures.doses import draw
from figures.doses import main as figure
from tests.made_measures import write_measures
from training.runtime.command import InputError

#: arm -> (its settings, curvature over plain's, AUROC less plain's for the seeds 0, 1, 2)
ARMS = {
    "plain": ({"sam_rho": 0.0}, 1.0, (0.0, 0.0, 0.0)),
    "SAM 0.2": ({"sam_rho": 0.2}, 0.5, (-0.02, -0.04, -0.03)),
    "reverse -0.05": ({"sam_rho": -0.05}, 2.0, (0.01, 0.0, 0.02)),
    "random 0.2": ({"sam_rho": 0.2, "sam_direction": "random"}, 1.0, (0.0, 0.01, -0.01)),
    "l2-lamp": ({"sam_rho": 0.0, "loss": "l2-lamp"}, 1.5, (0.03, 0.02, 0.04)),
}


def write(path: Path, *names: str, short: str = "") -> Path:
    cells = []
    for name in names:
        settings, ratio, gains = ARMS[name]
        for digit in (0, 1):
            for seed, gain in enumerate(gains):
                cell = {"normal": digit, "batch_size": 128, "loss": "l2", "seed": seed, "until_l2": 35.0}
                cell |= {"sam_direction": "gradient", "train_l2": 40.0 if name == short else 34.0}
                cells.append({**cell, **settings, "ratio": ratio, "auroc": 0.8 + 0.05 * digit + gain})
    return write_measures(path, {"half_curvature@l2": lambda cell, _: cell["ratio"] * (7 + cell["normal"])}, cells)


def test_an_arm_has_its_ratio_and_its_gain_over_seeds(tmp_path: Path) -> None:
    found = {one.name: one for one in arms(read_checkpoints(write(tmp_path / "a.csv", *ARMS)), "half_curvature@l2", {})}
    assert set(found) == set(ARMS) - {"plain"}
    for name, one in found.items():
        _, ratio, gains = ARMS[name]
        assert (one.fit, one.pairs, one.digits, one.seeds, one.short) == (35, 6, 2, 3, 0)
        assert one.ratio[0] == pytest.approx(ratio, rel=1e-5)
        assert one.auroc.mean == pytest.approx(np.mean(gains), abs=1e-5)
        half = stats.t.ppf(0.975, 2) * np.std(gains, ddof=1) / math.sqrt(3)
        assert one.auroc.high - one.auroc.mean == pytest.approx(half, rel=1e-3)
        assert math.isnan(one.at_fit.mean)


def test_auroc_at_the_fit_is_interpolated_between_evaluations(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "plain", "SAM 0.2")
    checkpoints = read_checkpoints(path)
    with (tmp_path / "a_history.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["run", "epoch", "updates", "train_l2", "auroc"])
        for run in checkpoints.runs:
            sam = run.settings["sam_rho"] == "0.2"
            # 35 lies halfway between 70 and 17.5 in the logarithm.
            lines.writerow([run.name, 1, 10, 70, 0.6])
            lines.writerow([run.name, 2, 20, 17.5, 0.7 if sam else 0.8])
    (one,) = arms(checkpoints, "half_curvature@l2", read_history(tmp_path / "a_history.csv"))
    assert one.at_fit.mean == pytest.approx(0.65 - 0.7)
    assert one.at_fit.count == 3


def test_arms_that_never_came_so_far_are_counted_and_left_out(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a.csv", "plain", "SAM 0.2"), write(tmp_path / "b.csv", "random 0.2", short="random 0.2")]
    both = joined([read_checkpoints(part) for part in parts])
    found = {one.name: one for one in arms(both, "half_curvature@l2", {})}
    assert (found["SAM 0.2"].pairs, found["SAM 0.2"].short) == (6, 0)
    assert (found["random 0.2"].pairs, found["random 0.2"].short) == (0, 6)
    assert math.isnan(found["random 0.2"].auroc.mean)
    with pytest.raises(InputError, match=r"expected plain twins \(sam_rho 0\) stopped at 35.0, found none"):
        arms(read_checkpoints(parts[1]), "half_curvature@l2", {})


def test_command_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [write(tmp_path / "a.csv", "plain", "l2-lamp"), write(tmp_path / "b.csv", "SAM 0.2", "random 0.2")]
    main([*map(str, parts), "--out", str(tmp_path / "arms.csv")])
    printed = capsys.readouterr().out
    assert "| SAM 0.2 " in printed
    assert "-0.0300 (" in printed
    with (tmp_path / "arms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == ["SAM 0.2", "random 0.2", "l2-lamp"]
    axes = draw(rows).axes
    points = {tuple(line.get_data()[0]) for line in axes[0].get_lines() if len(line.get_xdata()) == 2}
    assert {(1.0, 0.5), (1.0, 1.5)} <= {tuple(round(value, 6) for value in point) for point in points}
    figure([str(tmp_path / "arms.csv"), "--out", str(tmp_path / "d.png")])
    assert (tmp_path / "d.png").stat().st_size > 1000
    with pytest.raises(InputError, match="results: expected one or more CSV files"):
        main([])
    (tmp_path / "none.csv").write_text("\n".join([",".join(rows[0]), ",".join({**rows[0], "pairs": "0"}.values())]))
    with pytest.raises(InputError, match="expected an arm that reached its fit, found none"):
        figure([str(tmp_path / "none.csv"), "--out", str(tmp_path / "d.png")])


def test_intervals_are_over_digits_that_all_seeds_have_and_old_tables_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "plain", "SAM 0.2")
    whole = read_checkpoints(path)
    lacking = [i for i, run in enumerate(whole.runs) if not (run.seed == 2 and run.task == "1")]
    histories = {run.name: (evaluation(run.settings["sam_rho"] == "0.2", run.task),) for run in whole.runs}
    (one,) = arms(whole.taken(lacking), "half_curvature@l2", histories)
    assert (one.auroc.count, one.at_fit.count) == (3, 3)
    assert one.at_fit.low == pytest.approx(-0.1)  # of the digit 0 in all seeds; that of the digit 1 is +0.5
    assert one.at_fit.high == pytest.approx(-0.1)
    for run in whole.runs:
        del run.settings["sam_direction"]
    with pytest.raises(InputError, match="expected twins with a setting sam_direction, found none"):
        arms(whole, "half_curvature@l2", {})


def evaluation(sam: bool, digit: str) -> Evaluation:
    return Evaluation(1, 10, 35.0, 0, 0, 0.5 + sam * (0.5 if digit == "1" else -0.1), 0, 0, 0)

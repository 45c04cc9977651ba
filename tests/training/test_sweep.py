"""Sweeps: rows, failures, resuming, ranks."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import BIN, ROOT, run_python
from tests.tolerance import auroc_rounding, rounding
from training.runtime.command import InputError, RunError
from training.sweep import main
from training.sweeps.plan import read_plan
from training.sweeps.record import COLUMNS, FAILURE, Records, State

SMALL = """
[all]
dataset = "mnist-mini"
width = 2
max_train = 100
image_size = 32

[[grid]]
epochs = 2
normal = [3, 4]
loss = ["l2", "l2-lamp"]
batch_size = 32
"""
DIVERGING = """
[[grid]]
epochs = 1
normal = 5
optimizer = "sgd"
lr = [1e30, 1e-5]
"""

#: Plain descent passes on rounding as it is; Adam would divide it by gradients that vanish.
GENTLE = """[all]
optimizer = "sgd"
lr = 1e-4"""
#: A gradient is a sum over 32 images of 1024 pixels; what it is off by changes the loss by less than the descent does.
BATCH_ROUNDING = rounding(32 * 1024)


def scores_of(path: Path) -> list[np.ndarray]:
    """Scores of the normal and of the anomalous test images."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [np.array([float(line["score"]) for line in lines if line["label"] == label]) for label in "01"]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(SMALL)
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_run_with_the_whole_config(plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(plan), "--out", str(tmp_path / "out"), "--threads", "1"])
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "out" / "results.csv")
    found = rows(tmp_path / "out")
    assert list(found[0]) == list(COLUMNS)
    assert [(row["normal"], row["loss"]) for row in found] == [
        ("3", "l2"),
        ("3", "l2-lamp"),
        ("4", "l2"),
        ("4", "l2-lamp"),
    ]
    for row in found:
        folder = tmp_path / "out" / row["run"]
        metrics = json.loads((folder / "metrics.json").read_text())
        assert row["status"] == "done"
        assert row["digest"] == metrics["digest"]
        assert float(row["auroc_low"]) < float(row["auroc"]) < float(row["auroc_high"])
        assert float(row["train_s"]) > 0
        assert int(row["updates"]) == 8
        assert (folder / "scores.csv").is_file()
        assert (folder / "checkpoint.pt").is_file()
    with (tmp_path / "out" / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"] * 4


def test_a_sweep_trains_what_training_alone_trains(plan: Path, tmp_path: Path) -> None:
    from training.fitting.checkpoint import load_checkpoint
    from training.train import main as train

    plan.write_text(SMALL.replace("[all]", GENTLE))
    main([str(plan), "--out", str(tmp_path / "out"), "--threads", "1"])
    row = rows(tmp_path / "out")[1]
    options = ["--width", "2", "--max-train", "100", "--epochs", "2", "--normal", "3", "--loss", "l2-lamp"]
    options += ["--optimizer", "sgd", "--lr", "1e-4"]
    train([*options, "--batch-size", "32", "--threads", "1", "--out", str(tmp_path / "alone")])
    alone = json.loads((tmp_path / "alone" / "metrics.json").read_text())
    assert float(row["train_l2"]) == pytest.approx(alone["train_l2"], rel=BATCH_ROUNDING)
    normal, anomalous = scores_of(tmp_path / "alone" / "scores.csv")
    allowed = auroc_rounding(normal, anomalous, BATCH_ROUNDING)
    assert float(row["auroc"]) == pytest.approx(alone["auroc"], abs=allowed)
    assert load_checkpoint(tmp_path / "out" / row["run"] / "checkpoint.pt").config.loss == "l2-lamp"


def test_a_failed_run_is_a_row_and_the_sweep_goes_on(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.write_text(SMALL + DIVERGING)
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"results\.csv: expected 6 runs done, found 1 failed, such as .* \(training st"):
        main([str(plan), "--out", str(out), "--threads", "1"])
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "results.csv")
    found = rows(out)
    assert [row["status"] for row in found] == ["done"] * 4 + ["failed", "done"]
    assert "training stopped" in found[4]["error"]
    assert found[4]["auroc"] == ""
    failed = out / found[4]["run"] / FAILURE
    before = failed.stat().st_mtime_ns
    with pytest.raises(RunError, match="--retry trains failed runs again"):
        main([str(plan), "--out", str(out), "--threads", "1"])
    assert failed.stat().st_mtime_ns == before, "repeated without --retry"
    with pytest.raises(RunError, match="1 failed"):
        main([str(plan), "--out", str(out), "--threads", "1", "--retry"])
    assert failed.stat().st_mtime_ns != before


def test_missing_data_fail_their_runs_alone(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    plan.write_text(SMALL + '[[grid]]\nepochs = 1\ndataset = "mvtec"\ndepth = 4\n')
    with pytest.raises(RunError, match=r"found 1 failed, such as .* \(--category: expected a folder"):
        main([str(plan), "--out", str(tmp_path / "out"), "--threads", "1", "--data-dir", str(tmp_path / "data")])
    found = rows(tmp_path / "out")
    assert [row["status"] for row in found] == ["done"] * 4 + ["failed"]
    assert "--category: expected a folder" in found[4]["error"]


def test_what_is_done_is_not_repeated_and_the_tables_are_made_anew(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan.write_text(SMALL.replace("[all]", GENTLE))
    main([str(plan), "--out", str(out), "--threads", "1"])
    before = rows(out)
    times = {row["run"]: (out / row["run"] / "checkpoint.pt").stat().st_mtime_ns for row in before}
    (out / before[0]["run"] / "checkpoint.pt").unlink()
    (out / "results.csv").unlink()
    main([str(plan), "--out", str(out), "--threads", "1"])
    after = rows(out)
    assert [row["digest"] for row in after[1:]] == [row["digest"] for row in before[1:]]
    # Trained again alone, not in a stack of four: equal to rounding.
    assert float(after[0]["train_l2"]) == pytest.approx(float(before[0]["train_l2"]), rel=BATCH_ROUNDING)
    changed = [name for name, then in times.items() if (out / name / "checkpoint.pt").stat().st_mtime_ns != then]
    assert changed == [before[0]["run"]]


def test_other_results_under_a_runs_name_are_refused(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main([str(plan), "--out", str(out), "--threads", "1"])
    path = out / rows(out)[0]["run"] / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["config"]["lr"] = 0.5
    path.write_text(json.dumps(metrics))
    with pytest.raises(InputError, match=r"expected no other run's results, found lr 0\.5"):
        main([str(plan), "--out", str(out)])


def test_a_dry_run_lists_counts_and_writes_nothing(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(plan), "--out", str(tmp_path / "out"), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("4 runs: 0 done, 0 failed, 4 left; about ")
    assert not (tmp_path / "out").exists()


def test_ranks_share_the_runs_and_give_the_same_rows(plan: Path, tmp_path: Path) -> None:
    main([str(plan), "--out", str(tmp_path / "one"), "--threads", "1", "--stack", "1"])
    result = run_python("-m", "training.sweep", plan, "--out", tmp_path / "two", "--threads", 1, "--stack", 1, ranks=2)
    assert result.returncode == 0, result.stderr
    one, two = ({row["run"]: row["digest"] for row in rows(tmp_path / name)} for name in ("one", "two"))
    assert one == two
    assert len(one) == 4
    assert not list((tmp_path / "two").glob(".running-*"))


def test_ranks_threads_and_stacks_change_no_number(plan: Path, tmp_path: Path) -> None:
    """Four runs together on one rank of one thread; two at a time on each of two ranks of two threads."""
    main([str(plan), "--out", str(tmp_path / "one"), "--threads", "1"])
    result = run_python("-m", "training.sweep", plan, "--out", tmp_path / "two", "--threads", 2, ranks=2)
    assert result.returncode == 0, result.stderr
    one, two = (
        [{name: value for name, value in row.items() if name != "train_s"} for row in rows(tmp_path / folder)]
        for folder in ("one", "two")
    )
    assert one == two


@pytest.mark.slow
def test_a_killed_sweep_goes_on(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "training.sweep", str(plan), "--out", str(out), "--threads", "1", "--stack", "1"]
    launcher = [str(BIN / "mpirun"), "-n", "2"]
    for _ in range(6):
        process = subprocess.Popen([*launcher, *command], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(4)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert run_python(*command[1:], ranks=2).returncode == 0
    main([str(plan), "--out", str(tmp_path / "whole"), "--threads", "1", "--stack", "1"])
    killed, whole = ({row["run"]: row["digest"] for row in rows(folder)} for folder in (out, tmp_path / "whole"))
    assert killed == whole


def test_states_are_read_from_the_folders(plan: Path, tmp_path: Path) -> None:
    runs = read_plan(plan)
    records = Records(tmp_path / "none", runs)
    assert [records.count(state) for state in State] == [0, 0, 4]


def test_progress_counts_and_expects_an_end(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.sweeps.progress import Progress

    plan.write_text(SMALL + DIVERGING)
    out, runs = tmp_path / "out", read_plan(plan)
    out.mkdir()
    records = Records(out, runs)
    records.load(retry=False)
    progress = Progress(records, runs, enabled=True)
    (out / ".running-0").write_text("\n".join(run.name for run in runs[:2]))
    assert progress.text() == "running 2, left 4"
    with pytest.raises(RunError, match="1 failed"):
        main([str(plan), "--out", str(out), "--threads", "1"])
    (out / ".running-0").write_text("\n".join(run.name for run in runs))
    monkeypatch.setattr(time, "monotonic", lambda: progress.start + 100)
    records.update(runs[:3])
    assert re.fullmatch(r"running 3, left 0, expected end \d\d:\d\d", progress.text())
    end = progress.expected_end()
    assert end is not None
    from training.sweeps.cost import estimated_seconds

    costs = [estimated_seconds(run.config) for run in runs]
    left = (end - datetime.now()).total_seconds()
    assert left == pytest.approx(100 * sum(costs[3:]) / sum(costs[:3]), abs=5)
    records.update(runs)
    assert progress.text().startswith("running 0, left 0, failed 1")


def test_runs_done_elsewhere_are_taken_over(plan: Path, tmp_path: Path) -> None:
    """From the committed tables of a part of the sweep, without its checkpoints: the same rows in the end."""
    main([str(plan), "--out", str(tmp_path / "whole")])
    done = rows(tmp_path / "whole")
    (tmp_path / "part").mkdir()
    for name, file in (("results", "t.csv"), ("history", "t_history.csv")):
        lines = (tmp_path / "whole" / f"{name}.csv").read_text().splitlines()
        kept = [line for line in lines[1:] if not line.startswith(done[0]["run"]) and done[0]["run"] not in line]
        (tmp_path / "part" / file).write_text("\n".join([lines[0], *kept]) + "\n")
    main([str(plan), "--out", str(tmp_path / "rest"), "--known", str(tmp_path / "part" / "t.csv")])
    assert [folder.name for folder in (tmp_path / "rest").iterdir() if folder.is_dir()] == [done[0]["run"]]
    timeless = [
        [{k: v for k, v in row.items() if k != "train_s"} for row in each] for each in (done, rows(tmp_path / "rest"))
    ]
    assert timeless[0][1:] == timeless[1][1:]
    assert [row["run"] for row in timeless[1]] == [row["run"] for row in done]
    histories = [(tmp_path / folder / "history.csv").read_text() for folder in ("whole", "rest")]
    assert len(histories[0].splitlines()) == len(histories[1].splitlines())


def test_runs_done_elsewhere_must_be_the_same_runs(plan: Path, tmp_path: Path) -> None:
    main([str(plan), "--out", str(tmp_path / "s")])
    results = tmp_path / "s" / "results.csv"
    header, first, *others = results.read_text().splitlines()
    values = dict(zip(header.split(","), next(csv.reader([first])), strict=True))
    changed = [value if name != "width" else str(int(value) + 1) for name, value in values.items()]
    with (tmp_path / "s" / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), changed])
        file.write("\n".join(others) + "\n")
    with pytest.raises(InputError, match=r"results\.csv: expected .* with width \d+, found \d+; leave the file out"):
        main([str(plan), "--out", str(tmp_path / "t"), "--known", str(results)])
    with pytest.raises(InputError, match=r"none\.csv: expected a table that training.sweep wrote"):
        main([str(plan), "--out", str(tmp_path / "t"), "--known", str(tmp_path / "none.csv")])

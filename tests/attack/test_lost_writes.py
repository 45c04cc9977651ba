"""What cannot be written is one line that names the file, and a status that is not 0; a re-run completes it."""

import csv
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import BIN, ROOT
from tests.landscape.test_failures import mounting
from tests.processes import until
from training.runtime.command import InputError
from training.runtime.lock import Lock
from training.sweep import main as sweep
from training.train import main as train

PLAN = """
[all]
dataset = "mnist-mini"
width = 2
max_train = 100
epochs = 1
batch_size = 32

[[grid]]
seed = [0, 1, 2, 3]
"""
SMALL = ("--dataset", "mnist-mini", "--normal", "3", "--epochs", "1", "--width", "2", "--max-train", "100")
WHOLE = {"checkpoint.pt", "history.csv", "metrics.json", "scores.csv"}
LIMIT = 8 * 1024  # bytes a file: less than a checkpoint, more than a table or a line of progress
SECONDS = 240


def run_limited(*arguments: object, limit: int = LIMIT) -> "subprocess.CompletedProcess[str]":
    """As `run_python`, where no file may grow beyond `limit` bytes, as by `ulimit -f`."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )


def the_error(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a run that could not write."""
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line]
    return line


def statuses(folder: Path) -> list[str]:
    with (folder / "results.csv").open(newline="") as file:
        return [row["status"] for row in csv.DictReader(file)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_sweep_whose_checkpoints_do_not_fit_ends_and_a_rerun_completes_it(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    options = (tmp_path / "plan.toml", "--out", tmp_path / "s", "--threads", 1, "--stack", 1)
    line = the_error(run_limited("-m", "training.sweep", *options))
    assert line.startswith("error: ")
    assert "/checkpoint.pt: expected a file that can be written, found File too large; " in line
    sweep(list(map(str, options)))
    assert statuses(tmp_path / "s") == ["done"] * 4
    run = next(path for path in (tmp_path / "s").iterdir() if path.is_dir())
    assert names(run) == WHOLE


FULL_THEN_NOT = """
folder=$1; shift
mount -t tmpfs -o size=100k none "$folder" || exit 77
"$@"; echo "status $?"
mount -o remount,size=10m "$folder"
"$@"; echo "status $?"
cut -d , -f 1 "$folder/s/results.csv" | wc -l
"""


@pytest.mark.slow
def test_a_sweep_over_ranks_on_a_full_disk_ends_and_a_rerun_completes_it(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    options = ("--out", tmp_path / "disk" / "s", "--threads", 1, "--stack", 1)
    launched = (BIN / "mpirun", "-n", 2, sys.executable, "-m", "training.sweep", tmp_path / "plan.toml", *options)
    done = mounting(FULL_THEN_NOT, tmp_path / "disk", *map(str, launched))
    assert done.stdout.split("\n") == ["status 1", f"{tmp_path}/disk/s/results.csv", "status 0", "5", ""], done
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: rank ")
    assert "expected a file that can be written, found No space left on device" in line
    assert "Traceback" not in done.stderr


def test_a_training_whose_checkpoint_does_not_fit_ends_and_a_rerun_completes_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = (*SMALL, "--threads", "1", "--out", str(out))
    line = the_error(run_limited("-m", "training.train", *options))
    assert line.startswith(f"error: {out}/checkpoint.pt: expected a file that can be written, found File too large; ")
    train(options)
    assert names(out) == WHOLE


def test_what_is_written_after_the_checkpoint_may_fail_and_a_rerun_writes_it(tmp_path: Path) -> None:
    """Scores of 2000 images are larger than the checkpoint of one channel."""
    out = tmp_path / "run"
    options = (*SMALL, "--threads", "1", "--out", str(out))
    train(options)
    sizes = {path.name: path.stat().st_size for path in out.iterdir()}
    checkpoint, before = (out / "checkpoint.pt").read_bytes(), (out / "metrics.json").read_bytes()
    assert sizes["scores.csv"] > sizes["checkpoint.pt"] + 1024
    shutil.rmtree(out)
    line = the_error(run_limited("-m", "training.train", *options, limit=sizes["checkpoint.pt"] + 512))
    assert line.startswith(f"error: {out}/scores.csv: expected a file that can be written, found File too large; ")
    assert names(out) == {"checkpoint.pt", "history.csv"} | ({".landscape-lock"} & names(out))
    train(options)
    assert names(out) == WHOLE
    assert len(checkpoint) == (out / "checkpoint.pt").stat().st_size
    assert len(before) - 20 < (out / "metrics.json").stat().st_size


@pytest.mark.slow
def test_a_folder_that_is_deleted_in_mid_sweep_ends_it(tmp_path: Path) -> None:
    out = tmp_path / "s"
    (tmp_path / "plan.toml").write_text(PLAN.replace("[0, 1, 2, 3]", str(list(range(40)))))
    words = ["-m", "training.sweep", tmp_path / "plan.toml", "--out", out, "--threads", 1, "--stack", 1]
    process = subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: process.poll() is not None or len(list(out.glob("*/metrics.json"))) > 2)
    assert process.poll() is None
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)  # what was written while the first was at it
    stdout, stderr = process.communicate(timeout=SECONDS)
    line = the_error(subprocess.CompletedProcess([], process.returncode, stdout, stderr))
    assert line.startswith(f"error: {out}/")
    assert "expected a file that can be written, found No such file or directory" in line


def images(folder: Path, *names: bytes) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            Image.new("L", (32, 32), 40 * number).save(file, "PNG")
    return folder


def test_names_that_are_no_utf8_end_no_training(tmp_path: Path) -> None:
    """Neither where a name is not UTF-8, nor where the machine's own text has no letter é."""
    folders = {
        "--train-dir": images(tmp_path / "train", b"0.png", b"1.png", b"2.png", b"3.png"),
        "--test-normal-dir": images(tmp_path / "normal", "é.png".encode(), b"b.png"),
        "--test-anomalous-dir": images(tmp_path / "anomalous", b"\xff.png", b"c.png"),
    }
    options = [text for option, folder in folders.items() for text in (option, str(folder))]
    options += ["--dataset", "folder", "--image-size", "32", "--channels", "1", "--depth", "2", "--width", "2"]
    options += ["--epochs", "1", "--batch-size", "2", "--threads", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "training.train", *options],
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "scores.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert len(ids) == 4
    assert any(name.endswith("\\udcff.png") for name in ids)


def test_two_trainings_and_two_sweeps_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    with Lock(tmp_path):
        with pytest.raises(InputError, match="expected no other writer, found process"):
            train([*SMALL, "--threads", "1", "--out", str(tmp_path)])
        with pytest.raises(InputError, match="expected no other writer, found process"):
            sweep([str(tmp_path / "plan.toml"), "--threads", "1", "--out", str(tmp_path)])
    assert names(tmp_path) == {"plan.toml"}

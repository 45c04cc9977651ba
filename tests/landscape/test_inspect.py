"""What files say of themselves: by their numbers, and by commands that do what they are said to do."""

import json
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis.compare import main as compare
from analysis.measures.settings import Settings
from analysis.measures.sharpness_files import Report, Table, Task, write_report
from analysis.relate import main as relate
from landscape.api import compute
from landscape.files.describe import surface_command, training_command
from landscape.files.grid import read_grid
from landscape.files.gridfile import GridWriter
from landscape.inspect import main as uncaught
from landscape.surface import main as surface
from tests.conftest import ROOT
from tests.landscape.files.test_gridfile import grid, point
from tests.landscape.test_convert import convert, made, stored
from tests.made_measures import MEASURES, write_measures
from tests.problems import no_number
from training.data.config import RunConfig, resolve
from training.fitting.checkpoint import load_checkpoint
from training.runtime.command import command
from training.runtime.lock import FIRST_WORDS, lock_path
from training.train import main as train

main = command(uncaught)
Captured = pytest.CaptureFixture[str]


def told(capsys: Captured, *files: Path) -> Any:
    capsys.readouterr()
    assert main([*map(str, files), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_grid_files_metrics_progress_and_directions(tmp_path: Path, capsys: Captured) -> None:
    (about,) = told(capsys, stored(tmp_path, made()))
    assert about["kind"] == "grid file"
    assert about["axes"]["y"] == {"low": 0, "high": 2, "points": 3}
    assert about["planes"] == 2
    counts = {"points": 24, "done": 22, "evaluated": 22, "interpolated": 0, "diverged": 4, "complete": False}
    assert about["progress"] == counts
    assert list(about["metrics"]) == ["own", "accuracy", "l2"]
    own = about["metrics"]["own"]
    assert own["definition"] == "a loss"
    assert own["minimum"] == {"value": 1, "plane": 0, "x": -1, "y": 0}
    assert own["maximum"] == {"value": 124, "plane": 1, "x": 1, "y": 2}
    assert own["interpolation_error"] is None
    assert about["directions"]["1/x"] == {"parameters": 2, "numbers": 12}
    assert about["commands"] == {"continue": None}  # it was made without a command
    assert main([str(tmp_path / "ours.h5")]) == 0
    text = capsys.readouterr().out
    assert "22 of 24 points done, 22 evaluated, 0 interpolated, 4 diverged: unfinished" in text
    assert "maximum 124 at x=1, y=2, plane 1" in text


def test_a_file_that_is_being_written(tmp_path: Path, capsys: Captured) -> None:
    writer = GridWriter(tmp_path / "g.h5", grid(), {})
    writer.write([((0, 2, 3), point(5.0))])
    (about,) = told(capsys, tmp_path / "g.h5")
    assert about["progress"]["done"] == 1
    assert about["metrics"]["l2"]["maximum"]["value"] == 5
    assert about["writer"].startswith("process ")
    writer.close()
    assert told(capsys, tmp_path / "g.h5")[0]["writer"] is None


def test_a_writer_that_died_is_not_named(tmp_path: Path, capsys: Captured) -> None:
    GridWriter(tmp_path / "g.h5", grid(), {}).close()
    lock_path(tmp_path / "g.h5").write_bytes(FIRST_WORDS + b"process 1 on elsewhere: surface\n")  # what a kill leaves
    assert told(capsys, tmp_path / "g.h5")[0]["writer"] is None


def test_a_surface_without_finite_values_says_so(tmp_path: Path, capsys: Captured) -> None:
    """At once, on stderr, in the file and by inspect; a finite centre with infinite values around is no such one."""
    options = ["--x=-1:1:3", "--threads", "1", "--out", str(tmp_path / "n.h5")]
    surface(["--problem", "tests.problems:no_number", *options])
    note = "l2 is nan at the model itself: what the file shows of it is no landscape of a trained model"
    assert f"note: {note}\n" in capsys.readouterr().err
    about = told(capsys, tmp_path / "n.h5")[0]
    assert about["origin"]["notes"] == [note]
    main([str(tmp_path / "n.h5")])
    shown = capsys.readouterr().out
    assert "no finite value at any point done" in shown
    assert note in shown
    with pytest.warns(UserWarning, match="l2 is nan at the model itself"):
        compute(no_number(), "-1:1:3", threads=1)
    surface(["--problem", "tests.problems:diverging", *options[:-1], str(tmp_path / "d.h5")])
    assert "note" not in capsys.readouterr().err
    assert "notes" not in told(capsys, tmp_path / "d.h5")[0]["origin"]


def test_the_command_it_names_continues_the_surface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--problem", "tests.problems:quadratic", "--x=-1:1:5", "--metrics", "l2,l1", "--threads", "1"]
    monkeypatch.setattr("sys.argv", [str(ROOT / "landscape" / "surface.py"), *words, "--out", "my file.h5"])
    surface(None)
    whole = read_grid(Path("my file.h5"))
    assert list(told(capsys, Path("my file.h5"))[0]["commands"]) == ["repeat"]
    with h5py.File("my file.h5", "r+") as file:
        del file["digest"]  # that of a finished file
        for name in ("done", "evaluated"):
            file[name][0, 0, 1:4] = False
    Path("my file.h5").rename("moved.h5")
    (about,) = told(capsys, Path("moved.h5"))
    assert about["progress"]["done"] == 2
    python, dash_m, module, *given = shlex.split(about["commands"]["continue"])
    assert (python, dash_m, module) == ("python", "-m", "landscape.surface")
    assert given == [*words, "--out", "moved.h5"]
    surface(given)
    np.testing.assert_array_equal(read_grid(Path("moved.h5")).values["l2"], whole.values["l2"])


def test_commands_that_cannot_be_told_are_not_made_up() -> None:
    for recorded in ("", "pytest -q", "landscape/surface.py 'unclosed"):
        assert surface_command(recorded, Path("g.h5")) is None
    line = surface_command("/a/landscape/surface.py --ckpt a.pt --out=b/g.h5", Path("elsewhere/g.h5"))
    assert line == "python -m landscape.surface --ckpt a.pt --out=b/g.h5"


def test_a_checkpoint_and_the_command_that_trains_it_again(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    shutil.copy(checkpoint, tmp_path / "checkpoint.pt")
    (about,) = told(capsys, tmp_path / "checkpoint.pt")
    loaded = load_checkpoint(checkpoint)
    assert about["kind"] == "checkpoint"
    assert about["epoch"] == 2
    assert about["digest"] == loaded.digest
    assert about["metrics"]["auroc"] == loaded.metrics["auroc"]
    assert about["config"]["loss"] == "l2-lamp"
    assert main([str(tmp_path / "checkpoint.pt")]) == 0
    text = capsys.readouterr().out
    assert f"  digest: {loaded.digest[:12]}…\n" in text
    assert "train_dir" not in text  # what is empty is left out
    line = shlex.split(about["commands"]["repeat"])
    assert line[:3] == ["python", "-m", "training.train"]
    train([*line[3:-1], str(tmp_path / "again"), "--threads", "1"])
    assert load_checkpoint(tmp_path / "again" / "checkpoint.pt").digest == loaded.digest


def test_a_training_command_has_every_option_that_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(RunConfig(lamp_detach=True, lr=0.0003, dataset="folder", train_dir="a b", test_normal_dir="n",
                               test_anomalous_dir="x", image_size=64, augment="flips"))  # fmt: skip
    parsed: list[RunConfig] = []
    monkeypatch.setattr("training.train.resolve", lambda given: parsed.append(given) or exit(0))
    with pytest.raises(SystemExit):
        train(shlex.split(training_command(config, Path("runs/a")))[3:])
    assert resolve(parsed[0]) == config


def test_reference_files(tmp_path: Path, capsys: Captured) -> None:
    ours = stored(tmp_path, made())
    convert(ours, "--to", "reference", "--directions", tmp_path / "dir.h5", "--out", tmp_path / "ref.h5")
    surface_file, directions = told(capsys, tmp_path / "ref.h5", tmp_path / "dir.h5")
    assert surface_file["kind"] == "surface in the reference tool's layout"
    assert surface_file["progress"]["done"] == 11
    assert surface_file["metrics"]["own"]["maximum"]["value"] == 24
    assert directions["directions"]["0/y"] == {"parameters": 2, "numbers": 12}


@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [
        ("table1.csv", "results of a sweep", 280),
        ("table1_history.csv", "history of a sweep", None),
        ("table1_pairs.csv", "LAMP against base", None),
        ("table1_averages.csv", "averages over pairs", None),
        ("ablation_curve.csv", "an ablation", None),
    ],
)
def test_the_shipped_tables_are_known(capsys: Captured, name: str, kind: str, rows: int | None) -> None:
    (about,) = told(capsys, ROOT / "results" / name)
    assert about["kind"].startswith(f"table: {kind}")
    assert rows in (None, about["rows"])


def test_the_files_of_a_run_are_known(checkpoint: Path, capsys: Captured) -> None:
    folder = checkpoint.parent
    metrics, scores, history = told(capsys, *(folder / name for name in ("metrics.json", "scores.csv", "history.csv")))
    assert metrics["kind"] == "metrics of a run (training.train)"
    assert metrics["auroc"] == load_checkpoint(checkpoint).metrics["auroc"]
    assert scores["kind"].startswith("table: anomaly scores")
    assert history["rows"] == 2


def test_reports_and_tables_of_sharpness(tmp_path: Path, capsys: Captured) -> None:
    settings = Settings(losses=("l2",))
    measures = {"trace@l2": 1234.5, "trace@l2:stderr": 6.0, "lambda_max@l2": 8.5, "lambda_max@l2:residual": 0.01}
    report = Report("a", asdict(settings), "abc", measures=measures | {"radius_double@l2": None}, notes={"x": "why"})
    task = Task("a", tmp_path / "a.pt", tmp_path / "a.json")
    write_report(task.report, report)
    Table(tmp_path / "many.csv", [task], json.loads(task.report.read_text())["settings"])
    one, many = told(capsys, task.report, tmp_path / "many.csv")
    assert one["kind"] == "report of sharpness (analysis.sharpness)"
    assert list(one["measures"]) == ["trace@l2", "lambda_max@l2", "radius_double@l2"]
    assert one["measures"]["trace@l2"]["stderr"] == 6
    assert one["measures"]["trace@l2"]["definition"] == f"tr H by Hutchinson's estimator, {settings.probes} probes"
    assert many["kind"].startswith("table: sharpness of many models")
    assert many["rows"] == 1
    assert main([str(task.report)]) == 0
    text = capsys.readouterr().out
    assert "measure trace@l2: 1234.5 ± 6 loss per squared weight\n" in text
    assert "measure lambda_max@l2: 8.5 loss per squared weight, residual 0.01\n" in text
    assert "measure radius_double@l2: no value" in text
    assert "notes: x why" in text


def test_tables_of_relations_and_of_differences(tmp_path: Path, capsys: Captured) -> None:
    table = write_measures(tmp_path / "s.csv", MEASURES)
    relate([str(table), "--resamples", "100", "--permutations", "99", "--out", str(tmp_path / "relate.csv")])
    groups = ["--a", "loss=l2", "--b", "loss=l2-lamp", "--resamples", "100"]
    compare([str(table), *groups, "--out", str(tmp_path / "compare.csv")])
    related, compared = told(capsys, tmp_path / "relate.csv", tmp_path / "compare.csv")
    assert related["kind"] == "table: sharpness against AUROC, a row a measure and statistic (analysis.relate)"
    assert compared["kind"] == "table: two groups of models compared, a row a measure (analysis.compare)"
    assert compared["rows"] == len((tmp_path / "compare.csv").read_text().splitlines()) - 1


@pytest.mark.parametrize(
    "content", [b"", b"plain text", b"\xff\xfe\x00", b"{broken", b"[1, 2]", b"a,b\n1,2\n", b"PK12"]
)
def test_foreign_files_are_one_line(tmp_path: Path, capsys: Captured, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert main([str(tmp_path / "f")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / "f") in error


def test_damaged_foreign_and_missing_hdf5_files_are_one_line(tmp_path: Path, capsys: Captured) -> None:
    whole = stored(tmp_path, made()).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 3])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = 1
    for name, message in {
        "cut.h5": "damaged or foreign",
        "other.h5": "another kind",
        "absent.h5": "expected a file, found none",
        ".": "found a folder",
    }.items():
        assert main([str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

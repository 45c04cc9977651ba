"""The command that measures sharpness: one model, many, a sweep's; over ranks, resumed, refused."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from analysis.measures.catalogue import MEASURES
from analysis.measures.settings import Settings
from analysis.measures.sharpness_files import Report, Table, Task, read_report, sweep_tasks, write_report
from analysis.rows.results import read_runs
from analysis.sharpness import main
from tests.conftest import run_python, train_small
from training.runtime.command import InputError, RunError, command

QUICK = (
    *("--images", "20", "--test-images", "20", "--directions", "2", "--planes", "1", "--steps", "1", "--draws", "2"),
    *("--probes", "2", "--max-products", "30", "--threads", "1", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints of small models: L2-LAMP and L2."""
    folder = tmp_path_factory.mktemp("runs")
    return [train_small(folder / loss, loss, "--epochs", "1") for loss in ("l2-lamp", "l2")]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_model(checkpoints: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a" / "sharpness.json"
    main(["--ckpt", str(checkpoints[0]), "--out", str(out), "--density-steps", "5", *QUICK])
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    content = json.loads(out.read_text())
    assert content["config"]["loss"] == "l2-lamp"
    assert content["settings"]["images"] == 20
    assert set(content["definitions"]) == set(MEASURES)
    assert "{" not in "".join(what["definition"] for what in content["definitions"].values())
    assert "20 steps" not in content["definitions"]["keskar"]["definition"]
    measures = content["measures"]
    assert {f"{name}@{loss}" for name in ("trace", "asam") for loss in ("l2", "own")} <= set(measures)
    assert measures["trace@l2:stderr"] > 0
    assert (measures["keskar@own:starts"], measures["keskar@own:converged"]) == (8, 0)  # of one step each
    assert set(content["directional"]) == {"l2", "own", "auroc"}
    assert set(content["density"]) == {"l2", "own"}


def test_many_models_over_ranks_equal_one_process(checkpoints: list[Path], tmp_path: Path) -> None:
    arguments = [word for path in checkpoints for word in ("--ckpt", path)]
    alone, ranks = tmp_path / "alone.csv", tmp_path / "ranks.csv"
    assert command(main)([*map(str, arguments), "--out", str(alone), *QUICK]) == 0
    done = run_python("-m", "analysis.sharpness", *arguments, "--out", ranks, *QUICK, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(ranks)
    first, second = rows(alone), rows(ranks)
    assert [row["run"] for row in first] == ["l2-lamp", "l2"]
    for one, other in zip(first, second, strict=True):
        assert other == one  # to the last digit, since each rank computes with one thread too


def test_what_is_done_is_not_measured_again(checkpoints: list[Path], tmp_path: Path) -> None:
    arguments = [str(word) for path in checkpoints for word in ("--ckpt", path)]
    out = tmp_path / "s.csv"
    main([*arguments, "--out", str(out), *QUICK])
    before = out.read_text()
    kept, lost = tmp_path / "s" / "l2-lamp.json", tmp_path / "s" / "l2.json"
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    main([*arguments, "--out", str(out), *QUICK])
    assert lost.exists()
    assert kept.stat().st_mtime_ns == stamp
    assert out.read_text() == before


def test_other_settings_are_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    arguments = ["--ckpt", str(checkpoints[0]), "--out", str(tmp_path / "s.csv"), *QUICK]
    main(arguments)
    with pytest.raises(InputError, match=r"found other seed; choose another --out"):
        main([*arguments, "--seed", "1"])


def test_another_checkpoint_of_the_same_name_is_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    shutil.copytree(checkpoints[0].parent, tmp_path / "run")
    arguments = ["--ckpt", str(tmp_path / "run" / "checkpoint.pt"), "--out", str(tmp_path / "s.csv"), *QUICK]
    main(arguments)
    shutil.copy(checkpoints[1], tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(InputError, match="expected the report of this checkpoint, found that of another"):
        main(arguments)


def test_a_checkpoint_that_cannot_be_used_is_a_row_with_its_error(checkpoints: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "checkpoint.pt"
    broken.parent.mkdir()
    broken.write_bytes(b"no checkpoint")
    out = tmp_path / "s.csv"
    with pytest.raises(RunError, match=r"s\.csv: expected all checkpoints measured, found 1 that failed, broken first"):
        main(["--ckpt", str(broken), "--ckpt", str(checkpoints[1]), "--out", str(out), *QUICK])
    failed, done = rows(out)
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert "damaged or foreign file" in failed["error"]
    assert float(done["half_curvature@l2"]) > 0
    assert [run.trouble for run in read_runs(out)] == ["failed", ""]


def test_a_sweep_is_measured_where_it_is_finished(checkpoints: list[Path], tmp_path: Path) -> None:
    header = "run,dataset,loss,lamp_scale,lamp_detach,lamp_eps,optimizer,batch_size,epochs,seed,status,auroc\n"
    line = "{},mnist-mini,l2,batch,False,0.001,adam,128,1,0,{},{}\n"
    (tmp_path / "results.csv").write_text(header + line.format("a", "done", 0.9) + line.format("b", "failed", ""))
    assert sweep_tasks(tmp_path, tmp_path / "s") == [Task("a", tmp_path / "a/checkpoint.pt", tmp_path / "s/a.json")]


def test_reports_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, message in (("{", "damaged"), ("{}", "another kind"), ('{"format": "landscape-sharpness"}', "version")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_report(path)


def test_a_report_of_before_can_be_read_but_not_mixed_with(tmp_path: Path) -> None:
    """One without columns of how its searches went, whose settings are others."""
    settings = {**asdict(Settings()), "steps": 5, "restarts": 2, "losses": ["l2"]}
    measures = {"keskar@l2": 3.5, "asam_mean@l2": 1.0, "asam_mean@l2:stderr": 0.1}
    task = Task("a", tmp_path / "a.pt", tmp_path / "a.json")
    write_report(task.report, Report("a", settings, measures=measures, version=2))
    content = json.loads(task.report.read_text())
    content["settings"] = {name: settings[name] for name in ("losses", "images", "steps", "restarts")}
    task.report.write_text(json.dumps(content))
    assert read_report(task.report).measures == measures
    with pytest.raises(InputError, match="expected a report of version 3, found 2"):
        Table(tmp_path / "s.csv", [task], settings)


def test_a_table_of_nothing_has_no_measures(tmp_path: Path) -> None:
    table = Table(tmp_path / "s.csv", [Task("a", tmp_path / "a.pt", tmp_path / "a.json")], {"losses": ["l2"]})
    assert table.columns == []
    assert [task.name for task in table.left()] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "a.json"), "--ckpt, --sweep, --problem: expected one of them, found none or several"),
        (("--ckpt", "a.pt", "--problem", "b:c", "--out", "a.json"), "found none or several"),
        (("--ckpt", "a.pt", "--out", "a.txt"), "expected a name that ends in .json or .csv"),
        (("--ckpt", "a.pt", "--ckpt", "b.pt", "--out", "a.json"), "expected NAME.csv for several checkpoints"),
        (("--problem", "a:b", "--out", "a.csv"), "expected NAME.json with --problem"),
        (("--ckpt", "a.pt", "--out", "a.json", "--small", "0.7"), "--small: expected one of 0.1, 0.2"),
        (("--ckpt", "a.pt", "--out", "a.json", "--probes", "1"), "--probes: expected at least 2"),
        (("--ckpt", "a.pt", "--out", "a.json", "--rho", "-1"), "--rho: expected a positive number"),
        (("--ckpt", "x/a.pt", "--ckpt", "x/b.pt", "--out", "a.csv"), "folders of different names"),
        (("--ckpt", "absent.pt", "--out", "a.json"), "expected a checkpoint file, found none"),
        (("--sweep", "absent", "--out", "a.csv"), "results.csv, found none"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(main)(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.json").exists()


def test_a_problem_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "q.json"
    done = run_python(
        *("-m", "analysis.sharpness", "--problem", "tests.problems:quadratic", "--losses", "l2", "--out", out), *QUICK
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["measures"]["lambda_min@l2"] > 0

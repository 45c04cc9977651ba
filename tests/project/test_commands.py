"""Every command: its help, its speed, its last line; bad input gives one line, status 2 and no traceback."""

import contextlib
import importlib
import io
import os
import resource
import warnings
from pathlib import Path
from unittest import mock

import pytest

from tests.conftest import ROOT, run_python
from tests.made_sweeps import product, write_sweep
from training.runtime.command import command

COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("training", "landscape", "analysis", "figures")
    for path in (ROOT / package).glob("*.py")
    if 'if __name__ == "__main__":' in path.read_text() and path.stem != "__main__"
)


def test_all_commands_are_known() -> None:
    assert {
        "training.train",
        "training.probe",
        "landscape.surface",
        "analysis.tables",
        "analysis.panels",
        "analysis.pairs",
        "figures.surface",
        "figures.fig1",
        "figures.fig2",
        "figures.fig3",
        "figures.fig4",
        "figures.scores",
        "figures.specification",
        "figures.convergence",
        "landscape.convert",
        "landscape.inspect",
        "analysis.sharpness",
        "analysis.relate",
        "analysis.compare",
        "analysis.topology",
        "figures.relation",
        "figures.bands",
        "figures.density",
        "figures.trajectory",
        "figures.animate",
        "figures.persistence",
        "figures.viewer",
    } <= set(COMMANDS)


def cpu_seconds() -> float:
    """Processor time of all processes run so far: unlike the clock's, it does not depend on what else is running."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


AS_MODULE = """
import runpy, sys
sys.argv = ["", "--help"]
try:
    runpy.run_module(sys.orig_argv[-1], run_name="__main__", alter_sys=True)
except SystemExit as ended:
    heavy = {"torch", "mpi4py"} & set(sys.modules)
    sys.exit(f"imported {heavy}" if heavy else ended.code)
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_answers_in_about_a_second_with_an_example_and_without_torch(name: str) -> None:
    times = []
    while not times or (min(times) >= 2.5 and len(times) < 3):  # about one on an idle machine
        before = cpu_seconds()
        done = run_python("-c", AS_MODULE, name)
        times.append(cpu_seconds() - before)
    assert done.returncode == 0
    assert f"python -m {name}" in done.stdout
    assert "Example" in done.stdout
    assert done.stderr == ""
    assert min(times) < 2.5


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_end_with_the_status_of_their_main(name: str) -> None:
    """So that what :func:`refused` sees in this process is what a shell sees."""
    lines = (ROOT / f"{name.replace('.', '/')}.py").read_text().splitlines()
    assert lines[-2:] == ['if __name__ == "__main__":', "    raise SystemExit(command(main)())"]


def refused(name: str, *arguments: object, env: dict[str, str] | None = None) -> str:
    """Run a command that must refuse: status 2, one line on stderr, nothing on stdout, no warning. Returns the line."""
    main, out, err = importlib.import_module(name).main, io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, env or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(record=True) as seen,
    ):
        warnings.simplefilter("ignore", DeprecationWarning)
        assert command(main)([str(argument) for argument in arguments]) == 2, err.getvalue()
    assert not seen, seen[0]
    assert out.getvalue() == ""
    assert len(err.getvalue().splitlines()) == 1, err.getvalue()
    assert err.getvalue().startswith("error: ")
    return err.getvalue()


def test_a_refusal_is_the_same_in_a_process_of_its_own(tmp_path: Path) -> None:
    arguments = ("landscape.surface", "--ckpt", tmp_path / "absent.pt", "--out", tmp_path / "a.h5")
    done = run_python("-m", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", refused(*arguments))


def test_bad_input_to_training(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    cases = {
        ("--dataset", "mvtec"): "mvtec",
        ("--dataset", "mnist", "--data-dir", tmp_path / "nowhere"): "nowhere",
        ("--dataset", "mnist", "--data-dir", tmp_path): "mnist",
        ("--dataset", "folder"): "--train-dir",
        ("--normal", "12"): "--normal: expected a digit from 0 to 9, found 12",
        ("--batch-size", "0"): "--batch-size: expected at least 1, found 0",
        ("--device", "cuda:99"): "--device",
        ("--threads", "-1"): "--threads",
    }
    for options, message in cases.items():
        assert message in refused("training.train", *options, *out, env={"LANDSCAPE_DATA": ""})
    assert "expected one process, found 2" in refused("training.train", *out, env={"OMPI_COMM_WORLD_SIZE": "2"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert "expected a folder that can be written" in refused("training.train", "--out", tmp_path / "file" / "x")


def test_bad_input_to_probe(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    cases: dict[tuple[object, ...], str] = {
        (tmp_path / "absent.pt",): "absent.pt: expected a checkpoint file, found none",
        (tmp_path / "text.pt",): "text.pt: expected a checkpoint, found a damaged or foreign file",
        (checkpoint, "--loss", "ssim"): "--loss: expected one without windows with --task classify, found ssim",
        (checkpoint, "--epochs", "0"): "--epochs: expected at least 1, found 0",
        (checkpoint, "--lr", "-1"): "--lr: expected a positive learning rate",
        (checkpoint, "--max-train", "-1"): "--max-train: expected a number of images, or 0 for all",
        (checkpoint, "--device", "meta"): "--device: expected auto, cpu, cuda or cuda:N",
    }
    for options, message in cases.items():
        assert message in refused("training.probe", "--ckpt", *options, "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["text.pt"]


def test_bad_input_to_surface(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "text.h5").write_text("no HDF5")
    quadratic = ("--problem", "tests.problems:quadratic", "--x=-1:1:3")
    out = ("--out", tmp_path / "s.h5")
    cases: dict[tuple[object, ...], str] = {
        out: "--ckpt, --problem: expected one of them, found neither",
        (*quadratic, "--ckpt", checkpoint, *out): "expected one of them, found both",
        ("--ckpt", tmp_path / "absent.pt", *out): "absent.pt: expected a checkpoint file, found none",
        ("--ckpt", tmp_path / "text.pt", *out): "text.pt: expected a checkpoint, found a damaged or foreign file",
        (*quadratic, "--metrics", "l3", *out): "--metrics: expected names among",
        (*quadratic, "--y=1:-1:3", *out): "--y=1:-1:3: expected low < high",
        (*quadratic, "--planes", "0", *out): "--planes: expected at least 1, found 0",
        (*quadratic, "--adaptive", "1.5", *out): "--adaptive: expected a share of the range above 0 and below 1",
        ("--problem", "nowhere:f", *out): "--problem nowhere:f",
        (*quadratic, "--out", tmp_path / "text.h5"): "expected no file, or a grid file to replace, found a text",
        (*quadratic, "--out", tmp_path / "text.pt" / "s.h5"): "expected a folder that can be written",
        (*quadratic, "--out", tmp_path): "expected the name of a file, found a folder",
        (*quadratic, "--out", ""): "expected the name of a file",
        (*quadratic, "--threads", "100000", *out): "--threads: expected 0 for OMP_NUM_THREADS or all cores",
        (*quadratic, "--device", "meta", *out): "--device: expected auto, cpu, cuda or cuda:N",
        (*quadratic, "--planes", "1000000000", *out): "expected at most 100000000 points in all",
    }
    for options, message in cases.items():
        assert message in refused("landscape.surface", *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.h5", "text.pt"]
    assert (tmp_path / "text.h5").read_text() == "no HDF5"


def test_bad_input_to_figures_and_tables(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "text.npz").write_text("no NPZ")
    (tmp_path / "metrics.json").write_text("{}")
    file, out = tmp_path / "text.h5", ("--out", tmp_path / "f.png")
    cases: dict[tuple[object, ...], str] = {
        ("figures.surface", file, *out): "text.h5: expected a grid file",
        ("figures.surface", file, "--levels", "1", *out): "--levels: expected 2 to 100, found 1",
        ("figures.surface", file, "--out", tmp_path / "f.bmp"): "expected a name that ends in .png, .pdf, .svg",
        ("figures.fig1", *out): "expected one or more grid files, found none",
        ("figures.fig1", file, file, *out): "text.h5: expected a grid file",
        ("figures.fig1", file, file, "--out", tmp_path / "f.bmp"): "expected a name that ends in .png, .pdf, .svg",
        ("figures.fig3", *out): "expected one or more grid files, found none",
        ("figures.fig3", file, file, *out): "text.h5: expected a grid file",
        ("figures.fig3", file, file, "--out", tmp_path / "f.bmp"): "expected a name that ends in .png, .pdf, .svg",
        ("figures.fig2", tmp_path / "text.npz", *out): "text.npz: expected an NPZ file written by analysis.panels fig2",
        ("figures.fig2", tmp_path / "absent.npz", *out): "absent.npz",
        ("analysis.panels", "fig2", "--points", "1", "--out", tmp_path / "p.npz"): "--points: expected at least 2",
        ("figures.fig2", tmp_path / "text.npz", "--out", tmp_path / "d.png"): "text.npz",
        ("analysis.panels", "fig2", "--out", tmp_path): "expected the name of a file, found a folder",
        ("analysis.tables", "runs"): "expected one or more folders",
        ("analysis.tables", "runs", tmp_path): "metrics.json: expected a config and epoch, train_l2, auroc",
        ("analysis.tables", "runs", tmp_path / "absent"): "metrics.json: expected what training.train writes",
    }
    for options, message in cases.items():
        assert message in refused(*options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "text.h5", "text.npz"]


def test_bad_input_to_tables_of_sweeps(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep", product(loss=["l2", "l2-lamp"]))
    results, out = sweep / "results.csv", ("--out", tmp_path / "t")
    lines = results.read_text().splitlines()
    texts = {
        "bytes": b"\xff\xfe\x00",
        "empty": b"",
        "foreign": b"a,b\n1,2\n",
        "header": f"{lines[0]}\n".encode(),
        "cut": "\n".join([*lines[:2], lines[2][:40]]).encode(),
        "twice": "\n".join([*lines, lines[-1]]).encode(),
        "word": results.read_bytes().replace(b",128,", b",many,"),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_bytes(text)
    before = sorted(tmp_path.rglob("*"))
    cases: dict[tuple[object, ...], str] = {
        ("table1", tmp_path / "absent.csv"): "absent.csv: expected what training.sweep writes as results.csv",
        ("table1", tmp_path / "bytes.csv"): "bytes.csv: expected what training.sweep writes as results.csv",
        ("table1", tmp_path / "empty.csv"): "found no column run, dataset, loss",
        ("table2", tmp_path / "foreign.csv"): "found no column run, dataset, loss",
        ("claims", tmp_path / "header.csv"): "--history: expected a sweep's history.csv, found none",
        ("table1", tmp_path / "header.csv"): "header.csv: expected at least one row, found none",
        ("table1", tmp_path / "cut.csv"): "cut.csv, line 3: expected",
        ("table1", tmp_path / "twice.csv"): "found two that differ in nothing; remove one",
        ("table1", tmp_path / "word.csv"): "expected a whole number as batch_size, found 'many'",
        ("table1", tmp_path / "twice.csv", "--protocol", "oracle"): "--history: expected a sweep's history.csv",
        ("table1", results, "--matching", "fit"): "--threshold: expected a common training L2 above 0",
        ("claims", results, "--threshold", "-1"): "--threshold: expected a common training L2 above 0, found -1",
        ("table1", results, "--updates", "-1"): "--updates: expected at least 0, found -1",
        ("table1", results, "--tolerance", "nan"): "--tolerance: expected a difference from 0 to 1, found nan",
        ("table1", results, "--where", "lr=7"): "--where lr=7: expected one of 0.001, found 7",
        ("table1", results, "--where", "sea=3"): "--where sea=3: expected name=value with a setting of the runs",
        ("table1", results, "--base", "l1"): "--base: expected a base loss of",
        (
            "table1",
            results,
            "--history",
            tmp_path / "foreign.csv",
            "--protocol",
            "oracle",
        ): "found no column run, epoch",
        ("table1", results, "--pairs", tmp_path / "foreign.csv"): "expected what analysis.pairs writes as _pairs.csv",
        ("table1", results, "--averages", tmp_path / "absent.csv"): "absent.csv: expected what analysis.pairs writes",
        ("table1", results, "--out", tmp_path): "expected the name of a file, found a folder",
    }
    for options, message in cases.items():
        assert message in refused("analysis.tables", *options)
    for options, message in {
        (tmp_path / "absent", *out): "results.csv: expected what training.sweep writes",
        (sweep, "--resamples", "5", *out): "--resamples: expected at least 100, found 5",
        (sweep, "--seed", "-1", *out): "--seed: expected at least 0, found -1",
        (sweep, "--out", ""): "expected the name of a file",
        (sweep, "--out", tmp_path / "cut.csv" / "t"): "expected a folder that can be written",
    }.items():
        assert message in refused("analysis.pairs", *options)
    assert sorted(tmp_path.rglob("*")) == before
    scores = next(sweep.glob("*/scores.csv"))
    scores.write_text("id,label,score\n1,0,nan\n2,1,3\n")
    assert "scores.csv: expected both labels 0 and 1, finite scores" in refused("analysis.pairs", sweep, *out)
    scores.write_text("id,label,score\n1,0,1\n2,1,3\n")
    assert "expected scores of the same test images in the same order" in refused("analysis.pairs", sweep, *out)
    scores.unlink()
    assert "scores.csv: expected what training.train writes" in refused("analysis.pairs", sweep, *out)


def test_wrong_usage_is_answered_once_under_mpirun() -> None:
    done = run_python("-m", "landscape.surface", "--out", "a.h5", "--no-such-option", ranks=2)
    assert done.returncode == 2
    assert done.stderr.count("no-such-option") == run_python(
        "-m", "landscape.surface", "--out", "a.h5", "--no-such-option"
    ).stderr.count("no-such-option")


def test_one_line_under_mpirun(tmp_path: Path) -> None:
    done = run_python("-m", "landscape.surface", "--ckpt", "absent.pt", "--out", tmp_path / "a.h5", ranks=2)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "error" in line] == [
        "error: absent.pt: expected a checkpoint file, found none; make one with python -m training.train"
    ]

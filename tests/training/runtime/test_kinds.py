"""What is written over: what the same command wrote before, and nothing else."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from figures.parts.style import SUFFIXES, save
from landscape.files.exports import to_csv, to_vtk
from landscape.files.grid import empty_grid, parse_axis
from landscape.files.reference import attributes_of, to_reference, write_reference
from tests.project.test_commands import refused
from training.runtime.command import InputError, check_out, whole_file, write_whole
from training.runtime.kinds import CHECKPOINT, GRID, SURFACE, TORCH, kind_of, npz_kind, table_kind


def grid_of(points: int) -> object:
    axis = parse_axis("x", f"-1:1:{points}"), parse_axis("y", "0:0:1")
    definition = {"definition": "d" * 5000, "over": ["train"], "transform": "log"}
    return empty_grid(*axis, ["l2"], 1, {"metrics": {"l2": definition}, "identity": {}})


def by_pillow(path: Path) -> None:
    Image.new("L", (4, 4)).save(path, "PNG")


def by_h5py(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


MADE: dict[str, Callable[[Path], object]] = {
    "an image (PNG) of another program": by_pillow,
    "an HDF5 file of another program": by_h5py,
    "a zip file": lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"),
    TORCH: lambda path: torch.save({"a": torch.zeros(2)}, path),
    npz_kind("b"): lambda path: np.savez(path.open("wb"), b=np.zeros(2)),
    "a text": lambda path: path.write_text("Buy milk\n"),
    "a table whose first column is 'name'": lambda path: path.write_text("name,age\nA,1\n"),
    "a table in Markdown": lambda path: path.write_text("**Title**\n\n| a |\n|---|\n"),
    "a JSON file that begins with 'lr'": lambda path: path.write_text('{"lr": 1}'),
    "another JSON file": lambda path: path.write_text("[" * 100_000),
    "another file": lambda path: path.write_bytes(b"\xff\xfe\0\0"),
    "": lambda path: path.touch(),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_others_make(tmp_path: Path, kind: str) -> None:
    MADE[kind](tmp_path / "a")
    assert kind_of(tmp_path / "a") == kind


@pytest.mark.parametrize("points", [3, 301])
def test_a_grid_names_itself_wherever_its_attributes_lie(tmp_path: Path, points: int) -> None:
    grid = grid_of(points)
    grid.save(tmp_path / "a.h5")
    assert kind_of(tmp_path / "a.h5") == GRID
    write_reference(tmp_path / "r.h5", to_reference(grid, "l2", 0), attributes_of(grid, "l2", 0))
    assert kind_of(tmp_path / "r.h5") == SURFACE
    write_whole(tmp_path / "a.csv", to_csv(grid, ["l2"]))
    assert kind_of(tmp_path / "a.csv").startswith("a surface, a row a point")
    write_whole(tmp_path / "a.vtp", to_vtk(grid, "l2", 0, log=False))
    assert kind_of(tmp_path / "a.vtp") == "a VTK file"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_figures_are_told_from_images(tmp_path: Path, suffix: str) -> None:
    figure = Figure()
    figure.subplots().plot(np.random.default_rng(0).random(20_000), ".")
    path = tmp_path / f"a{suffix}"
    save(figure, path)
    assert kind_of(path) == SUFFIXES[suffix]
    save(figure, path)  # a figure is made again


def test_a_name_that_is_no_formula_is_drawn_as_it_is(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().set_title(r"$\frac$ and $x$")
    save(figure, tmp_path / "a.svg")
    assert r"$\frac$ and $x$" in (tmp_path / "a.svg").read_text()


def test_files_of_a_run_are_known(checkpoint: Path) -> None:
    from training.fitting.results import RUN_FILES

    there = {name: kind_of(checkpoint.parent / name) for name in RUN_FILES if (checkpoint.parent / name).exists()}
    assert set(there) >= {"scores.csv", "history.csv", "metrics.json", "checkpoint.pt"}
    assert all(kind in RUN_FILES[name] for name, kind in there.items())
    assert there["checkpoint.pt"] == CHECKPOINT


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind])
def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv"
    MADE[kind](path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"expected no file, or .* to replace, found .*; write to another file"):
        write_whole(path, "dimension,birth,death\n")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_command_wrote_is_replaced_and_so_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch()
    write_whole(path, "dimension,birth,death\n")
    write_whole(path, "dimension,birth,death\n0,1,2\n")
    assert path.read_text().endswith("0,1,2\n")


def test_a_link_is_no_output(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious.csv", tmp_path / "link.csv"
    precious.write_text("dimension,birth,death\n")
    link.symlink_to(precious)
    with pytest.raises(InputError, match=r"found a link to .*precious.csv; write to that itself"):
        check_out(link)
    with pytest.raises(InputError, match="found a link"), whole_file(link) as temporary:
        temporary.write_text("dimension,birth,death\n0\n")
    assert link.is_symlink()
    assert precious.read_text() == "dimension,birth,death\n"


def test_columns_of_sweeps_and_of_sharpness_are_told_apart() -> None:
    assert "sharpness" in table_kind(["run", "dataset", "task", "seed", "auroc", "images"])
    assert "sweep" in table_kind(["run", "dataset", "task", "seed", "auroc"])


#: commands with {} for the file that is both read and written
INPLACE = [
    "analysis.topology {} --out {}",
    "analysis.relate {} --out {}",
    "analysis.compare {} --a loss=l2 --b loss=l1 --out {}",
    "analysis.doses {} --out {}",
    "analysis.sharpness --ckpt {} --out {}",
    "analysis.specification {} --threshold 1 --out {}",
    "analysis.tables table1 {} --out {}",
    "analysis.panels fig4 {} --out {}",
    "landscape.surface --ckpt {} --out {}",
    "landscape.surface --ckpt none.pt --to {} --out {}",
    "landscape.surface --ckpt none.pt --mark none.pt {} --out {}",
    "landscape.convert {} --to csv --out {}",
    "figures.surface {} --out {}",
    "figures.viewer {} --out {}",
    "figures.relation scatter {} --measure a --out {}",
]


@pytest.mark.parametrize("line", INPLACE)
@pytest.mark.parametrize("how", ["itself", "hard link", "another path"])
def test_no_command_writes_over_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, how: str) -> None:
    monkeypatch.chdir(tmp_path)
    name, *rest = line.split()
    read = written = Path("a.csv")
    read.write_text(json.dumps({"any": "thing"}))
    if how == "hard link":
        written = Path("b.csv")
        os.link(read, written)
    elif how == "another path":
        written = Path("..", tmp_path.name, "a.csv")
    words = " ".join(rest).replace("--out {}", f"--out {written}").replace("{}", str(read)).split()
    assert f"--out {written}: expected another file than those read, found a.csv" in refused(name, *words)
    assert read.read_text() == '{"any": "thing"}'


def test_a_surface_over_a_checkpoint_does_not_advise_to_delete_it(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(checkpoint.read_bytes())
    said = refused("landscape.surface", "--ckpt", checkpoint, "--out", other)
    assert "found a checkpoint; write to another file" in said
    assert "delete" not in said


def test_sharpness_of_a_sweep_does_not_replace_its_results(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("run,dataset,task,auroc\n")
    said = refused("analysis.sharpness", "--sweep", tmp_path, "--out", tmp_path / "results.csv")
    assert "found results of a sweep" in said


def test_a_training_does_not_replace_a_table_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("year,event\n1066,Hastings\n")
    said = refused("training.train", "--out", tmp_path, "--epochs", 1)
    assert "history.csv: expected no file, or history of a run" in said
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]

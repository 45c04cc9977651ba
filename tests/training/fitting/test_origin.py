"""A checkpoint's data are found where it was trained; the hint is not needed, nor trusted without the digest."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from analysis.panels import main as panels
from landscape.files.describe import describe
from landscape.files.grid import read_grid
from landscape.surface import main as surface
from tests.training.data.made import idx, write_mnist
from training.data import mnist
from training.fitting import origin
from training.fitting.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.fitting.origin import data_of
from training.probe import main as probe
from training.runtime.command import InputError
from training.train import main as train

SMALL = ("--epochs", "1", "--width", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data but those that the test makes, and no note told before."""
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, mirrors=()))
    monkeypatch.setattr(origin, "_told", set())


@pytest.fixture
def trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A checkpoint trained with --data-dir on a small MNIST."""
    write_mnist(tmp_path / "data" / "mnist")
    words = ("--dataset", "mnist", "--normal", "3", "--data-dir", str(tmp_path / "data"), *SMALL)
    train([*words, "--out", str(tmp_path / "run")])
    capsys.readouterr()
    return tmp_path / "run" / "checkpoint.pt"


def note(path: Path, folder: Path) -> str:
    return f"note: data of {path} are read from {folder}, where it was trained; --data-dir names others\n"


def test_commands_find_the_data_and_say_so(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--ckpt", str(trained), "--x=-1:1:3", "--threads", "1", "--out"]
    surface([*line, str(tmp_path / "hint.h5")])
    assert note(trained, tmp_path / "data") in capsys.readouterr().err
    surface([*line, str(tmp_path / "named.h5"), "--data-dir", str(tmp_path / "data")])
    assert "note: data" not in capsys.readouterr().err
    hinted, named = (read_grid(tmp_path / f"{name}.h5") for name in ("hint", "named"))
    assert hinted.meta["identity"] == named.meta["identity"]
    assert hinted.values["l2"].tolist() == named.values["l2"].tolist()
    assert str(tmp_path / "data") not in str({**hinted.meta, "command": ""})
    for run in (
        lambda: panels(["fig4", str(trained), "--normal-images", "1", "--out", str(tmp_path / "p.npz")]),
        lambda: probe(["--ckpt", str(trained), "--epochs", "1", "--out", str(tmp_path / "probe")]),
    ):
        run()
    assert load_checkpoint(tmp_path / "probe" / "checkpoint.pt").data_dir == str(tmp_path / "data")


def test_a_folder_is_told_of_once(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        data_of(trained, load_checkpoint(trained), None)
    assert capsys.readouterr().err == note(trained, tmp_path / "data")


def test_other_ranks_are_silent(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    assert data_of(trained, load_checkpoint(trained), None).digest
    assert capsys.readouterr().err == ""


def test_the_hint_is_part_of_no_digest(trained: Path) -> None:
    loaded = load_checkpoint(trained)
    other = dataclasses.replace(loaded, data_dir="/elsewhere")
    assert other.digest == loaded.digest
    save_checkpoint(other, trained)
    assert load_checkpoint(trained).data_dir == "/elsewhere"
    content = torch.load(trained, weights_only=True)
    for hint in (None, {"data_dir": 3}, {"data_dir": "x" * 5000}, {"data_dir": "\0"}):  # of older releases, damaged
        del content["data_dir"]
        content |= hint or {}
        torch.save(content, trained)
        assert isinstance(load_checkpoint(trained).data_dir, str)
        assert origin.data_where_trained(trained, load_checkpoint(trained)) is None
        content["data_dir"] = ""


def test_data_that_moved_or_changed_are_looked_for_as_ever(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_checkpoint(trained)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=rf"could not be downloaded.*; .*trained with --data-dir {tmp_path}/data$"):
        data_of(trained, loaded, None)
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "moved"))
    assert data_of(trained, loaded, None).digest == loaded.data_digest
    other = idx(bytes(4 * 784), 4, 28, 28)
    write_mnist(tmp_path / "data" / "mnist", t10k_images=other)  # other images under the hint
    assert data_of(trained, loaded, None).digest == loaded.data_digest
    with pytest.raises(InputError, match="expected the data it was trained on"):
        data_of(trained, loaded, str(tmp_path / "data"))
    assert capsys.readouterr().err == ""


def test_what_is_shipped_leaves_no_hint(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_checkpoint(checkpoint).data_dir == ""
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path))
    train(["--dataset", "mnist-mini", "--max-train", "50", *SMALL, "--out", str(tmp_path / "run")])
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").data_dir == ""


def test_inspect_repeats_the_folder(trained: Path, tmp_path: Path) -> None:
    about = describe(trained)
    assert about["data_dir"] == str(tmp_path / "data")
    words = shlex.split(about["commands"]["repeat"])
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    train([*words[3:-1], str(tmp_path / "again"), "--threads", "1"])
    again: Checkpoint = load_checkpoint(tmp_path / "again" / "checkpoint.pt")
    assert again.digest == load_checkpoint(trained).digest

"""What would take minutes, gigabytes or for ever to read is refused at once."""

import gzip
import os
import time
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from landscape.inspect import main as inspect
from tests.landscape.files.test_gridfile import GridWriter, grid
from training.data.images import decoded, image_names
from training.data.mnist import read_idx
from training.fitting.checkpoint import load_checkpoint
from training.runtime.command import InputError, printable
from training.sweeps.plan import read_plan


def with_pickle(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file of torch's with another pickle in it."""
    torch.save({"format": "landscape-checkpoint"}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else content)
    return path


def test_packed_and_deep_pickles_are_refused(tmp_path: Path) -> None:
    count = 3 * 10**6
    deep = b"\x80\x02" + b"]" * count + b"a" * (count - 1) + b"."
    start = time.process_time()
    with pytest.raises(InputError, match=r"a\.pt: expected a checkpoint, found a packed file"):
        load_checkpoint(with_pickle(tmp_path / "a.pt", deep, zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match=r"b\.pt: expected a checkpoint, found \d+ bytes of pickle"):
        load_checkpoint(with_pickle(tmp_path / "b.pt", deep))
    assert time.process_time() - start < 5


def test_gzip_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    """A member of 16 MB of zeros, 64 times."""
    (tmp_path / "labels.gz").write_bytes(gzip.compress(bytes(1 << 24)) * 64)
    with pytest.raises(InputError, match=r"labels\.gz: expected at most 268435456 bytes, found more"):
        read_idx(tmp_path / "labels.gz", 1)


def test_a_pipe_among_images_is_not_waited_for(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: expected a readable image, found no file"):
        decoded(tmp_path, image_names(tmp_path), 4, 1)


def test_a_sweep_of_a_million_runs_is_refused_before_it_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(f"[[grid]]\nseed = {list(range(1000))}\nbatch_size = {list(range(1, 1001))}\n")
    start = time.process_time()
    with pytest.raises(InputError, match="expected at most 100000 runs, found 1000000"):
        read_plan(path)
    assert time.process_time() - start < 5


def test_deep_toml_gets_its_line(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(InputError, match=r"sweep\.toml: expected TOML, found an error"):
        read_plan(tmp_path / "sweep.toml")


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [("epoch", "3", "epoch: '3'"), ("metrics", None, "metrics: None"), ("params", {"a": 1}, "params.a: 1")],
)
def test_parts_of_a_checkpoint_of_another_type_are_named(
    checkpoint: Path, tmp_path: Path, field: str, value: object, found: str
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, field: value}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"a checkpoint as training.train writes it, found {found}"):
        load_checkpoint(tmp_path / "a.pt")


def test_sparse_weights_get_their_line(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    name = next(iter(content["params"]))
    params = {**content["params"], name: torch.eye(3).to_sparse()}
    torch.save({**content, "params": params}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: expected"):
        load_checkpoint(tmp_path / "a.pt")


def test_control_characters_of_a_file_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = grid()
    said.meta["name"] = "\x1b]0;owned\x07 \u202e"
    GridWriter(tmp_path / "g.h5", said, {}).close()
    inspect([str(tmp_path / "g.h5")])
    shown = capsys.readouterr().out
    assert r"\x1b]0;owned\x07 \u202e" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert printable("é |\n\t") == "é |\n\t"

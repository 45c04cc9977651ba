"""The cache of decoded images: used, renewed, done without."""

import dataclasses
import os
import time
from pathlib import Path

import pytest
import torch

from tests.training.data.made import (
    NUT,
    paint,
    write_nut,
)
from training.data.splits import load_split


def test_images_are_decoded_once(tmp_path: Path, cache: Path, decodes: list[Path]) -> None:
    write_nut(tmp_path / "nut")
    first = load_split(NUT, str(tmp_path))
    assert len(decodes) == 5
    second = load_split(NUT, str(tmp_path))
    assert len(decodes) == 5
    assert second.digest == first.digest
    assert torch.equal(second.test, first.test)
    assert [path.suffix for path in (cache / "decoded").iterdir()] == [".npz", ".npz"]  # no temporary file left
    load_split(dataclasses.replace(NUT, channels=1), str(tmp_path))
    load_split(dataclasses.replace(NUT, image_size=128), str(tmp_path))
    assert len(decodes) == 15


@pytest.mark.parametrize("change", ["pixels", "time", "added", "renamed"])
def test_a_changed_image_is_decoded_again(tmp_path: Path, decodes: list[Path], change: str) -> None:
    nut = write_nut(tmp_path / "nut")
    before = load_split(NUT, str(tmp_path))
    image = nut / "test/bent/001.png"
    if change == "pixels":
        paint(image, (9, 9, 9), (30, 30))
    elif change == "time":
        size = image.stat().st_size
        paint(image, (0, 0, 254))
        assert image.stat().st_size == size
        os.utime(image, ns=(time.time_ns(), image.stat().st_mtime_ns + 1_000_000))
    elif change == "added":
        paint(nut / "test/bent/002.png", (9, 9, 9))
    else:
        image.rename(nut / "test/good/001.png")
    after = load_split(NUT, str(tmp_path))
    assert after.digest != before.digest
    assert len(decodes) == 5 + len(after.ids)  # the training images came from the cache


@pytest.mark.parametrize("damage", [b"", b"not an npz", "truncate", "flip"])
def test_a_broken_cache_is_made_anew(tmp_path: Path, cache: Path, decodes: list[Path], damage: bytes | str) -> None:
    write_nut(tmp_path / "nut")
    digest = load_split(NUT, str(tmp_path)).digest
    for path in (cache / "decoded").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"truncate": content[: len(content) // 2], "flip": content}.get(str(damage), damage))
    assert load_split(NUT, str(tmp_path)).digest == digest
    assert len(decodes) == 10
    assert load_split(NUT, str(tmp_path)).digest == digest
    assert len(decodes) == 10


def test_without_a_usable_cache_folder_images_are_loaded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nut(tmp_path / "nut")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="decoded images not cached: .*LANDSCAPE_CACHE names another folder"):
        assert len(load_split(NUT, str(tmp_path)).train) == 2

"""MVTec AD's layout and any three folders, against files painted by hand."""

import dataclasses
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.made import (
    BOTTLE,
    FULL_DATA,
    NUT,
    fails,
    full_bottle,
    paint,
    snapshot,
    write_mnist,
    write_nut,
)
from training.data import images
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.runtime.command import InputError


@pytest.mark.parametrize("place", ["mvtec/nut", "nut"])
def test_mvtec_is_found_in_both_places_and_sorted(tmp_path: Path, place: str) -> None:
    write_nut(tmp_path / "data" / place)
    before = snapshot(tmp_path / "data")
    split = load_split(NUT, str(tmp_path / "data"))
    assert split.train.shape == (2, 3, 64, 64)
    assert (split.train[:, :, 0, 0] * 255).round().tolist() == [[10, 20, 30], [1, 2, 3]]
    assert split.ids == ["test/bent/000.png", "test/bent/001.png", "test/good/000.png"]
    assert split.classes == ["bent", "bent", "good"]
    assert split.labels.tolist() == [True, True, False]
    assert split.test[:, :, 5, 60].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert snapshot(tmp_path / "data") == before


def test_mvtec_in_grey_has_one_channel(tmp_path: Path) -> None:
    write_nut(tmp_path / "nut")
    split = load_split(dataclasses.replace(NUT, channels=1), str(tmp_path))
    assert split.train.shape == (2, 1, 64, 64)
    # Luma of ITU-R 601: 0.299 R + 0.587 G + 0.114 B.
    assert (split.test[:, 0, 0, 0] * 255).round().tolist() == [round(255 * w) for w in (0.587, 0.114, 0.299)]


def test_an_image_is_resized_by_the_area_that_a_pixel_covers(tmp_path: Path) -> None:
    """Fine stripes become their mean: picking single pixels would show black or white."""
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert np.abs(images.decode(tmp_path / "stripes.png", 32, 1).astype(int) - 127.5).max() <= 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda nut: shutil.rmtree(nut / "train"), r"nut/train/good: expected normal images to train on, found none"),
        (lambda nut: shutil.rmtree(nut / "test"), r"nut/test: expected a folder of test images, found none"),
        (lambda nut: [p.unlink() for p in nut.glob("test/*/*")], r"nut/test: expected test images .*, found no image"),
        (lambda nut: shutil.rmtree(nut / "test/good"), r"nut/test/good: expected normal test images, found .*bent"),
        (lambda nut: shutil.rmtree(nut / "test/bent"), r"nut/test: expected anomalous test images .*found only good/"),
        (
            lambda nut: (nut / "test/bent/000.png").write_bytes(b"\x89PNG no"),
            r"bent/000.png: expected a readable image",
        ),
    ],
)
def test_an_incomplete_category_is_named_with_what_it_lacks(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(write_nut(tmp_path / "mvtec/nut"))
    fails(message, NUT, tmp_path)


def test_an_absent_category_is_answered_with_those_there(tmp_path: Path) -> None:
    fails(r"--category: expected a folder mvtec/nut/ or nut/ in .*, found no category", NUT, tmp_path)
    write_nut(tmp_path / "mvtec/bottle")
    write_nut(tmp_path / "carpet")
    write_mnist(tmp_path / "mnist")
    fails(r"--category: .* found the categories bottle, carpet$", NUT, tmp_path)
    fails(r"--category: .* found the categories bottle, carpet$", dataclasses.replace(NUT, category=".."), tmp_path)


def test_mvtec_without_a_data_folder_says_how_to_get_it() -> None:
    fails(r"--data-dir: expected .*mvtec/<category>/.*cannot be downloaded.*CC BY-NC-SA 4.0.*LANDSCAPE_DATA", NUT)


@full_bottle
def test_the_real_bottle_has_its_published_counts() -> None:
    assert BOTTLE is not None
    before = snapshot(BOTTLE)
    split = load_split(resolve(RunConfig(dataset="mvtec", category="bottle", image_size=64)), FULL_DATA)
    assert split.train.shape == (209, 3, 64, 64)
    assert Counter(split.classes) == {"good": 20, "broken_large": 20, "broken_small": 22, "contamination": 21}
    assert split.labels.sum() == 63
    for image, anomalous in zip(split.ids, split.labels, strict=True):
        mask = BOTTLE / image.replace("test/", "ground_truth/").replace(".png", "_mask.png")
        assert mask.is_file() == anomalous  # the masks can be found from the ids
    assert snapshot(BOTTLE) == before


@pytest.fixture
def three(tmp_path: Path) -> RunConfig:
    """Three folders of images in several formats and depths."""
    root = tmp_path / "any"
    paint(root / "train/b.JPG", (50, 50, 50))
    paint(root / "train/deep/er/a.png", (255, 255, 255))
    paint(root / "normal/x.bmp", (0, 0, 0))
    for name in ("1.tif", "2.TIFF", "3.webp", "sub/4.jpeg"):
        paint(root / "odd" / name, (200, 200, 200))
    (root / "odd/notes.txt").write_text("not an image")
    (root / "odd/._1.tif").write_bytes(b"what some file managers leave behind")
    names = {"train_dir": "train", "test_normal_dir": "normal", "test_anomalous_dir": "odd"}
    return resolve(RunConfig(dataset="folder", image_size=64, **{k: str(root / v) for k, v in names.items()}))


def test_folder_takes_any_images(tmp_path: Path, three: RunConfig) -> None:
    before = snapshot(tmp_path / "any")
    split = load_split(three, None)
    assert split.train.shape == (2, 3, 64, 64)
    assert split.ids == ["x.bmp", "1.tif", "2.TIFF", "3.webp", "sub/4.jpeg"]
    assert split.classes == ["normal"] + ["anomalous"] * 4
    assert split.labels.tolist() == [False, True, True, True, True]
    assert split.train[1].min() == 1
    assert split.test[0].max() == 0
    assert (split.test[1:] * 255 - 200).abs().max() <= 2  # lossy formats
    assert snapshot(tmp_path / "any") == before


def test_folder_is_cached_too(three: RunConfig, decodes: list[Path]) -> None:
    digests = {load_split(three, None).digest for _ in range(2)}
    assert len(digests) == 1
    assert len(decodes) == 7


@pytest.mark.parametrize("name", ["train_dir", "test_normal_dir", "test_anomalous_dir"])
def test_folder_errors_name_option_and_folder(tmp_path: Path, three: RunConfig, name: str) -> None:
    option = "--" + name.replace("_", "-")
    gone = dataclasses.replace(three, **{name: str(tmp_path / "gone")})
    fails(rf"^{option} .*gone: expected a folder of images, found no such folder", gone)
    (tmp_path / "empty").mkdir()
    empty = dataclasses.replace(three, **{name: str(tmp_path / "empty")})
    fails(rf"^{option} .*empty: expected images \(bmp, jpeg, jpg, png, .*\), found none", empty)


def test_an_unreadable_image_is_named(tmp_path: Path, three: RunConfig) -> None:
    image = paint(tmp_path / "any/odd/5.png", (1, 2, 3), (300, 300))
    image.write_bytes(image.read_bytes()[:-60])
    fails(rf"^{re.escape(str(image))}: expected a readable image, found .*; replace or remove it", three)
    image.write_bytes(b"")
    fails(r"odd/5.png: expected a readable image, found cannot identify image file", three)
    image.unlink()
    image.symlink_to(tmp_path / "gone.png")
    fails(r"odd/5.png: expected a readable image, found No such file", three)


def test_an_image_cannot_be_normal_and_anomalous(tmp_path: Path, three: RunConfig) -> None:
    fails(r"not in --test-normal-dir too, found 4 of them", dataclasses.replace(three, test_normal_dir=str(tmp_path)))


def test_other_pixel_types_become_8_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert np.abs(images.decode(tmp_path / "deep.png", 16, 1)[0] - ramp / 257).max() <= 0.5
    Image.new("RGBA", (4, 4), (255, 0, 0, 7)).save(tmp_path / "alpha.png")
    assert images.decode(tmp_path / "alpha.png", 4, 3)[:, 0, 0].tolist() == [255, 0, 0]
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    assert images.decode(tmp_path / "palette.png", 4, 3).shape == (3, 4, 4)
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match=r"float.tif: .*32-bit pixels \(mode F\)"):
        images.decode(tmp_path / "float.tif", 4, 1)

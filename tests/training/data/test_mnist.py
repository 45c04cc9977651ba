"""MNIST's IDX files, found where people have them; what is broken is named."""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.data.made import (
    MNIST,
    TRAIN_LABELS,
    fails,
    idx,
    mnist_files,
    pixels,
    snapshot,
    write_mnist,
)
from training.data.splits import data_folder, load_split


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("dataset", "layout"),
    [
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("fashion-mnist", "fashion-mnist"),
        ("fashion-mnist", "FashionMNIST/raw"),
    ],
)
def test_files_hold_the_pixels_that_were_written(tmp_path: Path, dataset: str, layout: str, zipped: bool) -> None:
    write_mnist(tmp_path / "data" / layout, zipped)
    before = snapshot(tmp_path / "data")
    split = load_split(dataclasses.replace(MNIST, dataset=dataset), str(tmp_path / "data"))

    assert split.train.shape == (3, 1, 32, 32)
    assert split.test.shape == (4, 1, 32, 32)
    assert split.train.dtype == split.test.dtype == torch.float32
    assert split.labels.tolist() == [False, True, True, False]
    assert split.labels.dtype == bool
    assert split.ids == ["0", "1", "2", "3"]
    assert split.classes == ["3", "2", "9", "3"]
    # Pixel by pixel, in another way than the code's: 28 rows and columns from the third on, the rest zero.
    for image, source in zip(split.train, (0, 2, 5), strict=True):
        for row in range(32):
            for column in range(32):
                inside = 2 <= row < 30 and 2 <= column < 30
                value = int(pixels(6, 1)[source, row - 2, column - 2]) if inside else 0
                assert image[0, row, column].item() == pytest.approx(value / 255, abs=1e-7)
    assert torch.equal(split.test[:, 0, 2:30, 2:30], torch.from_numpy(pixels(4, 2)).float() / 255)
    assert snapshot(tmp_path / "data") == before


def test_mnist_at_another_size_is_padded_on_all_sides(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    split = load_split(dataclasses.replace(MNIST, image_size=48), str(tmp_path))
    assert torch.equal(split.test[:, 0, 10:38, 10:38], torch.from_numpy(pixels(4, 2)).float() / 255)
    assert split.test.count_nonzero() == split.test[:, 0, 10:38, 10:38].count_nonzero()


def test_the_data_folder_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "data/mnist")
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "data"))
    assert len(load_split(MNIST, None).train) == 3
    assert data_folder(str(tmp_path)) == tmp_path  # the option comes first


def test_a_digest_is_of_pixels_shapes_and_labels(tmp_path: Path) -> None:
    write_mnist(tmp_path / "plain/mnist")
    write_mnist(tmp_path / "zipped/mnist", zipped=True)
    one_pixel = bytearray(mnist_files()["t10k-images-idx3-ubyte"])
    one_pixel[400] ^= 1
    write_mnist(tmp_path / "pixel/mnist", t10k_images=bytes(one_pixel))
    write_mnist(tmp_path / "label/mnist", t10k_labels=idx(bytes([3, 2, 3, 3]), 4))
    plain, zipped, pixel, label = (
        load_split(MNIST, str(tmp_path / name)).digest for name in ("plain", "zipped", "pixel", "label")
    )
    assert plain == zipped
    assert len({plain, pixel, label}) == 3
    # A fixed number: another machine, version or layout of the code must not give another.
    sha = hashlib.sha256()
    train, test = (np.pad(p, ((0, 0), (2, 2), (2, 2))) for p in (pixels(6, 1)[[0, 2, 5]], pixels(4, 2)))
    for kind, shape, content in (
        ("|u1", (3, 1, 32, 32), train.tobytes()),
        ("|u1", (4, 1, 32, 32), test.tobytes()),
        ("|b1", (4,), b"\0\1\1\0"),
    ):
        sha.update(f"{kind}{shape}".encode() + content)
    assert plain == sha.hexdigest()


WHOLE = mnist_files()["train-images-idx3-ubyte"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (WHOLE[:-1], r"train-images.*: expected 4720 bytes for 6×28×28 values, found 4719; it is truncated"),
        (WHOLE + b"\0", r"expected 4720 bytes .*found 4721; it is too long"),
        (WHOLE[:9], r"expected a header of 16 bytes, found 9"),
        (b"", r"expected an IDX file, which begins 0x00000803, found an empty file"),
        (b"PK\3\4" + WHOLE, r"expected an IDX file, which begins 0x00000803, found 0x504b0304"),
        (
            idx(pixels(6, 1).tobytes(), 6, 28, 28, kind=13),
            r"expected unsigned bytes \(IDX type 0x08\), found type 0x0d",
        ),
        (idx(bytes(TRAIN_LABELS), 6), r"expected 3 dimensions, found 1; .* swapped\?"),
        (idx(bytes(6 * 4), 6, 2, 2), r"expected images of 28×28 pixels, found 2×2"),
        (idx(bytes(5 * 784), 5, 28, 28), r"train-labels.*: expected 5 labels, one for each image, found 6"),
        # Dimensions whose product overflows 64 bits must not be taken at their word.
        (idx(b"", 2**31, 2**31, 2**31), r"expected 99\d+ bytes .*found 16; it is truncated"),
    ],
)
def test_a_broken_idx_file_is_named_with_what_is_wrong(tmp_path: Path, changed: bytes, message: str) -> None:
    write_mnist(tmp_path / "mnist", train_images=changed)
    fails(message, MNIST, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            gzip.compress(WHOLE)[:-100],
            r"train-images-idx3-ubyte.gz: expected a whole gzip file, found one cut off after",
        ),
        (WHOLE, r"train-images-idx3-ubyte.gz: expected a gzip file, found Not a gzipped file"),
        (gzip.compress(WHOLE)[:2000] + b"xxxx" + gzip.compress(WHOLE)[2004:], r"expected a gzip file, found "),
        (gzip.compress(WHOLE[:1000]), r"train-images-idx3-ubyte.gz: expected 4720 bytes .*found 1000; it is truncated"),
    ],
)
def test_a_broken_gzip_file_is_named_with_what_is_wrong(tmp_path: Path, changed: bytes, message: str) -> None:
    write_mnist(tmp_path / "mnist", zipped=True, train_images=changed)
    fails(message, MNIST, tmp_path)


def test_mnist_errors_about_what_is_missing(tmp_path: Path) -> None:
    fails(r"--data-dir .*nowhere: expected a folder of data sets, found no such folder", MNIST, tmp_path / "nowhere")
    fails(r"expected a folder mnist/ or MNIST/raw/ with the four IDX files, found neither", MNIST, tmp_path)
    write_mnist(tmp_path / "mnist", train_labels=idx(bytes([10] * 6), 6))
    fails(r"train-labels.*: expected labels from 0 to 9, found 10", MNIST, tmp_path)
    (tmp_path / "mnist/train-labels-idx1-ubyte").write_bytes(idx(bytes([1] * 6), 6))
    fails(r"--normal: expected a digit that the training images show, found 3", MNIST, tmp_path)
    (tmp_path / "mnist/train-labels-idx1-ubyte").write_bytes(idx(bytes(TRAIN_LABELS), 6))
    for labels, shown in (([3] * 4, "that"), ([1] * 4, "others")):
        (tmp_path / "mnist/t10k-labels-idx1-ubyte").write_bytes(idx(bytes(labels), 4))
        fails(rf"--normal: expected test images of the digit 3 and of others, found {shown} alone", MNIST, tmp_path)
    (tmp_path / "mnist/t10k-labels-idx1-ubyte").unlink()
    fails(r"mnist: expected t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz, found neither", MNIST, tmp_path)


def test_a_wrong_landscape_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "nowhere"))
    fails(r"^LANDSCAPE_DATA .*nowhere: expected a folder", MNIST)

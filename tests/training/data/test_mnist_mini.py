"""The small set that is shipped: what it holds, and that it is made again the same."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.training.data.made import FULL_DATA, MNIST, full_mnist, idx, pixels, write_mnist
from training import make_mnist_mini
from training.data import mnist
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.runtime.command import InputError


def mini_arrays() -> dict[str, np.ndarray]:
    with np.load(ROOT / "training/assets/mnist-mini.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("digit", [0, 8])
def test_mnist_mini_has_its_counts(digit: int) -> None:
    split = load_split(resolve(RunConfig(dataset="mnist-mini", normal=digit)), None)
    assert split.train.shape == (1000, 1, 32, 32)
    assert split.test.shape == (2000, 1, 32, 32)
    assert Counter(split.classes) == {str(k): 200 for k in range(10)}
    assert split.labels.tolist() == [name != str(digit) for name in split.classes]
    assert len(set(split.ids)) == 2000
    assert split.train.min() == 0
    assert split.train.max() == 1
    assert (split.train[:, :, :2] == 0).all()


def test_mnist_mini_is_small_and_complete() -> None:
    assert (ROOT / "training/assets/mnist-mini.npz").stat().st_size < 2_500_000
    arrays = mini_arrays()
    assert np.bincount(arrays["train_labels"]).tolist() == [1000] * 10
    assert np.bincount(arrays["test_labels"]).tolist() == [200] * 10
    assert int(arrays["seed"]) == make_mnist_mini.SEED


@full_mnist
def test_mnist_mini_is_a_subset_of_mnist() -> None:
    arrays = mini_arrays()
    train, test = mnist.read_collection(mnist.MNIST, Path(FULL_DATA))
    for part, digits in (("train", train), ("test", test)):
        position = arrays[f"{part}_position"]
        assert len(np.unique(position)) == len(position)
        assert np.array_equal(digits.images[position], arrays[f"{part}_images"])
        assert np.array_equal(digits.labels[position], arrays[f"{part}_labels"])


@full_mnist
def test_the_full_mnist_has_its_published_counts_and_checksum() -> None:
    split = load_split(MNIST, FULL_DATA)
    assert split.train.shape == (6131, 1, 32, 32)
    assert split.test.shape == (10000, 1, 32, 32)
    assert int((~split.labels).sum()) == 1010
    train, _ = mnist.read_collection(mnist.MNIST, Path(FULL_DATA))
    content = idx(train.images.tobytes(), 60000, 28, 28)
    assert hashlib.md5(content).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


def test_the_small_set_is_made_the_same_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = bytes(list(range(10)) * 3)
    content = idx(pixels(30, 5).tobytes(), 30, 28, 28)
    changed = {f"{part}_labels": idx(labels, 30) for part in ("train", "t10k")}
    changed |= {f"{part}_images": content for part in ("train", "t10k")}
    write_mnist(tmp_path / "data/mnist", **changed)
    monkeypatch.setattr(make_mnist_mini, "TRAIN", 2)
    monkeypatch.setattr(make_mnist_mini, "TEST", 1)
    written = []
    for out in (tmp_path / "a.npz", tmp_path / "b.npz"):
        make_mnist_mini.main(["--data-dir", str(tmp_path / "data"), "--out", str(out)])
        assert capsys.readouterr().out.splitlines()[-1] == str(out)
        written.append(out.read_bytes())
    assert written[0] == written[1]
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.bincount(arrays["train_labels"]).tolist() == [2] * 10
        assert np.array_equal(arrays["test_images"], pixels(30, 5)[arrays["test_position"]])
    monkeypatch.setattr(make_mnist_mini, "TRAIN", 4)
    with pytest.raises(InputError, match="expected at least 4 images of the digit 0, found 3"):
        make_mnist_mini.main(["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "c.npz")])
    with pytest.raises(InputError, match="expected a folder that can be written"):
        make_mnist_mini.main(["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "a.npz/c.npz")])


@full_mnist
@pytest.mark.skipif(not (Path(FULL_DATA or "") / "fashion-mnist").is_dir(), reason="Fashion-MNIST is not at hand")
def test_the_full_fashion_mnist_has_ten_classes_of_equal_size() -> None:
    train, test = mnist.read_collection(mnist.FASHION_MNIST, Path(FULL_DATA))
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert not np.array_equal(train.images, mnist.read_collection(mnist.MNIST, Path(FULL_DATA))[0].images)
    # Sneakers (7) have less of the picture than pullovers (2).
    assert train.images[train.labels == 7].mean() < train.images[train.labels == 2].mean()

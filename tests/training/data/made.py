"""Data sets built by hand for the tests of this folder, and what is there of the full ones."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data import mnist
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.runtime.command import InputError

FULL_DATA = os.environ.get("LANDSCAPE_DATA", "")
full_mnist = pytest.mark.skipif(
    not any((Path(FULL_DATA) / layout).is_dir() for layout in mnist.MNIST.layouts) or not FULL_DATA,
    reason="LANDSCAPE_DATA names no folder with the full MNIST",
)
BOTTLE = next((p for p in (Path(FULL_DATA, "mvtec", "bottle"), Path(FULL_DATA, "bottle")) if p.is_dir()), None)
full_bottle = pytest.mark.skipif(
    not FULL_DATA or BOTTLE is None, reason="LANDSCAPE_DATA names no folder with MVTec AD's bottle"
)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of `folder` and of all in it; changes with anything written there."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


def fails(message: str, config: RunConfig, data_dir: Path | None = None) -> None:
    """The data set cannot be loaded, and says why in one line."""
    with pytest.raises(InputError, match=message) as caught:
        load_split(config, data_dir and str(data_dir))
    assert "\n" not in str(caught.value)


TRAIN_LABELS = [3, 1, 3, 0, 5, 3]
TEST_LABELS = [3, 2, 9, 3]
MNIST = resolve(RunConfig(dataset="mnist", normal=3))


def idx(values: bytes, *shape: int, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + values


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def mnist_files() -> dict[str, bytes]:
    """A small MNIST: the four IDX files by name, plain."""
    return {
        "train-images-idx3-ubyte": idx(pixels(6, 1).tobytes(), 6, 28, 28),
        "train-labels-idx1-ubyte": idx(bytes(TRAIN_LABELS), 6),
        "t10k-images-idx3-ubyte": idx(pixels(4, 2).tobytes(), 4, 28, 28),
        "t10k-labels-idx1-ubyte": idx(bytes(TEST_LABELS), 4),
    }


def write_mnist(folder: Path, zipped: bool = False, **changed: bytes) -> Path:
    """Write the small MNIST to `folder`; `changed` replaces contents, by a name's first two words joined by `_`."""
    folder.mkdir(parents=True)
    for name, content in mnist_files().items():
        content = gzip.compress(content) if zipped else content
        content = changed.get("_".join(name.split("-")[:2]), content)
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(content)
    return folder


NUT = resolve(RunConfig(dataset="mvtec", category="nut", image_size=64))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (9, 7)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write_nut(root: Path) -> Path:
    """A category with 2 training images and 3 test images, each of one colour. Made out of order."""
    paint(root / "train/good/001.png", (1, 2, 3))
    paint(root / "train/good/000.png", (10, 20, 30))
    paint(root / "test/good/000.png", (255, 0, 0))
    paint(root / "test/bent/001.png", (0, 0, 255))
    paint(root / "test/bent/000.png", (0, 255, 0))
    for number in ("000", "001", "002"):
        paint(root / f"ground_truth/bent/{number}_mask.png", (255, 255, 255))
    (root / "readme.txt").write_text("not an image")
    return root

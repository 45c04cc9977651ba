"""Data sets as tensors: normal images to train on, and a test split of normal and anomalous ones.

Adding a data set is adding an entry to `DATASETS`: a function that returns uint8 arrays
(:class:`training.data.images.RawSplit`).
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data import folders, mnist
from training.data.config import DIGITS, RunConfig
from training.data.images import RawSplit
from training.data.pixels import load_masks
from training.runtime.command import InputError

READ_BY_DATA = (
    *("dataset", "task", "normal", "category", "train_dir", "test_normal_dir", "test_anomalous_dir"),
    *("image_size", "channels", "max_train", "validation"),
)
WITHOUT_FOLDER = ("mnist-mini", "folder")  # shipped, and with paths of its own: the data folder is not looked into
SUBSET_SEED = 0  # of what is held out and what is left over: the same images for every run that is compared


@dataclass(frozen=True)
class Split:
    """What one run trains and tests on. Images are float32 of shape (·, C, H, W) in [0, 1], multiples of 1/255."""

    train: Tensor
    """(N, C, H, W), normal images."""
    test: Tensor
    """(M, C, H, W), the whole test split."""
    labels: np.ndarray
    """(M,) bool, True = anomalous."""
    ids: list[str]
    """Of each test image: its index in MNIST's test file, or its path relative to the folder it is from."""
    classes: list[str]
    """Of each test image: the digit, MVTec AD's type ("good", "broken_large", …), or "normal" and "anomalous"."""
    digest: str
    """SHA-256 of the 8-bit pixels, their shapes and the labels, before any are held out: the same on every machine."""
    validation: Tensor | None = None
    """(V, C, H, W), normal images held out of `train`; None if there are none."""
    targets: tuple[Tensor, Tensor] | None = None
    """One-hot digits of `train` and `test`, (·, 10) float32, where they are predicted; None: an image is its target."""
    masks: np.ndarray | None = None
    """(M, H, W) bool, the anomalous pixels of the test images; None where nobody has marked them."""
    folder: str = ""
    """The data folder that they were read from, absolute; "" where they are not from one."""


def load_split(config: RunConfig, data_dir: str | None) -> Split:
    """The data of a resolved `config`; `data_dir` is what --data-dir gave, or None for $LANDSCAPE_DATA.

    The data folder is only read. Raises InputError for data that are missing or cannot be used.
    """
    folder = data_folder(data_dir)
    split = DATASETS[config.dataset](config, folder)
    masks = load_masks(split.ids, split.labels, split.test.shape[-1], config, folder)
    read_from = str(folder.absolute()) if folder and config.dataset not in WITHOUT_FOLDER else ""
    return subset(dataclasses.replace(split, masks=masks, folder=read_from), config)


def data_key(config: RunConfig) -> tuple[Any, ...]:
    """Configs with equal keys train on the same data."""
    return tuple(getattr(config, name) for name in READ_BY_DATA)


class Splits:
    """The data of many configs: loaded once, kept on `device` while they are in use by a sweep."""

    KEPT = 16  # ten digits and some: MNIST's test images take 41 MB each time

    def __init__(self, data_dir: str | None, device: torch.device):
        self.data_dir = data_dir
        self.device = device
        self._kept: dict[tuple[Any, ...], Split] = {}

    def __call__(self, config: RunConfig) -> Split:
        """As :func:`load_split`, on the device."""
        key = data_key(config)
        if key not in self._kept:
            if len(self._kept) >= self.KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = on_device(load_split(config, self.data_dir), self.device)
        return self._kept[key]


def on_device(split: Split, device: torch.device) -> Split:
    """`split` with its tensors on `device`."""
    return dataclasses.replace(
        split,
        train=split.train.to(device),
        test=split.test.to(device),
        validation=None if split.validation is None else split.validation.to(device),
        targets=None if split.targets is None else (split.targets[0].to(device), split.targets[1].to(device)),
    )


def subset(split: Split, config: RunConfig) -> Split:
    """`split` with a share of its training images held out, and at most `config.max_train` of the others kept.

    Both are chosen by one seeded permutation, whatever the run's seed, and stay in their order.
    """
    count = len(split.train)
    held_out = round(count * config.validation)
    kept = min(config.max_train or count, count - held_out)
    if kept == count:
        return split
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SUBSET_SEED))
    chosen = order[held_out : held_out + kept].sort().values
    return dataclasses.replace(
        split,
        train=split.train[chosen],
        validation=split.train[order[:held_out].sort().values] if held_out else None,
        targets=(split.targets[0][chosen], split.targets[1]) if split.targets else None,
    )


def data_folder(option: str | None) -> Path | None:
    """The folder that `option` (--data-dir) or else $LANDSCAPE_DATA names, None if neither does.

    Raises InputError if there is no such folder.
    """
    for source, value in (("--data-dir", option), ("LANDSCAPE_DATA", os.environ.get("LANDSCAPE_DATA"))):
        if value:
            folder = Path(value).expanduser()
            if not folder.is_dir():
                raise InputError(f"{source} {value}: expected a folder of data sets, found no such folder")
            return folder
    return None


def as_split(raw: RawSplit) -> Split:
    """Tensors in [0, 1] from 8-bit images, and their digest."""
    digest = digest_of(raw.train, raw.test, raw.labels, *(raw.digits or ()))
    targets = None
    if raw.digits is not None:
        # As a copy: what is read from a file's bytes cannot be written, which torch warns of.
        digits = (torch.from_numpy(labels.astype(np.int64)) for labels in raw.digits)
        train, test = (torch.nn.functional.one_hot(labels, DIGITS).float() for labels in digits)
        targets = train, test
    return Split(to_tensor(raw.train), to_tensor(raw.test), raw.labels, raw.ids, raw.classes, digest, targets=targets)


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 / 255 as float32, of the same shape; divided by NumPy, which rounds alike on every machine."""
    return torch.from_numpy(np.divide(images, np.float32(255), dtype=np.float32))


def digest_of(*arrays: np.ndarray) -> str:
    """SHA-256 over type, shape and bytes of each array; the types are of one byte, so there is no byte order."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _tensors(load: Callable[[RunConfig, Path | None], RawSplit]) -> Callable[[RunConfig, Path | None], Split]:
    return lambda config, folder: as_split(load(config, folder))


#: name -> a function of the resolved config and the data folder, if there is one
DATASETS: dict[str, Callable[[RunConfig, Path | None], Split]] = {
    "mnist-mini": _tensors(mnist.mnist_mini),
    "mnist": _tensors(mnist.mnist),
    "fashion-mnist": _tensors(mnist.fashion_mnist),
    "mvtec": _tensors(folders.mvtec),
    "folder": _tensors(folders.image_folders),
}

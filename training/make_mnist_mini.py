"""`python -m training.make_mnist_mini`: the MNIST digits that are shipped, 1,000 training and 200 test images of each.

The same NumPy and zlib write the same bytes.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.mnist import MNIST, Digits, read_collection
from training.runtime.command import InputError, command, make_parent, parse, whole_file
from training.runtime.kinds import npz_kind

SEED = 2024
TRAIN, TEST = 1000, 200  # images of each digit


DESCRIPTION = """Make the small MNIST that is shipped.

Example: python -m training.make_mnist_mini --data-dir DIR --out training/assets/mnist-mini.npz"""


@dataclass(frozen=True)
class Options:
    """Where to read MNIST and where to write the small set."""

    out: Path
    """File to write, .npz."""
    data_dir: str | None = None
    """Folder that holds mnist/ or MNIST/raw/; LANDSCAPE_DATA without it, downloaded without both."""


def draw(digits: Digits, count: int, generator: np.random.Generator) -> Digits:
    """`count` of each digit, drawn without replacement, in the order that they have in MNIST's file."""
    chosen = []
    for digit in range(10):
        candidates = np.flatnonzero(digits.labels == digit)
        if len(candidates) < count:
            raise InputError(f"MNIST: expected at least {count} images of the digit {digit}, found {len(candidates)}")
        chosen.append(generator.choice(candidates, count, replace=False))
    position = np.sort(np.concatenate(chosen))
    return Digits(digits.images[position], digits.labels[position], position.astype(np.uint16))


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """An .npz file with maximal compression. Its entries bear no time, so that equal arrays give equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.save(entry, array, allow_pickle=False)
            # Deflate rather than LZMA (15 % smaller): every Python has zlib.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return content.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the images, write the file, print its path."""
    options = parse(Options, argv, "training.make_mnist_mini", DESCRIPTION)
    make_parent(options.out, npz_kind("seed"))
    from training.data.splits import data_folder  # brings torch, which --help does not need

    train, test = read_collection(MNIST, data_folder(options.data_dir))
    generator = np.random.default_rng(SEED)
    arrays = {"seed": np.array(SEED)}
    for part, digits in (("train", draw(train, TRAIN, generator)), ("test", draw(test, TEST, generator))):
        arrays |= {f"{part}_{name}": values for name, values in digits._asdict().items()}
    with whole_file(options.out) as temporary:
        temporary.write_bytes(npz_bytes(arrays))
    print(options.out)


if __name__ == "__main__":
    raise SystemExit(command(main)())

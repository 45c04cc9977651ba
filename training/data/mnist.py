"""MNIST and Fashion-MNIST: the IDX format, where files are found or downloaded from, and the small set that is shipped.

MNIST is by Yann LeCun, Corinna Cortes and Christopher J.C. Burges: 60,000 training and 10,000 test images of 28×28
pixels. The format is described with it: two zero bytes, a byte for the type of the values, a byte for the number of
dimensions, each dimension as a big-endian 32-bit number, then the values in C order. Fashion-MNIST, by Zalando SE
(Xiao, Rasul, Vollgraf 2017), has files of the same names, shapes and counts: ten kinds of clothing instead of digits.
"""

import functools
import gzip
import importlib.resources
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.data.config import RunConfig
from training.data.images import RawSplit, cache_folder
from training.runtime.command import InputError, launched_rank

SIDE = 28
LARGEST_FILE = 1 << 28  # bytes, unpacked: five times the largest of these files
UNSIGNED_BYTE = 0x08  # the IDX type of all MNIST files


@dataclass(frozen=True)
class Collection:
    """Four IDX files: folders that may hold them, addresses, and the digest `algorithm:hex` of each gzip file.

    Digests are those of the files as they were first published and as the addresses hold them.
    """

    name: str
    layouts: tuple[str, str]  # the second is torchvision's
    mirrors: tuple[str, ...]
    digests: dict[str, str]


MNIST = Collection(
    "mnist",
    ("mnist", "MNIST/raw"),
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    {
        "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_MNIST = Collection(
    "fashion-mnist",
    ("fashion-mnist", "FashionMNIST/raw"),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    {
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
)


class Digits(NamedTuple):
    """Labelled digits: images (N, 28, 28) uint8, labels (N,) uint8, positions in MNIST's file (N,)."""

    images: np.ndarray
    labels: np.ndarray
    position: np.ndarray


def mnist(config: RunConfig, folder: Path | None) -> RawSplit:
    """MNIST with the digit `config.normal` as normal: its training images, and the whole test split.

    Found under `folder` if one is given, or else downloaded. Raises InputError for files that are missing or broken.
    """
    return as_task(*read_collection(MNIST, folder), config)


def fashion_mnist(config: RunConfig, folder: Path | None) -> RawSplit:
    """As :func:`mnist`, of Fashion-MNIST, whose kinds of clothing have numbers from 0 to 9."""
    return as_task(*read_collection(FASHION_MNIST, folder), config)


def mnist_mini(config: RunConfig, folder: Path | None) -> RawSplit:
    """The MNIST digits that are shipped, 1,000 training and 200 test images of each; `folder` is not needed."""
    asset = importlib.resources.files("training") / "assets" / "mnist-mini.npz"
    with asset.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        train, test = (Digits(*(arrays[f"{part}_{name}"] for name in Digits._fields)) for part in ("train", "test"))
    return as_task(train, test, config)


def as_task(train: Digits, test: Digits, config: RunConfig) -> RawSplit:
    """The digits as `config.task` takes them."""
    return all_digits(train, test, config) if config.task == "classify" else one_normal_digit(train, test, config)


def all_digits(train: Digits, test: Digits, config: RunConfig) -> RawSplit:
    """All training and test images with their digits, padded to `config.image_size`; none is anomalous."""
    return RawSplit(
        train=pad(train.images, config.image_size),
        test=pad(test.images, config.image_size),
        labels=np.zeros(len(test.labels), bool),
        ids=[str(i) for i in test.position],
        classes=[str(label) for label in test.labels],
        digits=(train.labels, test.labels),
    )


def one_normal_digit(train: Digits, test: Digits, config: RunConfig) -> RawSplit:
    """The training images of the digit `config.normal` and all test images, padded to `config.image_size`."""
    normal = train.labels == config.normal
    if not normal.any():
        raise InputError(f"--normal: expected a digit that the training images show, found {config.normal}")
    if len(found := np.unique(test.labels == config.normal)) < 2:
        shown = "that alone" if found.all() else "others alone"
        raise InputError(f"--normal: expected test images of the digit {config.normal} and of others, found {shown}")
    return RawSplit(
        train=pad(train.images[normal], config.image_size),
        test=pad(test.images, config.image_size),
        labels=test.labels != config.normal,
        ids=[str(i) for i in test.position],
        classes=[str(label) for label in test.labels],
    )


def pad(images: np.ndarray, size: int) -> np.ndarray:
    """(N, 28, 28) to (N, 1, size, size) with zeros, alike on all sides; an odd row or column goes last."""
    before = (size - SIDE) // 2
    after = size - SIDE - before
    return np.pad(images, ((0, 0), (before, after), (before, after)))[:, None]


def read_collection(collection: Collection, folder: Path | None) -> tuple[Digits, Digits]:
    """A collection's training and test images from `folder`, or downloaded if it is None. Raises InputError."""
    find = functools.partial(download, collection) if folder is None else finder(collection, folder)
    train, test = (
        read_digits(find(f"{part}-images-idx3-ubyte"), find(f"{part}-labels-idx1-ubyte")) for part in ("train", "t10k")
    )
    return train, test


def finder(collection: Collection, folder: Path) -> Callable[[str], Path]:
    """A function from a file's name without .gz to its path, plain or gzipped, in the layout that `folder` has."""
    places = [folder / layout for layout in collection.layouts if (folder / layout).is_dir()]
    if not places:
        first, second = collection.layouts
        raise InputError(
            f"{folder}: expected a folder {first}/ or {second}/ with the four IDX files, found neither; "
            "without --data-dir and LANDSCAPE_DATA they are downloaded"
        )

    def find(name: str) -> Path:
        for place in places:
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
        raise InputError(f"{places[0]}: expected {name} or {name}.gz, found neither; put one of them there")

    return find


def read_digits(image_file: Path, label_file: Path) -> Digits:
    """Images with their labels from two IDX files. Raises InputError if they are broken or do not belong together."""
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise InputError(f"{image_file}: expected images of 28×28 pixels, found {dims(images.shape[1:])}")
    if len(images) != len(labels):
        raise InputError(f"{label_file}: expected {len(images)} labels, one for each image, found {len(labels)}")
    if labels.max(initial=0) > 9:
        raise InputError(f"{label_file}: expected labels from 0 to 9, found {labels.max()}")
    return Digits(images, labels, np.arange(len(labels)))


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in the IDX file at `path`, gzipped if it ends in .gz. Raises InputError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except EOFError:
        raise InputError(
            f"{path}: expected a whole gzip file, found one cut off after {path.stat().st_size} bytes; fetch it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: expected a gzip file, found {error}; fetch it again") from None
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, found {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path}: expected at most {LARGEST_FILE} bytes, found more; fetch it again")
    return parse_idx(content, str(path), ndim)


def parse_idx(content: bytes, source: str, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions that `content` holds in IDX format; InputError names `source`."""
    header = 4 + 4 * ndim
    found = content[:4]
    if len(found) < 4 or found[:2] != b"\0\0":
        expected = f"an IDX file, which begins 0x0000{UNSIGNED_BYTE:02x}{ndim:02x}"
        raise InputError(f"{source}: expected {expected}, found {f'0x{found.hex()}' if found else 'an empty file'}")
    if found[2] != UNSIGNED_BYTE:
        raise InputError(f"{source}: expected unsigned bytes (IDX type 0x08), found type 0x{found[2]:02x}")
    if found[3] != ndim:
        raise InputError(
            f"{source}: expected {ndim} dimensions, found {found[3]}; images have 3 and labels 1: are they swapped?"
        )
    if len(content) < header:
        raise InputError(f"{source}: expected a header of {header} bytes, found {len(content)}; fetch it again")
    shape = struct.unpack(f">{ndim}I", content[4:header])
    length = header + int(np.prod(shape, dtype=object))
    if len(content) != length:
        raise InputError(
            f"{source}: expected {length} bytes for {dims(shape)} values, found {len(content)}; "
            f"it is {'truncated' if len(content) < length else 'too long'}: fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def dims(shape: tuple[int, ...]) -> str:
    """A shape as text, such as 60000×28×28."""
    return "×".join(str(n) for n in shape)


def download(collection: Collection, name: str) -> Path:
    """Path of the gzipped file `name` in the cache folder, downloaded from the first mirror that has it whole.

    Raises InputError that names, for each mirror, why not.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    name = f"{name}.gz"
    digest, folder = collection.digests[name], cache_folder() / collection.name
    fetch = functools.partial(fetch_checked, digest=digest)
    reasons = []
    for mirror in collection.mirrors:
        try:
            return Path(pooch.retrieve(mirror + name, digest, fname=name, path=folder, downloader=fetch))
        except (OSError, InputError) as error:  # what requests raises is an OSError
            reasons.append(f"{mirror}: {' '.join(str(error).split())}")
    raise InputError(
        f"{name}: could not be downloaded ({'; '.join(reasons)}); "
        f"put it in the folder {collection.name}/ of a data folder and pass that with --data-dir"
    )


def fetch_checked(url: str, output_file: str, _: object, *, digest: str) -> None:
    """Download `url` to `output_file`; InputError for another digest than `algorithm:hex`. (A pooch downloader.)"""
    import pooch

    speak = sys.stderr.isatty() and launched_rank() == 0
    pooch.HTTPDownloader(progressbar=speak, chunk_size=2**16)(url, output_file, None)
    # pooch checks too, but its message would not fit the one line that all errors here are.
    algorithm, expected = digest.split(":")
    found = pooch.file_hash(output_file, algorithm)
    if found != expected:
        raise InputError(f"expected {algorithm} {expected}, found {found}")

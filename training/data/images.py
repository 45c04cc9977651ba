"""Image files as uint8 arrays, decoded once: what every data set hands over, the decoder, and its cache."""

import hashlib
import json
import os
import stat
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageOps
from tqdm import tqdm

from training.runtime.command import InputError, launched_rank

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: Another decoder may give other pixels: raise the number when `decode` changes.
DECODER = f"1, Pillow {PIL.__version__}"


class RawSplit(NamedTuple):
    """A data set before it becomes tensors; images are uint8, (N, C, H, W), see :class:`training.data.splits.Split`."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    ids: list[str]
    classes: list[str]
    digits: tuple[np.ndarray, np.ndarray] | None = None
    """The digit of each training and of each test image, (N,) and (M,) uint8, where digits are to be predicted."""


def cache_folder() -> Path:
    """Where downloads and decoded images are kept: $LANDSCAPE_CACHE, or else the user's cache folder.

    All of it can be deleted at any time: it is made again when it is needed.
    """
    if named := os.environ.get("LANDSCAPE_CACHE"):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("lamp-landscape"))


def image_names(root: Path, recursive: bool = False) -> list[str]:
    """Images of the folder `root` as sorted paths relative to it, with `/`; hidden files are none of them."""
    files = root.rglob("*") if recursive else root.glob("*")
    names = [file.relative_to(root) for file in files if file.suffix.lower() in SUFFIXES and not file.is_dir()]
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def decode(path: Path, size: int, channels: int) -> np.ndarray:
    """The image at `path` as uint8 of shape (channels, size, size); `channels` is 1 (grey) or 3 (RGB).

    Turned upright as its EXIF says, made grey or RGB (an alpha channel is dropped), then resized by Pillow's bilinear
    filter, which averages over the whole source area of a pixel and so is free of aliasing. An image that is not
    square is squeezed to one, not cropped. 16-bit grey is brought to 8 bits. Raises InputError if it cannot be read.
    """
    image = read_image(path, "L" if channels == 1 else "RGB")
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def read_image(path: Path, mode: str) -> Image.Image:
    """The image at `path`, upright, in Pillow's 8-bit `mode` (L or RGB); InputError if it cannot be read."""
    try:
        with Image.open(path) as opened:
            return to_8_bits(ImageOps.exif_transpose(opened)).convert(mode)
    # Broken files of some formats are reported by Pillow as SyntaxError, ValueError and others beside OSError.
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        zlib.error,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a readable image, found {reason}; replace or remove it") from None


def to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, where Pillow's own conversion would clip; 8-bit images as they are."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels (mode {image.mode}), whose range is unknown: convert it to 8 or 16 bits")
    return image


def decoded(root: Path, names: Sequence[str], size: int, channels: int) -> np.ndarray:
    """The images `names` under `root` as uint8 of shape (N, channels, size, size), from the cache if it is current.

    The cache holds one file for each root, size and number of channels, with a stamp made of the names, sizes and
    modification times of the images; with another stamp, or broken, it is made anew. Raises InputError at the first
    image that cannot be read.
    """
    stamp = stamp_of(root, names)
    key = digest_of([str(root.resolve()), size, channels])
    path = cache_folder() / "decoded" / f"{root.name}-{size}x{channels}-{key[:16]}.npz"
    images = read_cache(path, stamp)
    if images is None:
        images = np.empty((len(names), channels, size, size), np.uint8)
        quiet = None if launched_rank() == 0 else True  # None: quiet when stderr is not a terminal
        what = f"decoding {root.parent.name}/{root.name}"
        for i, name in enumerate(tqdm(names, desc=what, unit="image", disable=quiet)):
            images[i] = decode(root / name, size, channels)
        write_cache(path, stamp, images)
    return images


def stamp_of(root: Path, names: Sequence[str]) -> str:
    """SHA-256 of the decoder and of name, size and modification time of each image."""
    entries = []
    for name in names:
        try:
            status = (root / name).stat()
        except OSError as error:
            raise InputError(
                f"{root / name}: expected a readable image, found {error.strerror}; replace or remove it"
            ) from None
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for somebody to write
            raise InputError(f"{root / name}: expected a readable image, found no file; replace or remove it")
        entries.append([name, status.st_size, status.st_mtime_ns])
    return digest_of([DECODER, entries])


def digest_of(values: object) -> str:
    """SHA-256 of plain values, as hexadecimal text."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def read_cache(path: Path, stamp: str) -> np.ndarray | None:
    """The images kept at `path`, or None if there are none, they carry another stamp, or the file is broken."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["images"] if str(stored["stamp"]) == stamp else None
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None


def write_cache(path: Path, stamp: str, images: np.ndarray) -> None:
    """Keep `images` at `path`, whole or not at all: processes that read or write it meanwhile are not disturbed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, images=images, stamp=np.array(stamp))
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        # The images are there; only the next start is slower.
        warnings.warn(f"decoded images not cached: {error}; LANDSCAPE_CACHE names another folder", stacklevel=2)

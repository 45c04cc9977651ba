"""Checkpoints: a training run's config, weights and results in one file that holds no code."""

import dataclasses
import hashlib
import io
import json
import pickle
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from training.data.config import RunConfig, config_from_dict, told_apart_by
from training.data.splits import Split
from training.runtime.command import InputError, unusable, write_whole
from training.runtime.typed import misfit

FORMAT = "landscape-checkpoint"
VERSION = 1
LARGEST_PICKLE = 1 << 22  # bytes, and 1000 for each tensor: some seconds, where a deep one takes the longest


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: plain values and CPU tensors alone.

    metrics: AUROC with its interval and what else was measured at `epoch`. data_dir: the data folder that it was
    trained from, a hint of where to look that is part of no digest; "" where data came with the package, from the cache
    or from folders that the config names. digest: SHA-256 of config and weights.
    """

    config: RunConfig
    epoch: int
    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    metrics: dict[str, Any] = field(default_factory=dict)
    data_digest: str = ""
    data_dir: str = ""

    @property
    def digest(self) -> str:
        return digest_of(self.config, self.params, self.buffers)


def digest_of(config: RunConfig, params: dict[str, Tensor], buffers: dict[str, Tensor]) -> str:
    """SHA-256 over the config and every tensor's name, type, shape and bytes."""
    sha = hashlib.sha256(json.dumps(told_apart_by(config), sort_keys=True).encode())
    for name, tensor in sorted({**params, **buffers}.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def take(config: RunConfig, epoch: int, model: nn.Module, metrics: dict[str, Any], split: Split) -> Checkpoint:
    """A checkpoint of `model` as it stands, trained on `split`: copies, in the default memory layout, on the CPU."""

    def copies(tensors: Any) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors}

    params, buffers = copies(model.named_parameters()), copies(model.named_buffers())
    return Checkpoint(config, epoch, params, buffers, metrics, split.digest, split.folder)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, under a temporary name first, so that a kill leaves the old file whole.

    Raises WriteError if it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": dataclasses.asdict(checkpoint.config),
        "epoch": checkpoint.epoch,
        "params": checkpoint.params,
        "buffers": checkpoint.buffers,
        "metrics": checkpoint.metrics,
        "data_digest": checkpoint.data_digest,
        "data_dir": checkpoint.data_dir,
        "digest": checkpoint.digest,
    }
    write_plain(path, content)


def write_plain(path: Path, content: Any) -> None:
    """`torch.save`, whole or not at all; in memory first, as on a full disk torch only says that something failed."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code in it.

    Raises InputError if the file is missing, holds pickled code, is damaged, foreign, or of a newer version.
    """
    content = read_plain(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: expected a checkpoint written by training.train, found another kind of torch file")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InputError(
            f"{path}: expected checkpoint version {VERSION} or older, found {version}; use a newer release"
        )
    if found := misfit(content, Stored):
        raise InputError(f"{path}: expected a checkpoint as training.train writes it, found {found}")
    try:
        checkpoint = Checkpoint(
            config=config_from_dict(content["config"], str(path)),
            epoch=content["epoch"],
            params=content["params"],
            buffers=content["buffers"],
            metrics=content["metrics"],
            data_digest=content["data_digest"],
            data_dir=str(content.get("data_dir", "")),
        )
        intact = checkpoint.digest == content["digest"]
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise error if isinstance(error, InputError) else damaged(path) from None
    if not intact:
        raise InputError(f"{path}: expected the digest that it states, found another one: it is damaged; train again")
    return checkpoint


def damaged(path: Path) -> InputError:
    return InputError(f"{path}: expected a checkpoint, found a damaged or foreign file")


def check_unpacked(path: Path) -> None:
    """Raise InputError if the file may not be read, or unpacks to more than it is, which torch's files do not."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                return  # of an old torch, or none: torch.load says
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except OSError as error:
        raise unusable(path, "a checkpoint", error) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise damaged(path) from None
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    described = sum(entry.file_size for entry in entries if entry.filename.endswith("data.pkl"))
    if packed or described > LARGEST_PICKLE + 1000 * len(entries):
        raise InputError(
            f"{path}: expected a checkpoint, found {'a packed file' if packed else f'{described} bytes of pickle'}, "
            "which may take without end to read; save it again with torch.save"
        )


class Stored(TypedDict):
    """What a checkpoint file holds beside its config, which :func:`training.data.config.config_from_dict` checks."""

    epoch: int
    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    metrics: dict[str, Any]
    data_digest: str
    digest: str


def read_plain(path: Path) -> Any:
    """`torch.load` with tensors and plain values alone; InputError for anything else."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "something that is no file" if path.exists() else "none"
        raise InputError(f"{path}: expected a checkpoint file, found {found}; make one with python -m training.train")
    check_unpacked(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on foreign pickles; the error below says what matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):  # it names a function or class to call
            raise InputError(
                f"{path}: expected tensors and plain values alone, found pickled code, which is not run; "
                "use a checkpoint written by training.train"
            ) from None
        raise damaged(path) from None
    except Exception:  # torch's readers raise anything on damaged bytes, AssertionError among them
        raise damaged(path) from None


def load_weights(model: nn.Module, checkpoint: Checkpoint, source: str) -> None:
    """Copy the checkpoint's weights and buffers into `model`; InputError if their names or shapes do not fit."""
    try:
        model.load_state_dict({**checkpoint.params, **checkpoint.buffers})
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{source}: expected weights of {checkpoint.config.model}, found others: {first}") from None

"""The data that a checkpoint was trained on: read where they were then, if they are still there, or where one says."""

import sys
from pathlib import Path

from training.data.splits import Split, load_split
from training.fitting.checkpoint import Checkpoint
from training.runtime.command import InputError, launched_rank


def data_of(path: Path, checkpoint: Checkpoint, data_dir: str | None) -> Split:
    """The data of the checkpoint at `path`, as --data-dir (`data_dir`) names it.

    Without one, first the folder that it was trained from is tried, then $LANDSCAPE_DATA and the rest, as in training.
    Raises InputError for data that are missing, or are not those that it was trained on.
    """
    if data_dir is None and (found := data_where_trained(path, checkpoint)):
        return found
    try:
        split = load_split(checkpoint.config, data_dir)
    except InputError as error:
        if data_dir is None and checkpoint.data_dir:
            raise InputError(f"{error}; {path} was trained with --data-dir {checkpoint.data_dir}") from None
        raise
    check_data(path, checkpoint.data_digest, split.digest)
    return split


def data_where_trained(path: Path, checkpoint: Checkpoint) -> Split | None:
    """The data in the folder that the checkpoint was trained from, with a note on stderr.

    None if it names no folder, or that has no longer the same data: the name is a hint.
    """
    try:
        if not checkpoint.data_dir or not Path(checkpoint.data_dir).is_dir():
            return None
        split = load_split(checkpoint.config, checkpoint.data_dir)
    except (InputError, OSError):
        return None
    if split.digest != checkpoint.data_digest:
        return None
    _note(path, checkpoint.data_dir)
    return split


_told: set[str] = set()  # folders: a sweep's checkpoints share theirs, and one note is enough


def _note(path: Path, folder: str) -> None:
    """Say, once for each folder and on the root alone, where data are read from."""
    if folder not in _told and launched_rank() == 0:
        told = f"note: data of {path} are read from {folder}, where it was trained; --data-dir names others"
        print(told, file=sys.stderr)
    _told.add(folder)


def check_data(path: Path, trained_on: str, found: str) -> None:
    """Raise InputError unless the data are those that the checkpoint was trained on."""
    if trained_on != found:
        raise InputError(
            f"{path}: expected the data it was trained on (SHA-256 {trained_on[:12]}…), found {found[:12]}…; "
            "name the right folder with --data-dir"
        )

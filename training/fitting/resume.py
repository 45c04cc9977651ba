"""A run in its middle, as a file of its folder: what a killed run goes on from."""

import dataclasses
from pathlib import Path
from typing import Any

from training.data.config import RunConfig, with_later_fields
from training.data.splits import Split
from training.fitting.checkpoint import read_plain, write_plain
from training.fitting.engine import Snapshot
from training.fitting.results import make_run_folder
from training.runtime.command import InputError

NAME = "resume.pt"


def keep_state(folder: Path, config: RunConfig, split: Split, state: Snapshot, history: list[dict[str, Any]]) -> None:
    """Write the state of a run and its history so far into its folder, whole or not at all."""
    make_run_folder(folder)
    content = {"config": dataclasses.asdict(config), "data": split.digest, "state": state, "history": history}
    write_plain(folder / NAME, content)


def kept_state(folder: Path, config: RunConfig, split: Split) -> tuple[Snapshot | None, list[dict[str, Any]]]:
    """The state that was kept of this run, and its history; (None, []) if there is none of this config and data."""
    path = folder / NAME
    if not path.is_file():
        return None, []
    try:
        content = read_plain(path)
        same = with_later_fields(content["config"]) == dataclasses.asdict(config) and content["data"] == split.digest
        return (content["state"], list(content["history"])) if same else (None, [])
    except (InputError, KeyError, TypeError):
        return None, []  # damaged: the run begins again


def forget_state(folder: Path) -> None:
    """Remove what was kept, once the run is done."""
    (folder / NAME).unlink(missing_ok=True)

"""The files of a run: checkpoint.pt, metrics.json, scores.csv and history.csv in a folder of its own."""

import csv
import dataclasses
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from training.data.config import RunConfig
from training.runtime.command import InputError, check_replaceable, write_whole, writing
from training.runtime.kinds import CHECKPOINT, JSONS, TABLES, TORCH

if TYPE_CHECKING:
    from training.data.splits import Split
    from training.fitting.run import Evaluation

#: name of a file in a run's folder -> the kinds of file that a run leaves there
RUN_FILES = {
    "scores.csv": (TABLES["id", "label", "score"], TABLES["id", "digit", "predicted"]),
    "history.csv": (TABLES["epoch", "updates", "loss"],),
    "metrics.json": (JSONS["config", "digest", "data_digest"],),
    "checkpoint.pt": (CHECKPOINT,),
    "resume.pt": (TORCH,),
}
#: likewise of a sweep's folder
SWEEP_FILES = {
    "results.csv": (TABLES["run", "dataset", "task"],),
    "history.csv": (TABLES["run", "epoch", "updates"],),
}


def make_run_folder(folder: Path) -> None:
    """Make the folder of a sweep's run; WriteError where the sweep's own folder is gone, which is not made again."""
    with writing(folder):
        folder.mkdir(exist_ok=True)


def make_folder(folder: Path, files: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
    """Make `folder` and see that it can be written, before hours are spent; InputError if not.

    `files`: the names that will be written, each with the kinds of file that may be there and will be replaced.
    """
    for name, kinds in files.items():
        check_replaceable(folder / name, *kinds)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out: expected a folder that can be written, found {folder}: {error.strerror}") from None


def is_complete(config: RunConfig, metrics: dict[str, Any]) -> bool:
    """Whether a run has ended with these metrics: after all its epochs, or before, at the fit that it was to reach."""
    return metrics.get("epoch") == config.epochs or bool(metrics.get("stopped_at_fit"))


def write_results(folder: Path, evaluation: "Evaluation", history: list[dict[str, Any]], split: "Split") -> None:
    """Write checkpoint.pt, history.csv, scores.csv and metrics.json, each whole or not at all, in this order.

    The checkpoint is first, since nothing else is as dear; metrics.json, with the checkpoint's digest, is last: where
    both are there and belong together, so is the rest (:func:`is_written`). Raises WriteError, naming the file.
    """
    from training.fitting.checkpoint import save_checkpoint

    if split.targets is None:
        header, truth, values = ("id", "label", "score"), split.labels.astype(int).tolist(), evaluation.scores.tolist()
    else:
        header, truth, values = ("id", "digit", "predicted"), split.classes, evaluation.scores.int().tolist()
    save_checkpoint(evaluation.checkpoint, folder / "checkpoint.pt")
    write_whole(folder / "history.csv", csv_text([tuple(history[0]), *(tuple(row.values()) for row in history)]))
    write_whole(folder / "scores.csv", csv_text([header, *zip(split.ids, truth, values, strict=True)]))
    about = {
        "config": dataclasses.asdict(evaluation.checkpoint.config),
        "digest": evaluation.checkpoint.digest,
        "data_digest": split.digest,
    }
    write_whole(folder / "metrics.json", json.dumps({**evaluation.checkpoint.metrics, **about}, indent=1) + "\n")


def is_written(folder: Path, digest: str) -> bool:
    """Whether the files of the checkpoint with this digest are all there, not only the checkpoint."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    others = all((folder / name).is_file() for name in ("history.csv", "scores.csv"))
    return others and isinstance(metrics, dict) and metrics.get("digest") == digest


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()

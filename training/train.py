"""`python -m training.train`: train one autoencoder on normal images; checkpoint, scores and history in a folder."""

import csv
import dataclasses
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.command import InputError, command, parse, write_whole
from training.config import RunConfig, resolve

if TYPE_CHECKING:
    import torch

    from training.data import Split
    from training.fit import Epoch

DESCRIPTION = """Train one autoencoder on normal images and score the whole test split.

Example: python -m training.train --dataset mnist-mini --normal 3 --loss l2-lamp --epochs 30 --out runs/a
Writes checkpoint.pt, metrics.json, scores.csv and history.csv after every epoch; the last line is the checkpoint."""


@dataclass(frozen=True)
class Arguments:
    out: Path
    """Folder for the results; made if absent."""
    config: RunConfig = field(default_factory=RunConfig)
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA. Never written to."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads; 0: all cores."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "training.train", DESCRIPTION)
    check_alone()
    config = resolve(arguments.config)
    from training.data import load_split
    from training.device import choose_device, use_threads

    use_threads(arguments.threads)
    device = choose_device(arguments.device)
    split = load_split(config, arguments.data_dir)
    path = arguments.out / "checkpoint.pt"
    if not already_trained(path, config, split):
        train_to_folder(config, split, device, arguments.out)
    print(path)


def check_alone() -> None:
    """Raise InputError under a launcher: each process would train the same model into the same folder."""
    from training.farm import launched_size

    if launched_size() > 1:
        raise InputError(f"mpirun: expected one process, found {launched_size()}: one run is not divided among ranks")


def already_trained(path: Path, config: RunConfig, split: "Split") -> bool:
    """Whether `path` is this run's finished checkpoint; InputError if it is that of another config or other data."""
    if not path.exists():
        return False
    from training.checkpoint import load_checkpoint

    found = load_checkpoint(path)
    different = [
        f"{name} {getattr(found.config, name)}"
        for name in vars(config)
        if getattr(found.config, name) != getattr(config, name)
    ]
    if found.data_digest != split.digest:
        different.append("other data")
    if different:
        raise InputError(
            f"{path}: expected no other run's checkpoint, found one of {', '.join(different)}; choose another --out"
        )
    return found.epoch == config.epochs


def train_to_folder(config: RunConfig, split: "Split", device: "torch.device", folder: Path) -> None:
    from tqdm import tqdm

    from training.fit import train

    make_folder(folder)
    name = f"{config.loss}, {config.category if config.dataset == 'mvtec' else config.normal}"
    epochs = tqdm(
        train(config, split, device), desc=f"training ({name})", total=config.epochs, unit="epoch", disable=None
    )
    history: list[dict[str, Any]] = []
    for epoch in epochs:
        history.append(epoch.row)
        epochs.set_postfix(loss=f"{epoch.row['loss']:.4g}", auroc=f"{epoch.row['auroc']:.4f}")
        write_results(folder, epoch, history, split)


def make_folder(folder: Path) -> None:
    """Make `folder` and see that it can be written, before hours are spent; InputError if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--out: expected a folder that can be written, found {folder}: {error.strerror}") from None


def write_results(folder: Path, epoch: "Epoch", history: list[dict[str, Any]], split: "Split") -> None:
    """Write checkpoint.pt, metrics.json, scores.csv and history.csv, each whole or not at all."""
    from training.checkpoint import save_checkpoint

    rows = zip(split.ids, split.labels.astype(int), epoch.scores.tolist(), strict=True)
    write_whole(folder / "scores.csv", csv_text([("id", "label", "score"), *rows]))
    write_whole(folder / "history.csv", csv_text([tuple(history[0]), *(tuple(row.values()) for row in history)]))
    about = {"config": dataclasses.asdict(epoch.checkpoint.config), "digest": epoch.checkpoint.digest}
    write_whole(folder / "metrics.json", json.dumps({**epoch.checkpoint.metrics, **about}, indent=1) + "\n")
    save_checkpoint(epoch.checkpoint, folder / "checkpoint.pt")


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    raise SystemExit(command(main)())

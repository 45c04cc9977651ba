"""AUROC of single runs, from the metrics.json that each left in its folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.rows.formats import Rows
from training.runtime.command import InputError, unusable


def runs_table(folders: Sequence[Path]) -> Rows:
    """A row for each folder's run, below a header; InputError for a folder without metrics.json."""
    if not folders:
        raise InputError("folders: expected one or more folders that training.train wrote, found none")
    header = ["run", "data", "normal", "loss", "batch size", "epochs", "train L2", "AUROC", "95% interval"]
    return [header, *(run_row(folder, read_metrics(folder)) for folder in folders)]


def run_row(folder: Path, metrics: dict[str, Any]) -> list[str]:
    config = metrics["config"]
    normal = {"mvtec": config["category"], "folder": Path(config["train_dir"]).name}
    return [
        folder.name,
        config["dataset"],
        str(normal.get(config["dataset"], config["normal"])),
        config["loss"],
        str(config["batch_size"]),
        str(metrics["epoch"]),
        f"{metrics['train_l2']:.2f}",
        f"{metrics['auroc']:.4f}",
        f"{metrics['auroc_low']:.4f} to {metrics['auroc_high']:.4f}",
    ]


def read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise unusable(path, "what training.train writes beside a checkpoint", error) from None
    numbers = ("epoch", "train_l2", "auroc", "auroc_low", "auroc_high")
    texts = ("dataset", "category", "train_dir", "normal", "loss", "batch_size")
    config = metrics.get("config") if isinstance(metrics, dict) else None
    complete = isinstance(config, dict) and set(texts) <= set(config)
    if not complete or not all(isinstance(metrics.get(name), (int, float)) for name in numbers):
        raise InputError(f"{path}: expected a config and {', '.join(numbers)}, found other content")
    return metrics

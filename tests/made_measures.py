"""Made-up results of analysis.sharpness: checkpoints of digits × batch sizes × losses × seeds with known relations."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.sweeps.record import COLUMNS

SETTINGS = {
    "dataset": "mnist-mini",
    "task": "reconstruct",
    "category": "bottle",
    "image_size": 32,
    "channels": 1,
    "patches": 1,
    "max_train": 0,
    "validation": 0.0,
    "augment": "none",
    "lamp_scale": "batch",
    "lamp_detach": False,
    "lamp_eps": 0.001,
    "loss_factor": 1.0,
    "reduction": "mean",
    "model": "autoencoder",
    "width": 16,
    "depth": 4,
    "kernel": 3,
    "optimizer": "adam",
    "lr": 0.001,
    "epochs": 4,
    "evaluate": "epoch",
}

Measure = Callable[[dict, np.random.Generator], float | str]


def design(
    digits: Sequence[int] = range(10),
    batches: Sequence[int] = (32, 128, 512),
    losses: Sequence[str] = ("l2", "l2-lamp"),
    seeds: Sequence[int] = (0, 1, 2),
) -> list[dict]:
    return [
        {"normal": digit, "batch_size": batch, "loss": loss, "seed": seed}
        for digit in digits
        for batch in batches
        for loss in losses
        for seed in seeds
    ]


def write_measures(path: Path, measures: dict[str, Measure], cells: Sequence[dict] | None = None) -> Path:
    """A row a cell. AUROC depends on the digit, a little on the batch size, and on a quality that is drawn.

    Each measure is a function of the cell (its settings, `quality`, `auroc`, `train_l2`) and a generator. A cell may
    set `status`, `auroc` and `train_l2` itself.
    """
    cells = design() if cells is None else cells
    generator = np.random.default_rng(5)
    columns = (*COLUMNS, *measures)
    rows = []
    for number, cell in enumerate(cells):
        quality = float(generator.normal())
        auroc = 0.75 + 0.02 * cell["normal"] + 0.01 * quality
        made = {
            "status": "done",
            "auroc": auroc,
            "auroc_low": auroc - 0.01,
            "auroc_high": auroc + 0.01,
            "train_l2": 5 + np.log2(cell["batch_size"]) + float(generator.normal()),
            "quality": quality,
        }
        cell = SETTINGS | made | cell
        values = {name: measure(cell, generator) for name, measure in measures.items()}
        rows.append({"run": f"run{number}", **{k: v for k, v in cell.items() if k in columns}, **values})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


#: a sharpness that follows quality downwards, one that has nothing to do with it, one of the digit alone
MEASURES: dict[str, Measure] = {
    "half_curvature@l2": lambda cell, g: float(np.exp(3 - 0.5 * cell["quality"] + 0.3 * g.normal())),
    "half_curvature@l2:stderr": lambda cell, g: 0.5,
    "trace@l2": lambda cell, g: float(np.exp(5 + 0.5 * g.normal())),
    "lambda_min@l2": lambda cell, g: float(-1 + g.normal()),
    "of_fit@l2": lambda cell, g: float(np.log(cell["train_l2"]) * 3),
    "constant@l2": lambda cell, g: 4.0,
    "half_curvature@own": lambda cell, g: float(np.exp(1 - 0.4 * cell["quality"] + 0.6 * g.normal())),
}

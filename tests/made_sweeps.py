"""Small made-up sweeps in the files' own format: digits' scores from normal distributions, histories that decay."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from training.data.score import auroc

SETTINGS = {
    "dataset": "mnist",
    "normal": 0,
    "category": "bottle",
    "train_dir": "",
    "loss": "l2",
    "lamp_scale": "batch",
    "lamp_detach": False,
    "lamp_eps": 0.001,
    "optimizer": "adam",
    "lr": 0.001,
    "batch_size": 128,
    "epochs": 4,
    "seed": 0,
}
MEASURED = (
    *("epoch", "updates", "loss", "train_l2", "validation_l2", "recon_variance"),
    *("auroc", "auroc_stderr", "auroc_low", "auroc_high"),
)
NAMING = ("batch_size", "category", "lamp_scale", "loss", "lr", "normal", "optimizer", "seed")


def product(**values: Iterable) -> list[dict]:
    found: list[dict] = [{}]
    for name, options in values.items():
        found = [{**one, name: option} for one in found for option in options]
    return found


def run_name(settings: dict) -> str:
    return ",".join(f"{name}={settings[name]}" for name in NAMING)


def history_of(settings: dict, final: float) -> list[dict]:
    """An evaluation an epoch: L2 decays, faster with LAMP; best AUROC at epoch 2, least validation L2 at 3."""
    rows = []
    for epoch in range(1, settings["epochs"] + 1):
        speed = 1.5 if settings["loss"].endswith("-lamp") else 1.0
        train = 20 * np.exp(-speed * epoch / 2)
        row = dict.fromkeys(MEASURED, "") | {
            "epoch": epoch,
            "updates": epoch * max(1, 1000 // settings["batch_size"]),
            "loss": train,
            "train_l2": train,
            "validation_l2": train + (5 if epoch == 4 else 1),
            "recon_variance": 0.5 if speed > 1 else 0.01,
            "auroc": final + (0.02 if epoch == 2 else -0.01 if epoch < 4 else 0),
            "auroc_stderr": 0.01,
        }
        rows.append(row)
    return rows


def write_sweep(
    folder: Path,
    cells: list[dict],
    score: Callable[[dict, np.random.Generator], tuple[list[str], np.ndarray, np.ndarray]] | None = None,
    failed: Callable[[dict], bool] = lambda settings: False,
) -> Path:
    """A sweep's folder with a run for each of `cells` (settings that are not the defaults)."""
    folder.mkdir(parents=True, exist_ok=True)
    results, histories = [], []
    for cell in cells:
        settings = SETTINGS | cell
        name = run_name(settings)
        ids, labels, scores = (score or digit_scores)(settings, np.random.default_rng(sum(name.encode())))
        result = auroc(scores[labels == 0], scores[labels == 1])
        history = history_of(settings, result.value)
        last = history[-1] | {
            "auroc": result.value,
            "auroc_stderr": result.stderr,
            "auroc_low": result.low,
            "auroc_high": result.high,
        }
        broken = failed(settings)
        measured = dict.fromkeys(MEASURED, "") if broken else last
        status = ["failed", "not finite"] if broken else ["done", ""]
        results.append([name, *settings.values(), *status, *measured.values(), result.n_normal, result.n_anomalous])
        if broken:
            continue
        histories += [[name, *row.values()] for row in [*history[:-1], last]]
        (folder / name).mkdir(exist_ok=True)
        write_csv(
            folder / name / "scores.csv", [["id", "label", "score"], *zip(ids, labels, scores.tolist(), strict=True)]
        )
    named = ["final_loss" if name == "loss" else name for name in MEASURED]
    header = ["run", *SETTINGS, "status", "error", *named, "n_normal", "n_anomalous"]
    write_csv(folder / "results.csv", [header, *results])
    write_csv(folder / "history.csv", [["run", *MEASURED], *histories])
    return folder


def write_csv(path: Path, rows: Iterable) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def digit_scores(settings: dict, generator: np.random.Generator) -> tuple[list[str], np.ndarray, np.ndarray]:
    """200 images, twenty a digit, the same for all runs; anomalies score higher, by more with LAMP."""
    digits = np.repeat(np.arange(10), 20)
    labels = (digits != int(settings["normal"])).astype(int)
    difficulty = np.random.default_rng(7).normal(size=200)  # of the image, shared by runs
    gain = 1.4 if settings["loss"].endswith("-lamp") else 1.0
    scores = difficulty + 0.5 * generator.normal(size=200) + gain * labels
    return [f"test-{i}" for i in range(200)], labels, scores

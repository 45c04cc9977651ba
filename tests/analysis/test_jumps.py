"""Jumps of AUROC along a trajectory: the three ways of scoring against slow ones, the command and its figure."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from analysis.jumps import main
from analysis.measures.steadiness import mean_of
from analysis.rows.jumps import WAYS, jump
from figures.jumps import draw, runs_of
from figures.jumps import main as figure
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.fitting.checkpoint import load_checkpoint, load_weights
from training.models.autoencoder import build_model
from training.runtime.command import InputError
from training.train import main as train

SMALL = ("--dataset", "mnist-mini", "--normal", "3", "--width", "2", "--max-train", "300", "--threads", "1")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for loss in ("l2", "l2-lamp"):
        train([*SMALL, "--loss", loss, "--epochs", "4", "--save-every", "3", "--out", str(folder / loss)])
    return [folder / "l2", folder / "l2-lamp"]


@pytest.fixture(scope="module")
def table(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "jumps.csv"
    main([*map(str, folders), "--averaged", "2", "--out", str(path)])
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def slow_auroc(model: torch.nn.Module, images: torch.Tensor, labels: np.ndarray) -> float:
    with torch.no_grad():
        errors = (model(images) - images).double().square().mean(dim=(1, 2, 3))
    return float(roc_auc_score(labels, errors))


def test_each_way_is_what_plain_code_gives(folders: list[Path], table: Path) -> None:
    config = resolve(RunConfig(dataset="mnist-mini", normal=3, width=2, max_train=300))
    split = load_split(config, None)
    rows = [row for row in read(table) if row["run"] == "l2"]
    assert [int(row["updates"]) for row in rows] == [3, 6, 9, 12]
    models = []
    for row in rows[:2]:
        models.append(build_model(config))
        load_weights(models[-1], load_checkpoint(folders[0] / f"trajectory/{int(row['updates']):06d}.pt"), "")
    model = models[1].eval()
    labels = np.asarray(split.labels)
    assert float(rows[1]["auroc"]) == pytest.approx(slow_auroc(model, split.test, labels), abs=1e-5)
    mean = mean_of(models)
    for parameter, first, second in zip(mean.parameters(), models[0].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(parameter, (first + second) / 2)
    for one, way in ((model, WAYS[1]), (mean, WAYS[2])):
        norms = [part for part in one.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None
            norm.reset_running_stats()
        one.train()
        with torch.no_grad():
            for batch in split.train.split(256):
                one(batch)
        assert float(rows[1][way]) == pytest.approx(slow_auroc(one.eval(), split.test, labels), abs=1e-4)


def test_a_jump_is_the_mean_step_of_the_second_half() -> None:
    assert jump([0.1, 0.9, 0.5, 0.6, 0.4, 0.4]) == pytest.approx((0.2 + 0.0) / 2)
    assert np.isnan(jump([0.5]))


def test_figure_and_errors(folders: list[Path], table: Path, tmp_path: Path) -> None:
    arms = runs_of(read(table))
    assert list(arms) == ["L2", "L2-LAMP, maximum over the batch"]
    left, right = draw(arms).axes
    assert [line.get_ydata().tolist() for line in left.get_lines()] == [
        [float(row["auroc"]) for row in runs[0]] for runs in arms.values()
    ]
    assert next(text.get_text() for text in right.get_yticklabels()) == "L2"
    figure([str(table), "--out", str(tmp_path / "j.png")])
    assert (tmp_path / "j.png").stat().st_size > 1000
    train([*SMALL, "--epochs", "1", "--out", str(tmp_path / "plain")])
    with pytest.raises(InputError, match="plain: expected a run trained with --save-every, found no checkpoints"):
        main([str(tmp_path / "plain"), "--out", str(tmp_path / "x.csv")])
    with pytest.raises(InputError, match="--averaged: expected at least 1 checkpoint, found 0"):
        main([str(folders[0]), "--averaged", "0", "--out", str(tmp_path / "x.csv")])

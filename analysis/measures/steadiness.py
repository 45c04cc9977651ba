"""How much a run's AUROC jumps between neighbouring checkpoints, and whether batch norm's statistics make it.

Each checkpoint of a trajectory is scored three ways: as it is, with batch norm's running statistics; with statistics
estimated anew over all training images; and as the mean of its own weights and those of the checkpoints before it, with
statistics estimated anew (Izmailov et al., UAI 2018). What is left of a jump in the second way is in the weights.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from landscape.engine.batchnorm import RECALIBRATION_BATCH, recalibrate
from training.data.score import auroc
from training.data.splits import Split
from training.fitting.checkpoint import Checkpoint, load_checkpoint, load_weights
from training.fitting.evaluation import image_scores, train_l2
from training.fitting.trajectory import files_of
from training.models.autoencoder import build_model
from training.runtime.command import InputError


@dataclass(frozen=True)
class Point:
    """A checkpoint of a trajectory, by the number of its updates."""

    updates: int
    train_l2: float
    auroc: float
    auroc_recalibrated: float
    auroc_averaged: float


def points(folder: Path, split: Split, averaged: int) -> Iterator[Point]:
    """The checkpoints of the run in `folder`, but the one before its first update; means are of so many weights.

    Raises InputError for a folder without a trajectory, or of a run that is no autoencoder.
    """
    files = files_of(folder)[1:]
    if not files:
        raise InputError(f"{folder}: expected a run trained with --save-every, found no checkpoints in trajectory/")
    before: list[nn.Module] = []
    for file in files:
        checkpoint = load_checkpoint(file)
        if checkpoint.config.task != "reconstruct":
            raise InputError(f"{folder}: expected an autoencoder, found a run with --task {checkpoint.config.task}")
        model: nn.Module = build_model(checkpoint.config)
        load_weights(model, checkpoint, str(file))
        model.eval()
        before = [*before, model][-averaged:]
        yield Point(
            checkpoint.metrics["updates"],
            train_l2(model, checkpoint.config, split),
            score(model, checkpoint, split),
            score(estimated_anew(model, split), checkpoint, split),
            score(estimated_anew(mean_of(before), split), checkpoint, split),
        )


def score(model: nn.Module, checkpoint: Checkpoint, split: Split) -> float:
    scores = image_scores(model, split.test, round(checkpoint.config.patches**0.5)).numpy()
    anomalous = np.asarray(split.labels, bool)
    return auroc(scores[~anomalous], scores[anomalous]).value


def estimated_anew(model: nn.Module, split: Split) -> nn.Module:
    """A copy whose batch norms have the statistics of all training images."""
    result = copy.deepcopy(model)
    recalibrate(result, split.train.split(RECALIBRATION_BATCH), lambda module, images: module(images))
    return result.eval()


@torch.no_grad()
def mean_of(models: Sequence[nn.Module]) -> nn.Module:
    """A model whose parameters are the means of those of `models`."""
    result = copy.deepcopy(models[-1])
    for parameter, *others in zip(result.parameters(), *(model.parameters() for model in models), strict=True):
        parameter.copy_(torch.stack(others).double().mean(0))
    return result

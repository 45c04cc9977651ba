"""What trained autoencoders make of test images: reconstructions, error maps and scores, and which images to show."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.patches import Patched
from training.data.pixels import error_map
from training.data.score import anomaly_score
from training.data.splits import Split
from training.fitting.checkpoint import Checkpoint, load_checkpoint, load_weights
from training.fitting.origin import data_of
from training.models.autoencoder import build_model
from training.runtime.command import InputError


def fig4_panels(
    paths: Sequence[Path], data_dir: str | None, ids: Sequence[str], normal: int, anomalous: int, seed: int
) -> dict[str, NDArray[Any]]:
    """What Fig. 4 draws, for I images of shape (C, H, W) and M models.

    `input` (I, C, H, W), `reconstruction` (M, I, C, H, W), `error` (M, I, H, W): squared error, mean over channels;
    `score` (M, I): the anomaly scores, which are the means of the error maps. Of the images `label` (I,) bool, `class`,
    `id`; of the models `loss`, `run` (the checkpoint's folder) and `auroc` (NaN if not measured). `mask` (I, H, W) bool
    for data that have masks. `ids` names the images; without, :func:`choose` does.
    Raises InputError for a checkpoint that cannot be used or is not of the same data as the first.
    """
    checkpoints = [load_checkpoint(path) for path in paths]
    check_same_data(paths, checkpoints)
    split = data_of(paths[0], checkpoints[0], data_dir)
    shown = named(split, ids) if ids else choose(split, normal, anomalous, seed)
    images = split.test[shown]
    outputs = [reconstruct(checkpoint, path, images) for checkpoint, path in zip(checkpoints, paths, strict=True)]
    panels = {
        "input": images.numpy(),
        "reconstruction": torch.stack(outputs).numpy(),
        "error": torch.stack([error_map(output, images) for output in outputs]).numpy(),
        "score": torch.stack([anomaly_score(output, images) for output in outputs]).numpy(),
        "label": split.labels[shown],
        "class": np.array([split.classes[i] for i in shown]),
        "id": np.array([split.ids[i] for i in shown]),
        "loss": np.array([checkpoint.config.loss for checkpoint in checkpoints]),
        "run": np.array([path.resolve().parent.name for path in paths]),
        "auroc": np.array([checkpoint.metrics.get("auroc", np.nan) for checkpoint in checkpoints], np.float64),
    }
    return panels if split.masks is None else {**panels, "mask": split.masks[shown]}


def check_same_data(paths: Sequence[Path], checkpoints: Sequence[Checkpoint]) -> None:
    """Raise InputError unless there are checkpoints, and all were trained on the data of the first."""
    if not checkpoints:
        raise InputError("checkpoints: expected one or more that training.train wrote, found none")
    first = checkpoints[0].data_digest
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        if checkpoint.data_digest != first:
            raise InputError(
                f"{path}: expected the data of {paths[0]} (SHA-256 {first[:12]}…), found "
                f"{checkpoint.data_digest[:12]}…; compare models of the same data set, normal class and image size"
            )


def reconstruct(checkpoint: Checkpoint, path: Path, images: Tensor) -> Tensor:
    """The images as the checkpoint's model reconstructs them, in evaluation mode, stitched if it is one of patches."""
    config = checkpoint.config
    model: nn.Module = build_model(config)
    load_weights(model, checkpoint, str(path))
    model = Patched(model, round(config.patches**0.5), config.image_size).eval()
    with torch.inference_mode():
        return model(images)


def named(split: Split, ids: Sequence[str]) -> list[int]:
    """Indices of the test images with these ids, in their order; InputError for one that there is not.

    In a data set of folders a normal and an anomalous image may share an id, which then names both.
    """
    index: dict[str, list[int]] = {}
    for i, name in enumerate(split.ids):
        index.setdefault(name, []).append(i)
    for name in ids:
        if name not in index:
            raise InputError(f"--ids {name}: expected an id of scores.csv, such as {split.ids[0]}, found no such image")
    return [i for name in ids for i in index[name]]


def choose(split: Split, normal: int, anomalous: int, seed: int) -> list[int]:
    """Indices of test images to show: drawn blindly, so that no one can pick those that flatter a model.

    All test images are put in one seeded order. The first `normal` normal ones are taken, and from the classes of
    anomalies (the other digits, or the types of defects) in turn the first of each, then the second of each, and so on
    until there are `anomalous`; 0 takes one of each class. They are shown normal first, then by class.
    Raises InputError if there are not as many.
    """
    order = np.random.default_rng(seed).permutation(len(split.labels))
    normals = [int(i) for i in order if not split.labels[i]]
    by_class: dict[str, list[int]] = {}
    for i in order:
        if split.labels[i]:
            by_class.setdefault(split.classes[i], []).append(int(i))
    # The classes come in the seeded order, so that with fewer images than classes nobody has chosen the classes either.
    anomalies = [i for turn in zip_longest(*by_class.values()) for i in turn if i is not None]
    anomalous = anomalous or len(by_class)
    check_count("--normal-images", normal, len(normals))
    check_count("--anomalous-images", anomalous, len(anomalies))
    return normals[:normal] + sorted(anomalies[:anomalous], key=lambda i: split.classes[i])


def check_count(option: str, wanted: int, there: int) -> None:
    """Raise InputError unless the test split has as many images as are wanted."""
    if not 0 <= wanted <= there:
        raise InputError(f"{option}: expected 0 to {there}, as many as the test split has, found {wanted}")

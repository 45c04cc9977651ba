"""What a surface's file says of its model, as text for figures; and what keeps two surfaces from being compared."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.parts.style import label
from landscape.files.grid import Grid
from training.data.score import wilson_interval
from training.runtime.command import InputError


def config_of(grid: Grid) -> dict[str, Any]:
    """The model's training configuration, empty for a user's own problem."""
    config = grid.meta.get("config", {})
    return config if isinstance(config, dict) else {}


def probe_of(grid: Grid) -> dict[str, Any]:
    """Of a linear probe, what it states of the autoencoder whose encoder it has; empty for other models."""
    probe = grid.meta.get("checkpoint_metrics", {}).get("probe", {})
    return probe if isinstance(probe, dict) else {}


def plane_meta(grid: Grid) -> dict[str, Any]:
    """What the file says of the kind of its plane; empty of random directions."""
    plane = grid.meta.get("plane", {})
    return plane if isinstance(plane, dict) else {}


def settings_of(grid: Grid) -> dict[str, Any]:
    """The configuration that a model is compared by: its own, or for a probe that of the autoencoder."""
    return {**config_of(grid), **probe_of(grid)}


def score_text(grid: Grid) -> str:
    """AUROC or accuracy of the checkpoint with its 95% interval; empty where there is neither.

    The interval of an AUROC is the checkpoint's, that of an accuracy Wilson's over the test images, if their number is
    known.
    """
    scores = grid.meta.get("checkpoint_metrics", {})
    if {"auroc", "auroc_low", "auroc_high"} <= set(scores):
        return f"AUROC {scores['auroc']:.3f} [{scores['auroc_low']:.3f}, {scores['auroc_high']:.3f}]"
    if "accuracy" not in scores:
        return ""
    text = f"accuracy {scores['accuracy']:.3f}"
    if "n_test" in scores:
        low, high = wilson_interval(scores["accuracy"], scores["n_test"])
        text += f" [{low:.3f}, {high:.3f}]"
    return text


def value_at_model(grid: Grid, values: NDArray[np.float64]) -> float | None:
    """The value of a plane at the model itself; None if the grid has no such point, or none is known there."""
    here = np.flatnonzero(grid.x.values == 0), np.flatnonzero(grid.y.values == 0)
    if not all(len(index) for index in here):
        return None
    value = float(values[here[1][0], here[0][0]])
    return None if np.isnan(value) else value


def model_text(grid: Grid, source: str) -> str:
    """The model in a few words: its training loss and batch size and its score, or its name, or else the file."""
    config = config_of(grid)
    parts = [
        f"trained with {label(config['loss'])}" if "loss" in config else str(grid.meta.get("name") or source),
        f"batch {config['batch_size']}" if "batch_size" in config else "",
        score_text(grid),
    ]
    return SEPARATOR.join(part for part in parts if part)


SEPARATOR = "  |  "


def wrapped(text: str, width: int = 115) -> str:
    """Text in lines of at most `width` characters, about a page, broken between its parts; longer parts are cut.

    >>> wrapped("trained with L2  |  batch 128  |  AUROC 0.900", 32)
    'trained with L2  |  batch 128\\nAUROC 0.900'
    """
    lines: list[str] = []
    for part in text.split(SEPARATOR):
        if lines and len(lines[-1] + SEPARATOR + part) <= width:
            lines[-1] += SEPARATOR + part
        else:
            lines += textwrap.wrap(part, width)
    return "\n".join(lines)


def hole_text(grid: Grid, metric: str, planes: Sequence[int]) -> str:
    """Why there are holes, or fewer points than asked for: how many are not computed, or diverged; else empty."""
    done, values = grid.done[list(planes)], grid.values[metric][list(planes)]
    left, diverged = int((~done).sum()), int((done & ~np.isfinite(values)).sum())
    parts = [
        f"unfinished: {done.mean():.0%} of {done.size} points" if left else "",
        f"{diverged} of {done.size} points diverged" if diverged else "",
    ]
    return ", ".join(part for part in parts if part)


def chosen_metric(grids: Sequence[Grid], wanted: str = "") -> str:
    """The metric that is wanted, or else l2 if all files have it, or else the first that all have."""
    common = [name for name in grids[0].values if all(name in grid.values for grid in grids)]
    if wanted:
        return wanted
    if not common:
        found = " / ".join(", ".join(grid.values) for grid in grids)
        raise InputError(f"surfaces: expected files with a metric in common, found {found}; draw each by itself")
    return "l2" if "l2" in common else common[0]


def definition_of(grid: Grid, metric: str) -> str:
    """What a metric is, in words; empty of a file that does not say."""
    return str(grid.meta["metrics"][metric].get("definition", ""))


def metric_text(grids: Sequence[Grid], metric: str) -> str:
    """The metric as a colour bar's label, with what a sample's loss is summed over."""
    definitions = " ".join(definition_of(grid, metric) for grid in grids)
    for over in ("pixels", "classes"):
        if f"summed over {over}" in definitions:
            return f"{label(metric)} loss (sum over {over})"
    return label(metric)


def data_text(grid: Grid) -> str:
    """What the model was trained on: the data set, and which of it is normal; empty for a user's own problem."""
    config = config_of(grid)
    if "dataset" not in config:
        return ""
    if config.get("task") == "classify":
        of = f", encoders of normal: {probe_of(grid).get('normal')}" if probe_of(grid) else ""
        return f"{config['dataset']}, all digits{of}"
    normal = {"mvtec": config.get("category"), "folder": Path(config.get("train_dir", "")).name}
    return f"{config['dataset']}, normal: {normal.get(config['dataset'], config.get('normal'))}"


PLANE = ("plane", "seed", "normalization", "orthogonal")  # what directions depend on


def differences(grids: Sequence[Grid]) -> list[str]:
    """What two surfaces must have in common to be compared, and these have not: plane, range, images.

    Where the directions themselves are the same, such as those taken from another file, it does not matter how they
    were made.
    """
    names = ("plane", "x", "y", "seed", "normalization", "orthogonal", "data", "samples", "batch_norm", "precision")
    identities = [grid.meta.get("identity", {}) for grid in grids]
    found = [name for name in names if any(other.get(name) != identities[0].get(name) for other in identities)]
    digests = {grid.meta.get("directions") for grid in grids}
    same_directions = len(digests) == 1 and None not in digests
    return [name for name in found if not (same_directions and name in PLANE)]

"""Averages of AUROC over tasks with an interval over test images and training seeds together.

MNIST's ten tasks share their test images: an image of digit 3 is normal in one task and anomalous in nine, so the
tasks' errors are not independent. Images are therefore drawn anew for all tasks and losses at once, within each digit;
seeds within each task, for both losses at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CHUNK = 50  # resamples at a time: with 10,000 images a few MB


@dataclass(frozen=True)
class Task:
    """Scores (losses, seeds, images) of one task, and which images are anomalies there."""

    scores: Floats
    anomalous: NDArray[np.bool_]


@dataclass(frozen=True)
class Average:
    """A mean over tasks and seeds, with its 95% percentile interval."""

    mean: float
    low: float
    high: float


def weighted_auroc(scores: Floats, anomalous: NDArray[np.bool_], weights: Floats) -> Floats:
    """AUROC of the scores (n,) under each row of the image weights (R, n), ties counted half -> (R,).

    `Σ_a w_a (C(below a) + C(not above a))/2 / (Σ_a w_a Σ_n w_n)`, C the cumulative weight of the normal images in the
    order of their scores, which is found once for all rows. NaN for a row in which a class has no weight.
    """
    normal = np.flatnonzero(~anomalous)
    normal = normal[np.argsort(scores[normal])]
    positive = np.flatnonzero(anomalous)
    positive = positive[np.argsort(scores[positive])]  # ascending, so that memory is read in order
    below = np.searchsorted(scores[normal], scores[positive], side="left")
    not_above = np.searchsorted(scores[normal], scores[positive], side="right")
    cumulative = np.zeros((len(weights), len(normal) + 1))
    np.cumsum(weights[:, normal], axis=1, out=cumulative[:, 1:])
    of_anomalies = weights[:, positive]
    both = cumulative[:, below]
    # Without equal scores of both classes, which is the rule, the two are the same.
    both = both if np.array_equal(below, not_above) else (both + cumulative[:, not_above]) / 2
    total = cumulative[:, -1] * of_anomalies.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.einsum("rn,rn->r", of_anomalies, both) / total


def strata_of(anomalous: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """The stratum of each image: images that are normal in the same tasks belong together (for MNIST: the digit)."""
    patterns = np.stack(list(anomalous), axis=1)
    return np.unique(patterns, axis=0, return_inverse=True)[1].reshape(-1)


def image_weights(strata: NDArray[np.int64], resamples: int, generator: np.random.Generator) -> Iterator[Floats]:
    """How often each image is drawn, in chunks (≤ CHUNK, n): from each stratum as many as it has, with replacement."""
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        weights = np.zeros((count, len(strata)))
        rows = np.arange(count)[:, None]
        for images in members:
            drawn = generator.integers(len(images), size=(count, len(images)))
            flat = np.bincount((rows * len(images) + drawn).ravel(), minlength=count * len(images))
            weights[:, images] = flat.reshape(count, -1)
        yield weights


def resampled_aurocs(tasks: Sequence[Task], resamples: int, generator: np.random.Generator) -> list[Floats]:
    """AUROC with the same redrawn images for all tasks, which share them: of each task (losses, seeds, resamples)."""
    strata = strata_of([task.anomalous for task in tasks])
    found: list[list[Floats]] = [[] for _ in tasks]
    for weights in image_weights(strata, resamples, generator):
        for task, parts in zip(tasks, found, strict=True):
            flat = task.scores.reshape(-1, task.scores.shape[-1])
            parts.append(np.stack([weighted_auroc(scores, task.anomalous, weights) for scores in flat]))
    return [
        np.concatenate(parts, axis=1).reshape(*task.scores.shape[:2], resamples)
        for task, parts in zip(tasks, found, strict=True)
    ]


def drawn_seeds(aurocs: Floats, generator: np.random.Generator) -> Floats:
    """The mean over redrawn seeds, the same for all losses: (losses, seeds, resamples) -> (losses, resamples).

    Of S seeds, S - 1 are drawn with replacement, which makes the variance of the mean unbiased (Rao and Wu 1988);
    drawing S would make it too small by (S - 1)/S, a third with three seeds. A single seed is kept: the interval then
    holds images alone.
    """
    _, seeds, resamples = aurocs.shape
    if seeds == 1:
        return aurocs[:, 0]
    drawn = generator.integers(seeds, size=(seeds - 1, resamples))
    return np.stack([of_loss[drawn, np.arange(resamples)].mean(axis=0) for of_loss in aurocs])


def averages(worlds: Sequence[Sequence[Task]], resamples: int = 1000, seed: int = 0) -> tuple[list[Average], Average]:
    """The mean over tasks of each loss, and of the difference of the second from the first, with bootstrap intervals.

    `worlds` are lists of tasks that share their test images; images of different worlds are drawn independently. Every
    task has scores of both losses for each of its seeds. The mean is over each task's seeds, then over tasks.
    """
    generator = np.random.default_rng(seed)
    means: list[Floats] = []
    redrawn: list[Floats] = []
    for tasks in worlds:
        whole = np.ones((1, tasks[0].scores.shape[-1]))
        for task in tasks:
            flat = task.scores.reshape(-1, task.scores.shape[-1])
            each = np.array([weighted_auroc(scores, task.anomalous, whole)[0] for scores in flat])
            means.append(each.reshape(task.scores.shape[:2]).mean(axis=1))
        redrawn += [drawn_seeds(aurocs, generator) for aurocs in resampled_aurocs(tasks, resamples, generator)]
    mean, samples = np.mean(means, axis=0), np.mean(redrawn, axis=0)
    of_losses = [average_of(float(value), row) for value, row in zip(mean, samples, strict=True)]
    return of_losses, average_of(float(mean[-1] - mean[0]), samples[-1] - samples[0])


def average_of(mean: float, samples: Floats) -> Average:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Average(mean, float(low), float(high))

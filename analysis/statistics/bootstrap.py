"""Averages of AUROC over tasks with an interval over test images and training seeds together.

MNIST's ten tasks share their test images: an image of digit 3 is normal in one task and anomalous in nine, so the
tasks' errors are not independent. Images are therefore drawn anew for all tasks and losses at once, within each digit.
Seeds are drawn for both losses at once, and both within each task and for all tasks at once: a seed gives every task
the same initial weights, so that tasks may well share a seed's effect, and of few seeds neither way shows the whole
spread. The wider interval is taken.
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


def drawn_seeds(aurocs: Sequence[Floats], jointly: bool, generator: np.random.Generator) -> Floats:
    """The mean over redrawn seeds, the same for all losses: of each task (losses, seeds, resamples).

    Returns (tasks, losses, resamples). Of S seeds, S - 1 are drawn with replacement, which makes the variance of the
    mean unbiased (Rao and Wu 1988); drawing S would make it too small by (S - 1)/S, a third with three seeds. A single
    seed is kept: the interval then holds images alone. With `jointly` every task, all of S seeds in the same order,
    gets the same.
    """
    means, drawn = [], None
    for of_task in aurocs:
        _, seeds, resamples = of_task.shape
        if seeds == 1:
            means.append(of_task[:, 0])
            continue
        if drawn is None or not jointly:
            drawn = generator.integers(seeds, size=(seeds - 1, resamples))
        means.append(np.stack([of_loss[drawn, np.arange(resamples)].mean(axis=0) for of_loss in of_task]))
    return np.stack(means)


def averages(worlds: Sequence[Sequence[Task]], resamples: int = 1000, seed: int = 0) -> tuple[list[Average], Average]:
    """The mean over tasks of each loss, and of the difference of the second from the first, with bootstrap intervals.

    `worlds` are lists of tasks that share their test images; images of different worlds are drawn independently. Every
    task has scores of both losses for each of its seeds. The mean is over each task's seeds, then over tasks.
    """
    generator = np.random.default_rng(seed)
    means: list[Floats] = []
    aurocs: list[Floats] = []
    for tasks in worlds:
        whole = np.ones((1, tasks[0].scores.shape[-1]))
        for task in tasks:
            flat = task.scores.reshape(-1, task.scores.shape[-1])
            each = np.array([weighted_auroc(scores, task.anomalous, whole)[0] for scores in flat])
            means.append(each.reshape(task.scores.shape[:2]).mean(axis=1))
        aurocs += resampled_aurocs(tasks, resamples, generator)
    crossed = len({of_task.shape[1] for of_task in aurocs}) == 1
    draws = [
        drawn_seeds(aurocs, jointly, generator).mean(axis=0) for jointly in ([False, True] if crossed else [False])
    ]
    mean = np.mean(means, axis=0)
    of_losses = [widest(float(value), [draw[i] for draw in draws]) for i, value in enumerate(mean)]
    return of_losses, widest(float(mean[-1] - mean[0]), [draw[-1] - draw[0] for draw in draws])


def widest(mean: float, draws: Sequence[Floats]) -> Average:
    """The mean with the wider of the 95% percentile intervals of several ways of drawing."""
    intervals = [np.quantile(samples, [0.025, 0.975]) for samples in draws]
    low, high = max(intervals, key=np.ptp)
    return Average(mean, float(low), float(high))

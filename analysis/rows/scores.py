"""`scores.csv` of a run: id, label (0 normal, 1 anomalous) and anomaly score of each test image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.rows.results import read_table
from training.runtime.command import InputError


@dataclass(frozen=True)
class RunScores:
    """Ids, anomaly marks and scores of the test images, in the order of the file, all (n,)."""

    ids: tuple[str, ...]
    anomalous: NDArray[np.bool_]
    scores: NDArray[np.float64]


def read_scores(path: Path) -> RunScores:
    """Read a scores.csv; InputError unless it has labels 0 and 1, finite scores and every id once."""
    header, rows = read_table(path, ("id", "label", "score"), "what training.train writes as scores.csv")
    ids, labels, texts = ([row[header.index(name)] for row in rows] for name in ("id", "label", "score"))
    try:
        scores = np.array(texts, np.float64)
    except ValueError:
        raise InputError(f"{path}: expected numbers as scores, found others; train the run again") from None
    if set(labels) != {"0", "1"} or not np.isfinite(scores).all() or len(set(ids)) < len(ids):
        raise InputError(
            f"{path}: expected both labels 0 and 1, finite scores and each id once, found otherwise; train the run "
            f"again"
        )
    return RunScores(tuple(ids), np.array([label == "1" for label in labels]), scores)


def check_same_images(one: RunScores, other: RunScores, what: str, labels: bool = True) -> None:
    """Raise InputError unless both runs scored the same images in the same order, with the same labels if `labels`."""
    if one.ids != other.ids or (labels and not np.array_equal(one.anomalous, other.anomalous)):
        raise InputError(
            f"{what}: expected scores of the same test images in the same order, found others; train them on the "
            f"same data"
        )

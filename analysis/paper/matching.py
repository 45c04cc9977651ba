"""Which evaluation of a run is compared: histories cut to a match, then a selection protocol; pure functions.

The match cuts a history: after so many epochs (or not at all), after so many updates, or at the first evaluation whose
common training L2 is at most a threshold. The protocol then selects among what is left. With `fit` and `last` that is
the first crossing.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analysis.rows.results import Evaluation

History = Sequence[Evaluation]


@dataclass(frozen=True)
class Crossing:
    """The first evaluation at or below the threshold; `updates` is that of the last evaluation if censored."""

    updates: float
    censored: bool
    index: int


def last(history: History) -> Evaluation | None:
    return history[-1] if history else None


def least_validation(history: History) -> Evaluation | None:
    """The evaluation with the least L2 of the held-out normal images, the earliest of equals."""
    known = [at for at in history if not math.isnan(at.validation_l2)]
    return min(known, key=lambda at: at.validation_l2) if known else None


def best_auroc(history: History) -> Evaluation | None:
    """The evaluation with the best test AUROC, the earliest of equals: what tuning on the test set means."""
    known = [at for at in history if not math.isnan(at.auroc)]
    return max(known, key=lambda at: at.auroc) if known else None


PROTOCOLS: dict[str, Callable[[History], Evaluation | None]] = {
    "last": last,
    "validation": least_validation,
    "oracle": best_auroc,
}
PROTOCOL_TEXTS = {
    "last": "last epoch",
    "validation": "least L2 of held-out normal images",
    "oracle": "best test AUROC, that is tuning on the test set",
}


def until_epoch(history: History, epoch: float) -> History:
    """The evaluations up to the first with so many whole epochs; all of them for 0 or NaN."""
    if not epoch > 0:
        return history
    for index, at in enumerate(history):
        if at.epoch >= epoch:
            return history[: index + 1]
    return history


def until_updates(history: History, updates: float) -> History:
    """The evaluations at or before so many updates."""
    return [at for at in history if at.updates <= updates]


def common_updates(histories: Iterable[History]) -> float:
    """The largest number of updates that all runs have reached."""
    return min((history[-1].updates for history in histories if history), default=math.nan)


def first_crossing(history: History, threshold: float) -> Crossing:
    """When the common training L2 (evaluation mode) is first at most `threshold`, to the grain of the evaluations."""
    for index, at in enumerate(history):
        if at.train_l2 <= threshold:
            return Crossing(at.updates, False, index)
    return Crossing(history[-1].updates if history else math.nan, True, -1)


def until_crossing(history: History, threshold: float) -> History:
    """The evaluations up to the first crossing; none if the run is censored."""
    return history[: first_crossing(history, threshold).index + 1]


MATCHINGS: dict[str, Callable[[History, float], History]] = {
    "epochs": until_epoch,
    "updates": until_updates,
    "fit": until_crossing,
}


def log_ratio_of_curves(base: History, other: History) -> float:
    """Mean over the updates at which both were evaluated of ln(train L2 of other / of base).

    Below 0 the other curve lies lower: it has converged faster. NaN without a common evaluation.
    """
    lower = {at.updates: at.train_l2 for at in base}
    pairs = [(lower[at.updates], at.train_l2) for at in other if at.updates in lower]
    ratios = [math.log(y / x) for x, y in pairs if x > 0 and y > 0 and math.isfinite(x) and math.isfinite(y)]
    return sum(ratios) / len(ratios) if ratios else math.nan

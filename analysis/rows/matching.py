"""Which evaluation of a run is compared: histories cut to a match, then a selection protocol; pure functions.

The match cuts a history: after so many epochs (or not at all), after so many updates, or where the common training L2
first falls to a threshold. The protocol then selects among what is left. With `fit` and `last` that is the crossing
itself, interpolated between the evaluations around it: losses that fall at different speeds overshoot a threshold by
different amounts, so the first evaluation below it is not an equal fit.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analysis.rows.results import Evaluation

History = Sequence[Evaluation]


@dataclass(frozen=True)
class Crossing:
    """Where the training L2 falls to a threshold.

    `at` is the evaluation there, interpolated; `index` that of the first evaluation at or below. If the threshold is
    never reached, the run is censored: `at` is None and `updates` that of the last evaluation.
    """

    updates: float
    at: Evaluation | None
    index: int

    @property
    def censored(self) -> bool:
        return self.at is None


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
    """Where the common training L2 (evaluation mode) first falls to `threshold`, between two evaluations."""
    for index, at in enumerate(history):
        if at.train_l2 <= threshold:
            found = between(history[index - 1], at, threshold) if index else at
            return Crossing(found.updates, found, index)
    return Crossing(history[-1].updates if history else math.nan, None, -1)


def between(above: Evaluation, below: Evaluation, threshold: float) -> Evaluation:
    """What an evaluation would have found where the training L2 was `threshold`, between two that lie around it.

    Linear in the logarithm of the L2, as AUROC goes with it; epochs and updates on a logarithmic scale too, since
    evaluations are spaced so. `below` itself where `above` is not finite.
    """
    if not math.isfinite(above.train_l2) or not 0 < below.train_l2 < threshold < above.train_l2:
        return below
    share = math.log(above.train_l2 / threshold) / math.log(above.train_l2 / below.train_l2)

    def at(name: str) -> float:
        first, second = getattr(above, name), getattr(below, name)
        if name in ("epoch", "updates") and first > 0 and second > 0:
            return math.exp((1 - share) * math.log(first) + share * math.log(second))
        return (1 - share) * first + share * second

    values = {field.name: at(field.name) for field in dataclasses.fields(Evaluation)}
    return Evaluation(**{**values, "train_l2": threshold})


def until_crossing(history: History, threshold: float) -> History:
    """The evaluations before the threshold is reached, and that of the crossing; none if the run is censored."""
    crossing = first_crossing(history, threshold)
    return [] if crossing.at is None else [*history[: crossing.index], crossing.at]


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

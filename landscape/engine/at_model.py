"""Metrics at the model itself: ranks must find the same there, and a surface around no finite value is told at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.engine.evaluate import Evaluator
from landscape.engine.extremes import ExtremesMetric
from landscape.problem.metric import Metric
from training.runtime.command import AgreedError

SAME_WITHIN = 1e-2, 1e-6  # relative and absolute: processors round otherwise, by less; other code is off by more


def values_at_model(evaluator: Evaluator) -> np.ndarray:
    """Values and standard errors, (2, metrics), at the base weights."""
    return evaluator.at(0, [0.0] * len(evaluator.directions[0]))


def check_same_values(comm: Any | None, metrics: Sequence[Metric], values: np.ndarray) -> None:
    """Raise AgreedError on all ranks, naming one, unless each found what rank 0 found at the model. Collective.

    It tells apart what no digest of files does: other code that a user's problem calls, another library below it.
    Eigenvalues, which may just converge on one rank and just not on another, are left out.
    """
    if comm is None or comm.size == 1:
        return
    compared = [number for number, metric in enumerate(metrics) if not isinstance(metric, ExtremesMetric)]
    everyone = np.array(comm.allgather(values[0, compared]))
    relative, absolute = SAME_WITHIN
    same = np.isclose(everyone, everyone[0], relative, absolute, equal_nan=True)
    if not same.all():
        rank, number = (int(i) for i in np.argwhere(~same)[0])
        raise AgreedError(
            f"rank {rank}: expected {metrics[compared[number]].name} {everyone[0, number]:.8g} at the model, as rank 0 "
            f"finds, found {everyone[rank, number]:.8g}; see that all ranks run the same code on the same files"
        )


def notes_on_values(metrics: Sequence[Metric], values: np.ndarray) -> list[str]:
    """What a user should know of metrics that have no finite value at the model, one line each."""
    return [
        f"{metric.name} is {value:g} at the model itself: what the file shows of it is no landscape of a trained model"
        for metric, value in zip(metrics, values[0], strict=True)
        if not np.isfinite(value)
    ]

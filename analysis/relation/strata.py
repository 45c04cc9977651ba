"""Over which checkpoints a correlation with AUROC is a mean (digits, losses), and what a partial one is given."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.relation.measured import Checkpoints
from analysis.statistics.clusters import Draws
from analysis.statistics.jackknife import without_each_seed

Floats = NDArray[np.float64]
Forms = dict[str, tuple[Draws, Draws | None, Draws | None]]
WITHIN = "_within"
WITHIN_LOSS = "_within_loss"  # within digit and training loss; of Spearman's coefficient alone


def loss_codes(checkpoints: Checkpoints) -> NDArray[np.int64]:
    """The number of each checkpoint's training loss in their alphabetical order."""
    return np.unique(checkpoints.setting("loss"), return_inverse=True)[1].reshape(-1).astype(np.int64)


def covariates(checkpoints: Checkpoints) -> dict[str, list[Floats]]:
    """What partial correlations are given, by name: training L2, and batch size and loss where they vary (the loss as
    an indicator, 0 or 1, of each loss but the first)."""
    batches = np.array([run.group.batch_size for run in checkpoints.runs], np.float64)
    losses = loss_codes(checkpoints)
    found = {
        "training L2": [checkpoints.values["train_l2"]],
        "batch size": [batches] if len(set(batches)) > 1 else [],
        "loss": [(losses == code).astype(np.float64) for code in range(1, losses.max() + 1)],
    }
    return {name: columns for name, columns in found.items() if columns}


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def forms(checkpoints: Checkpoints, draws: Draws | None) -> Forms:
    """By the ending of a statistic's name over what it is a mean: the checkpoints as they are, resampled, and without
    each seed."""
    tasks, losses = checkpoints.task_codes(), loss_codes(checkpoints)
    itself, without = identity_draws(tasks), without_each_seed(tasks, checkpoints.seed_codes())
    found: Forms = {
        "": (itself.merged(), draws.merged() if draws else None, without.merged() if without else None),
        WITHIN: (itself, draws, without),
    }
    if losses.max() > 0:
        parts = draws.split(losses) if draws else None, without.split(losses) if without else None
        found[WITHIN_LOSS] = (itself.split(losses), *parts)
    return found


def identity_draws(tasks: NDArray[np.int64]) -> Draws:
    """The one resample in which every row stands once."""
    rows = [np.flatnonzero(tasks == task) for task in np.unique(tasks)]
    return Draws(1, rows, [np.zeros(1, np.int64)] * len(rows), [np.ones((1, len(of_task))) for of_task in rows])

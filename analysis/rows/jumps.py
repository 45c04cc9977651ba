"""The table of a trajectory's AUROC, scored in several ways, and how far it jumps between neighbours."""

from collections.abc import Sequence

import numpy as np

#: as trained; with batch norm's statistics estimated anew; the mean of the last weights, statistics estimated anew
WAYS = ("auroc", "auroc_recalibrated", "auroc_averaged")
COLUMNS = ("run", "loss", "lamp_scale", "lamp_detach", "lr", "seed", "updates", "train_l2", *WAYS)


def jump(values: Sequence[float]) -> float:
    """The mean distance between neighbours in the second half of `values`; NaN of fewer than two."""
    late = np.asarray(values)[len(values) // 2 :]
    return float(np.abs(np.diff(late)).mean()) if len(late) > 1 else float("nan")

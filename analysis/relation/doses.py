"""Arms of twins against plain training at the same fit: how much sharper each dose made them, and their AUROC.

An arm is what `sam_rho`, `sam_direction`, the loss and the fit (`until_l2`) say; its plain twins have none of them but
the fit. Pairs share digit and seed. Intervals are Student's over seeds of the mean over digits.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.relation.differences import difference, pair, short_of_fit
from analysis.relation.measured import Checkpoints
from analysis.rows.matching import first_crossing
from analysis.rows.results import LAMP_FIELDS, Evaluation
from analysis.statistics.paired import MeanInterval, mean_interval
from training.runtime.command import InputError

COLUMNS = (
    *("fit", "arm", "loss", "direction", "rho", "pairs", "digits", "seeds", "short", "ratio", "ratio_low"),
    *("ratio_high", "auroc", "auroc_low", "auroc_high", "auroc_at_fit", "auroc_at_fit_low", "auroc_at_fit_high"),
)
FREE = ("sam_rho", "sam_direction", "loss", *LAMP_FIELDS)
AT_FIT = "auroc_at_fit"
Histories = Mapping[str, Sequence[Evaluation]]


@dataclass(frozen=True)
class Arm:
    """ratio: of the measure's geometric means, arm over plain, with its interval; auroc: difference at the stop, and
    at_fit where both were interpolated to the fit itself; short: runs of the arm that never reached the fit.
    """

    fit: float
    loss: str
    direction: str
    rho: float
    pairs: int
    digits: int
    seeds: int
    short: int
    ratio: tuple[float, float, float]
    auroc: MeanInterval
    at_fit: MeanInterval

    @property
    def name(self) -> str:
        """Such as `SAM 0.05`, `reverse -0.02`, `random 0.05` or `l2-lamp`."""
        if self.rho == 0:
            return self.loss
        kind = "random" if self.direction == "random" else "SAM" if self.rho > 0 else "reverse"
        return f"{kind} {self.rho:g}"

    def cells(self) -> list[str]:
        """A row of the table, by COLUMNS."""
        values = [*self.ratio, *(getattr(one, end) for one in (self.auroc, self.at_fit) for end in ENDS)]
        numbers = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
        counts = (self.pairs, self.digits, self.seeds, self.short)
        return [f"{self.fit:g}", self.name, self.loss, self.direction, f"{self.rho:g}", *map(str, counts), *numbers]


ENDS = ("mean", "low", "high")


def arms(checkpoints: Checkpoints, measure: str, histories: Histories) -> list[Arm]:
    """Every arm there is against the plain twins of its fit, by fit, descending, loss, direction and dose.

    InputError if a fit has no plain twins: L2 with a `sam_rho` of 0.
    """
    for name in ("sam_rho", "sam_direction", "until_l2"):
        if any(name not in run.settings for run in checkpoints.runs):
            raise InputError(f"results: expected twins with a setting {name}, found none; see sweeps/2core/doses.toml")
    interpolated = [at_fit(run.name, histories, float(run.settings["until_l2"])) for run in checkpoints.runs]
    checkpoints = replace(checkpoints, values={**checkpoints.values, AT_FIT: np.array(interpolated)})
    found = []
    for fit in sorted(set(checkpoints.setting("until_l2")), key=float, reverse=True):
        of_fit = [i for i, run in enumerate(checkpoints.runs) if run.settings["until_l2"] == fit]
        twins = checkpoints.taken(of_fit)
        keys = sorted({arm_key(run.settings) for run in twins.runs}, key=lambda key: (key[0], key[1], key[2]))
        plain = next((key for key in keys if key[2] == 0 and not key[0].endswith("-lamp")), None)
        if plain is None:
            raise InputError(f"results: expected plain twins (sam_rho 0) stopped at {fit}, found none; add their file")
        found += [arm(twins, plain, key, measure) for key in keys if key != plain]
    return found


def arm_key(settings: Mapping[str, str]) -> tuple[str, str, float]:
    return settings["loss"], settings["sam_direction"], float(settings["sam_rho"])


def arm(
    twins: Checkpoints,
    plain: tuple[str, str, float],
    key: tuple[str, str, float],
    measure: str,
) -> Arm:
    texts = {arm_key(run.settings): run.settings["sam_rho"] for run in twins.runs}
    conditions = [
        (f"loss={loss}", f"sam_direction={direction}", f"sam_rho={texts[loss, direction, rho]}")
        for loss, direction, rho in (plain, key)
    ]
    mine = [i for i, run in enumerate(twins.runs) if arm_key(run.settings) == key]
    fit, short = float(twins.runs[0].settings["until_l2"]), sum(short_of_fit(twins, i) for i in mine)
    if short == len(mine):
        nothing = mean_interval([])
        return Arm(fit, *key, 0, 0, 0, short, (math.nan, math.nan, math.nan), nothing, nothing)
    pairs = pair(twins, conditions[0], conditions[1], FREE)
    of_measure, of_auroc, of_fit = (difference(pairs, name, None) for name in (measure, "auroc", AT_FIT))
    return Arm(
        fit,
        *key,
        of_measure.pairs,
        of_measure.digits,
        of_auroc.student.count,
        short,
        of_measure.ratio,
        of_auroc.student,
        of_fit.student,
    )


def at_fit(run: str, histories: Histories, fit: float) -> float:
    """AUROC where the training L2 first falls to `fit`, interpolated between evaluations; NaN without a history."""
    found = first_crossing(histories.get(run, ()), fit).at
    return math.nan if found is None else found.auroc

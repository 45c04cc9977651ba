"""The anomaly score, AUROC and accuracy, and intervals for them; needs no torch."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.runtime.command import InputError

Z95 = 1.959963984540054  # two-sided 95% of the standard normal


def anomaly_score(output: Any, target: Any) -> Any:
    """Mean squared error of each image over its pixels, (B, …) -> (B,), whatever the training loss was.

    Takes torch tensors or NumPy arrays, and returns the same kind.
    """
    if output.shape != target.shape:
        raise InputError(
            f"score: expected outputs of the targets' shape {tuple(target.shape)}, found {tuple(output.shape)}"
        )
    return ((target - output) ** 2).reshape(len(target), -1).mean(1)


@dataclass(frozen=True)
class AurocResult:
    """AUROC with its standard error and 95% interval over test images, and what it was measured on."""

    value: float
    stderr: float
    low: float
    high: float
    n_normal: int
    n_anomalous: int
    definition: str = "AUROC of the mean L2 per image; DeLong standard error, 95% logit interval"


def placements(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each anomalous score, the share of normal scores below it, ties counted half; shape of `anomalous`."""
    ordered = np.sort(normal)
    below = np.searchsorted(ordered, anomalous, side="left")
    not_above = np.searchsorted(ordered, anomalous, side="right")
    return (below + not_above) / (2.0 * len(ordered))


def auroc(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> AurocResult:
    """AUROC = P(anomalous > normal) + ½ P(equal), with its standard error after DeLong et al. (1988).

    The interval is symmetric on the logit scale, so it stays within [0, 1]. Where DeLong's variance is zero (perfect
    separation) or unknown (a class of one score; the standard error is then NaN) it is the score interval of Newcombe
    (2006), which has a width there too. A NaN score makes all NaN.
    Raises ValueError if either class is empty.
    """
    normal, anomalous = np.asarray(normal, np.float64).ravel(), np.asarray(anomalous, np.float64).ravel()
    check_classes(normal, anomalous)
    sizes = (len(normal), len(anomalous))
    if np.isnan(normal).any() or np.isnan(anomalous).any():
        return AurocResult(math.nan, math.nan, math.nan, math.nan, *sizes)
    of_anomalous = placements(normal, anomalous)
    of_normal = 1 - placements(anomalous, normal)
    value = float(of_anomalous.mean())
    stderr = math.sqrt(_variance_of_mean(of_anomalous) + _variance_of_mean(of_normal)) if min(sizes) > 1 else math.nan
    if 0 < value < 1 and stderr > 0:
        low, high = _logit_interval(value, stderr)
    else:
        low, high = _score_interval(value, *sizes)
    return AurocResult(value, stderr, low, high, *sizes)


def check_classes(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> None:
    """Raise ValueError unless both classes have at least one score."""
    if len(normal) == 0 or len(anomalous) == 0:
        raise ValueError(
            f"AUROC: expected normal and anomalous scores, found {len(normal)} normal and {len(anomalous)} anomalous"
        )


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) / len(values)


def _logit_interval(value: float, stderr: float) -> tuple[float, float]:
    centre = math.log(value / (1 - value))
    half = Z95 * stderr / (value * (1 - value))
    return _expit(centre - half), _expit(centre + half)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _score_interval(value: float, n_normal: int, n_anomalous: int) -> tuple[float, float]:
    """All θ with |value - θ| <= z·√V(θ), V being Hanley and McNeil's variance with the mean of the class sizes."""
    mean_size = (n_normal + n_anomalous) / 2 - 1

    def outside(theta: float) -> bool:
        spread = 1 + mean_size * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(value - theta) > Z95 * math.sqrt(theta * (1 - theta) * spread / (n_normal * n_anomalous))

    return _edge(value, 0.0, outside), _edge(value, 1.0, outside)


def _edge(inside: float, outer: float, outside: Any) -> float:
    """The border between `inside` and `outer` by bisection, or `outer` itself if the interval reaches it."""
    if inside == outer:
        return outer
    for _ in range(60):
        middle = (inside + outer) / 2
        inside, outer = (inside, middle) if outside(middle) else (middle, outer)
    return inside


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95% score interval of Wilson (1927) for a share observed in `count` independent trials, such as an accuracy.

    All p with |share - p| <= z·√(p(1 - p)/count); within [0, 1], and of some width at 0 and 1 too.
    Raises ValueError without trials.

    >>> tuple(round(end, 4) for end in wilson_interval(0.9, 100))
    (0.8256, 0.9448)
    """
    if count < 1:
        raise ValueError(f"interval: expected at least one trial, found {count}")
    weight = Z95**2 / count
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)

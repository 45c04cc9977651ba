"""How large the largest of many errors may be, told from a random sample of them."""

import math
from statistics import NormalDist

import numpy as np

from landscape.files.grid import Floats

CONFIDENCE = 0.95
SHARE, LEAST = 0.2, 5  # of the sample's errors, and least number, whose excesses tell of the tail


def upper_limit(errors: Floats, others: int, confidence: float = CONFIDENCE) -> float:
    """What the largest of `others` errors is below with `confidence`, if `errors` are a random sample beside them.

    Peaks over a threshold: above u, the largest error but the k largest of n, excesses follow a generalized Pareto
    distribution of scale σ and shape ξ, so that the largest of N is below

        u + σ/ξ·((k/(n·p))^ξ − 1),   p = 1 − confidence^(1/N).

    σ and ξ are those of the probability-weighted moments b₀ = mean y and b₁ = mean (1 − p_i)·y_(i) with p_i = (i −
    0.35)/k (Hosking and Wallis, "Parameter and quantile estimation for the generalized Pareto distribution", 1987),
    but ξ not below 0, as a tail is never taken to end, and σ at its own upper limit of the same confidence, that of an
    exponential tail: times 2k/χ², the quantile of 2k degrees of freedom. Of heavier tails the confidence is less than
    stated. Never below the largest of `errors`, which is all that is known where there are no others; inf if an error
    is not finite, or if there are too few to tell.
    """
    sample = np.sort(errors)
    if len(sample) and not np.isfinite(sample[-1]):
        return math.inf
    if not others:
        return float(sample[-1]) if len(sample) else 0.0
    count = min(max(LEAST, int(SHARE * len(sample))), len(sample) - 1)
    if count < LEAST:
        return math.inf
    threshold = sample[-count - 1]
    excesses = sample[-count:] - threshold
    weights = 1 - (np.arange(1, count + 1) - 0.35) / count
    first, second = float(excesses.mean()), float((weights * excesses).mean())
    if first == 0:
        return float(sample[-1])
    shape = 2 - first / (first - 2 * second)
    scale = 2 * first * second / (first - 2 * second)
    tail = 1 - confidence ** (1 / others)
    growth = math.log(count / len(sample) / tail)
    if shape <= 0:  # the exponential tail of the same mean
        shape, scale = 0.0, first
    scale *= 2 * count / chi_squared(1 - confidence, 2 * count)
    beyond = scale * (math.expm1(shape * growth) / shape if shape > 1e-9 else growth)
    return float(max(sample[-1], threshold + beyond))


def chi_squared(probability: float, freedom: int) -> float:
    """The quantile of χ² with `freedom` degrees, by Wilson and Hilferty (1931): within 1% from 10 degrees on.

    Their cube of a normal variable saves importing SciPy's distributions, which takes longer than the rest.
    """
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)) ** 3

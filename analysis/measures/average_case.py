"""Average-case sharpness: the mean rise of the loss under Gaussian noise on the weights, to a stated precision."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from analysis.measures.directional import mean_and_error
from landscape.hessian.objective import Objective


@dataclass(frozen=True)
class MeanRise:
    """The mean of L − L₀ and its standard error over `draws` pairs; whether that came within the wanted precision."""

    value: float
    stderr: float
    draws: int
    precise: bool


def mean_rise(
    objective: Objective, sigma: float, seed: int, precision: float = 0.05, fewest: int = 64, most: int = 256
) -> MeanRise:
    """Mean of L(θ + σ·|θ|∘z) − L₀ over draws of z ~ N(0, I) and their opposites, and its standard error.

    The adaptive average-case sharpness of Andriushchenko et al. (2023). A draw and its opposite are one value, whose
    first-order parts cancel. Drawn are `fewest`, twice as many, four times … until the standard error is at most
    `precision` of the mean, and never more than `most`.

    Few directions carry most of the curvature, so the values are spread to the right like a sum of few squares of
    normal numbers, and a mean that is too low comes with an error that is too small. Of a handful the error stated is
    often a fraction of the true one; and to stop at the first draw with a small error is to pick such means. Hence many
    draws before the first look, and few looks. A loss that diverges ends the draws at a look.
    """
    objective.move_to(objective.base)
    base = objective.value()
    source = torch.Generator().manual_seed(seed)
    noise = sigma * objective.base.abs()

    def pair() -> float:
        change = noise * torch.randn(objective.size, generator=source, dtype=torch.float64).to(objective.base)
        total = 0.0
        for moved in (objective.base + change, objective.base - change):
            objective.move_to(moved)
            total += objective.value() - base
        return total / 2

    rises: list[float] = []
    look = min(fewest, most)
    while True:
        rises += [pair() for _ in range(look - len(rises))]
        value, error = mean_and_error(np.array(rises))
        precise = bool(error <= precision * abs(value))
        if precise or len(rises) >= most or not math.isfinite(value):
            break
        look = min(2 * look, most)
    objective.move_to(objective.base)
    return MeanRise(value, error, len(rises), precise)

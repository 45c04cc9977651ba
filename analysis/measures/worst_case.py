"""Worst-case and average-case sharpness: the loss within a box, a ball, or an adaptive ball around the weights.

All are lower bounds of the maximum that they are named after: what so many steps of ascent found. A step goes to the
point of the set that the gradient points at most (the conditional gradient method with steps of full length), which for
a quadratic is power iteration, and for a loss that is convex in the set never goes down.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.hessian.objective import Objective

Farthest = Callable[[Tensor], Tensor]  # a gradient g (P,) -> the change δ of the set with the largest g·δ


@dataclass(frozen=True)
class Rise:
    """The largest L − L₀ found, after how many of the steps, and the change δ (P,) that gives it."""

    value: float
    step: int
    change: Tensor


def ascend(objective: Objective, start: Tensor, farthest: Farthest, steps: int) -> Rise:
    """The largest rise over the iterates δ_0 = `start`, δ_{i+1} = farthest(∇L(θ + δ_i)).

    The objective is left at its base weights. A loss that is not finite counts as an infinite rise and ends the search.
    """
    objective.move_to(objective.base)
    base = objective.value()
    best = Rise(0.0, 0, torch.zeros_like(objective.base))
    change = start
    for number in range(steps + 1):
        objective.move_to(objective.base + change)
        last = number == steps
        loss, gradient = (objective.value(), None) if last else objective.gradient()
        if loss - base > best.value:
            best = Rise(loss - base, number, change)
        if not math.isfinite(loss):
            best = Rise(math.inf, number, change)
        if gradient is None or not math.isfinite(loss):
            break
        if gradient.any():
            change = farthest(gradient)
    objective.move_to(objective.base)
    return best


def keskar(objective: Objective, eps: float, steps: int, starts: int, seed: int) -> Rise:
    """Keskar et al. (2017): the box |δᵢ| ≤ ε(|θᵢ| + 1), from its middle and from `starts` − 1 random corners."""
    bounds = eps * (objective.base.abs() + 1)
    corners = [bounds * way.sign() for way in ways(objective, starts, seed)]
    return highest(objective, corners, lambda gradient: bounds * gradient.sign(), steps)


def ball(objective: Objective, rho: float, steps: int, starts: int, seed: int, scale: Tensor | None = None) -> Rise:
    """The ball ‖δ/scale‖ ≤ ρ, elementwise; `scale` 1 gives SAM's (Foret et al.), |θ| ASAM's (Kwon et al., η = 0).

    The first step from the middle is that of SAM, ρ·∇L/‖∇L‖ (of ASAM, ρ·|θ|²∇L/‖|θ|∇L‖). The other `starts` are random
    points of the surface: at a minimum the middle has no way up. Weights whose scale is 0 stay.
    """
    scale = torch.ones_like(objective.base) if scale is None else scale

    def farthest(gradient: Tensor) -> Tensor:
        upward = scale * gradient  # the gradient in the ball's own coordinates δ/scale
        return scale * upward * (rho / upward.norm().clamp_min(1e-30))

    points = [scale * rho * way / way.norm().clamp_min(1e-30) for way in ways(objective, starts, seed)]
    return highest(objective, points, farthest, steps)


def ways(objective: Objective, starts: int, seed: int) -> list[Tensor]:
    """Nowhere, and `starts` − 1 Gaussian directions (P,), drawn on the CPU."""
    source = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(objective.size, generator=source, dtype=torch.float64) for _ in range(starts - 1)]
    return [torch.zeros_like(objective.base), *(way.to(objective.base) for way in drawn)]


def highest(objective: Objective, starts: list[Tensor], farthest: Farthest, steps: int) -> Rise:
    """The largest rise from any of the starts."""
    return max((ascend(objective, start, farthest, steps) for start in starts), key=lambda rise: rise.value)


def mean_rise(objective: Objective, sigma: float, draws: int, seed: int) -> tuple[float, float]:
    """Mean of L(θ + σ·|θ|∘z) − L₀ over draws of z ~ N(0, I) and their opposites, and its standard error.

    The adaptive average-case sharpness of Andriushchenko et al. (2023). A draw and its opposite are one value, whose
    first-order parts cancel.
    """
    from analysis.measures.directional import mean_and_error

    objective.move_to(objective.base)
    base = objective.value()
    source = torch.Generator().manual_seed(seed)
    rises = []
    for _ in range(draws):
        z = torch.randn(objective.size, generator=source, dtype=torch.float64).to(objective.base)
        pair = []
        for sign in (1, -1):
            objective.move_to(objective.base + sign * sigma * objective.base.abs() * z)
            pair.append(objective.value() - base)
        rises.append(sum(pair) / 2)
    objective.move_to(objective.base)
    return mean_and_error(torch.tensor(rises, dtype=torch.float64).numpy())

"""Worst-case sharpness: the largest rise of the loss within a box, a ball, or an adaptive ball around the weights.

All are lower bounds of the maximum that they are named after, by the search of :mod:`analysis.measures.ascent`.
"""

import torch
from torch import Tensor

from analysis.measures.ascent import Region, Rise, Search, highest
from landscape.hessian.objective import Objective


def keskar(objective: Objective, eps: float, search: Search) -> Rise:
    """Keskar et al. (2017): the box |δᵢ| ≤ ε(|θᵢ| + 1), from its middle and from random corners."""
    return rise_within(objective, Region(eps * (objective.base.abs() + 1), box=True), search)


def ball(objective: Objective, rho: float, search: Search, scale: Tensor | None = None) -> Rise:
    """The ball ‖δ/scale‖ ≤ ρ, elementwise; `scale` 1 gives SAM's (Foret et al.), |θ| ASAM's (Kwon et al., η = 0).

    The first step from the middle is that of SAM, ρ·∇L/‖∇L‖ (of ASAM, ρ·|θ|²∇L/‖|θ|∇L‖). The other starts are random
    points of the surface: at a minimum the middle has no way up. Weights whose scale is 0 stay.
    """
    scale = torch.ones_like(objective.base) if scale is None else scale
    return rise_within(objective, Region(rho * scale, box=False), search)


def rise_within(objective: Objective, region: Region, search: Search) -> Rise:
    """The largest rise of the objective within a region around its base weights, at which it is left."""
    objective.move_to(objective.base)
    base = objective.value()

    def slope(change: Tensor) -> tuple[float, Tensor]:
        objective.move_to(objective.base + change)
        loss, gradient = objective.gradient()
        return loss - base, gradient

    rise = highest(slope, region, search)
    objective.move_to(objective.base)
    return rise

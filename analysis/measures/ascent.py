"""The largest rise of a loss within a box or a ball around its weights, searched until it no longer rises.

Projected gradient ascent in the set's own coordinates, with steps of steepest ascent in its own norm: signs of the
gradient in a box (as Madry et al., ICLR 2018), the normalized gradient in a ball. The step adapts: it begins as long as
the set is wide, so that it ends where the gradient points at most (conditional gradient, for a quadratic power
iteration); one that does not raise the loss is taken back and halved, one that does is doubled. Full steps alone jump
between corners and miss maxima inside.

An ascent from one start has converged when its last evaluations have raised it by next to nothing. Starts are the
middle and random points, each followed by the opposite of where it led: to second order that is as high, and beyond it
may be the higher of the two, to which no random start leads (seen under L2: by a tenth). There are three at least, and
more until two that have converged agree on the highest rise. All the same it is a lower bound of the maximum: of hills
to which no start leads it knows nothing, and two opposites agree more easily than two random starts.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST_STARTS = 3  # the middle, the opposite of where it led, a random point
FULL = 2.0  # the width of the set in its own coordinates; steps as long go all the way
Slope = Callable[[Tensor], tuple[float, Tensor]]  # a change δ (P,) -> the rise L − L₀ and its gradient (P,)


@dataclass(frozen=True)
class Search:
    """How far a search goes.

    steps: evaluations of an ascent at the most; starts: ascents at the most; patience: an ascent has converged when
    so many evaluations raise it by less than `gain` of its rise; agreement: two starts agree when their rises
    differ by at most so much of the higher; seed: of the starts.
    """

    steps: int = 100
    starts: int = 8
    patience: int = 8
    gain: float = 2e-3
    agreement: float = 1e-2
    seed: int = 0


@dataclass(frozen=True)
class Region:
    """The changes δ with |δ/scale| ≤ 1: in the largest coordinate (a box), or in Euclid's norm (a ball).

    scale (P,), at least 0: weights whose scale is 0 stay. Points u = δ/scale are in the set's own coordinates.
    """

    scale: Tensor
    box: bool

    def farthest(self, slope: Tensor) -> Tensor:
        """The point u of the set with the largest slope·u; the middle where the slope is 0."""
        return slope.sign() if self.box else slope / slope.norm().clamp_min(1e-30)

    def nearest(self, point: Tensor) -> Tensor:
        """The projection of a point on the set."""
        return point.clamp(-1, 1) if self.box else point / point.norm().clamp_min(1)

    def middle(self) -> Tensor:
        return torch.zeros_like(self.scale)

    def random(self, seed: int) -> Iterator[Tensor]:
        """Without end, random corners of the box, or points of the sphere; drawn on the CPU."""
        source = torch.Generator().manual_seed(seed)
        moving = self.scale > 0
        while True:
            drawn = torch.randn(len(self.scale), generator=source, dtype=torch.float64)
            yield self.farthest(drawn.to(self.scale) * moving)


@dataclass(frozen=True)
class Climb:
    """One ascent: the largest rise met, at which point (P,), after how many evaluations, and whether it converged."""

    value: float
    point: Tensor
    steps: int
    converged: bool


@dataclass(frozen=True)
class Rise:
    """The largest L − L₀ found, the change δ (P,) that gives it, and what the search was worth.

    steps: gradients evaluated, of all starts. agreeing: the converged starts that reached it. converged: whether they
    are two at least, or the loss diverged. spread: (highest − lowest)/highest over the starts, 0 where nothing rises.
    """

    value: float
    change: Tensor
    steps: int
    starts: int
    agreeing: int
    converged: bool
    spread: float


def highest(slope: Slope, region: Region, search: Search) -> Rise:
    """The largest rise within `region` over as many starts as it takes for two to agree, or as `search` allows."""
    further = region.random(search.seed)
    start = region.middle()
    climbs: list[Climb] = []
    while True:
        climbs.append(climb(slope, region, start, search))
        best = max(climbs, key=lambda one: one.value)
        near = [one for one in climbs if one.converged and one.value >= (1 - search.agreement) * best.value]
        enough = len(near) >= 2 or math.isinf(best.value)
        if (enough and len(climbs) >= FEWEST_STARTS) or len(climbs) >= search.starts or math.isinf(best.value):
            break
        opposite = len(climbs) % 2 == 1 and climbs[-1].value > 0
        start = -climbs[-1].point if opposite else next(further)
    lowest = min(one.value for one in climbs)
    spread = (best.value - lowest) / best.value if 0 < best.value < math.inf else 0.0
    steps = sum(one.steps for one in climbs)
    return Rise(best.value, region.scale * best.point, steps, len(climbs), len(near), enough, spread)


def climb(slope: Slope, region: Region, start: Tensor, search: Search) -> Climb:
    """The ascent from the point `start`, at least one evaluation; never below the middle's rise, which is 0.

    A loss that is not finite counts as an infinite rise and ends it.
    """
    point, length = start, FULL
    height, uphill = -math.inf, torch.zeros_like(start)
    reached: list[float] = []  # the highest rise after each evaluation
    trial = start
    while True:
        rise, gradient = slope(region.scale * trial)
        if not math.isfinite(rise):
            return Climb(math.inf, trial, len(reached) + 1, True)
        if rise > height:
            point, height, uphill = trial, rise, region.scale * gradient
            length = min(2 * length, FULL)
        else:
            length /= 2
        reached.append(height)
        converged = settled(reached, search) or not uphill.any()
        if converged or len(reached) >= search.steps:
            return Climb(max(height, 0.0), point if height > 0 else region.middle(), len(reached), converged)
        way = region.farthest(uphill)
        trial = way if length >= FULL else region.nearest(point + length * way)


def settled(reached: list[float], search: Search) -> bool:
    """Whether the last `patience` evaluations raised what was reached by at most `gain` of its size."""
    if len(reached) <= search.patience:
        return False
    return reached[-1] - reached[-1 - search.patience] <= search.gain * abs(reached[-1])

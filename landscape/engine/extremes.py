"""The Hessian's extreme eigenvalues as metrics of a surface: where what looks convex on a plane is not.

Li et al. (NeurIPS 2018, section 6) map |λmin/λmax| over a plane: near 0 where negative curvature is negligible.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from landscape.hessian.eigen import extreme_eigenvalues
from landscape.hessian.objective import Objective, check_mean
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem

TOLERANCE = 0.02  # of residuals, relative to the eigenvalue: far below what a map shows
MOST_PRODUCTS = 200  # Hessian-vector products a point; a value that needs more is missing
SEED = 0

Pick = Callable[[float, float], float]

#: name -> (what it is, the number from λmin and λmax)
PICKS: dict[str, tuple[str, Pick]] = {
    "lambda-max": ("largest eigenvalue", lambda low, high: high),
    "lambda-min": ("smallest eigenvalue", lambda low, high: low),
    "lambda-ratio": ("|smallest over largest eigenvalue|", lambda low, high: abs(low / high) if high else float("nan")),
}


def _no_samples(output: Tensor, target: Tensor) -> Tensor:
    raise RuntimeError("metrics of the Hessian have no values of single samples")


@dataclass(frozen=True)
class ExtremesMetric(Metric):
    """A number made of λmin and λmax of the Hessian of `loss`, a metric that is a mean over samples."""

    per_sample: Callable[[Tensor, Tensor], Tensor] = _no_samples
    transform: str = "none"
    loss: Metric = field(kw_only=True)
    pick: Pick = field(kw_only=True)


def extremes_metric(name: str, kind: str, loss: Metric) -> ExtremesMetric:
    """The metric `kind`, a key of :data:`PICKS`, of the Hessian of `loss`. Raises InputError if that is no mean."""
    check_mean(loss)
    what, pick = PICKS[kind]
    definition = (
        f"{what} of the Hessian of {loss.name} in all weights; Lanczos' method to a relative residual of "
        f"{TOLERANCE:g}, missing where {MOST_PRODUCTS} products do not suffice; without a standard error"
    )
    return ExtremesMetric(name, definition, over=loss.over, loss=loss, pick=pick)


class Extremes:
    """λmin and λmax of the losses of `metrics` at the weights of a model that moves."""

    def __init__(
        self, problem: Problem, metrics: Sequence[ExtremesMetric], device: torch.device, dtype: torch.dtype | None
    ):
        self.metrics = metrics
        losses = {metric.loss.name: metric.loss for metric in metrics}
        self.objectives = {name: Objective(problem, loss, device, dtype) for name, loss in losses.items()}

    def at(self, model: nn.Module) -> dict[str, float]:
        """The number of each metric at the weights and buffers of `model`; NaN where it has not converged."""
        found = {name: self._extremes(objective, model) for name, objective in self.objectives.items()}
        return {metric.name: metric.pick(*found[metric.loss.name]) for metric in self.metrics}

    def _extremes(self, objective: Objective, model: nn.Module) -> tuple[float, float]:
        missing = (float("nan"), float("nan"))
        with torch.no_grad():
            for name, buffer in objective.model.named_buffers():
                buffer.copy_(model.get_buffer(name))
            row = torch.cat([model.get_parameter(name).detach().reshape(-1) for name in objective.names])
        if not row.isfinite().all():
            return missing
        objective.move_to(row)
        if not torch.isfinite(torch.tensor(objective.value())):
            return missing
        result = extreme_eigenvalues(
            objective.products, objective.size, 1, 1, tol=TOLERANCE, seed=SEED, max_products=MOST_PRODUCTS
        )
        if not result.converged:
            return missing
        return float(result.smallest.values[0]), float(result.largest.values[0])


def is_extremes(name: str) -> bool:
    """Whether `name` is one of these metrics, such as `lambda-ratio` or `lambda-ratio:own`."""
    return name.partition(":")[0] in PICKS

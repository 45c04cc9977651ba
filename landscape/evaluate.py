"""Metrics of a problem at one point of a plane: one forward pass over each set that the metrics need."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.directions import Direction
from landscape.forward import Forward
from landscape.metrics import Metric
from landscape.params import Mover
from landscape.problem import Problem, Samples


class Evaluator:
    """Evaluates `metrics` at points of planes through the base weights of `problem.model`.

    Data and directions are moved to `device` once and stay there. The values of single samples come back to the host
    once a point. Batch norm uses its running statistics, whatever the weights.
    """

    def __init__(
        self,
        problem: Problem,
        metrics: Sequence[Metric],
        planes: Sequence[Sequence[Direction]],
        device: torch.device,
        allow_rewrite: bool = True,
    ):
        self.metrics = metrics
        model = problem.model.to(device).eval()
        self.movers = [Mover(model, [direction.params for direction in plane]) for plane in planes]
        self.forward = Forward(model, device, allow_rewrite)
        self.over = {
            name: [metric for metric in metrics if name in metric.over]
            for name in problem.sets
            if any(name in metric.over for metric in metrics)
        }
        self.blocks = {
            name: self.forward.lay_out(
                to_device(problem.sets[name], device), max(metric.group for metric in self.over[name])
            )
            for name in self.over
        }
        self.counts = {name: len(problem.sets[name].inputs) for name in self.over}

    def at(self, plane: int, steps: Sequence[float]) -> np.ndarray:
        """Values and standard errors, (2, metrics), at θ + Σ steps·directions of `plane`."""
        self.movers[plane].to(steps)
        self.forward.refresh()
        values = {name: self._values(name) for name in self.over}
        results = []
        for metric in self.metrics:
            sizes = [group_sizes(self.counts[name], metric.group) for name in metric.over]
            results.append(metric.value([values[name][metric.name] for name in metric.over], sizes))
        return np.array(results, np.float64).T

    def _values(self, name: str) -> dict[str, np.ndarray]:
        """The values that each metric over set `name` takes of its samples, in double precision on the host."""
        metrics = self.over[name]

        def measure(output: Tensor, target: Tensor) -> list[Tensor]:
            return [metric.per_sample(output, target) for metric in metrics]

        parts = self.forward.map(measure, self.blocks[name])
        columns = [torch.cat(column).double().cpu().numpy() for column in zip(*parts, strict=True)]
        return {metric.name: column for metric, column in zip(metrics, columns, strict=True)}


def to_device(samples: Samples, device: torch.device) -> Samples:
    inputs = samples.inputs.to(device)
    return Samples(inputs, inputs if samples.targets is samples.inputs else samples.targets.to(device))


def group_sizes(count: int, group: int) -> np.ndarray:
    """Samples in each of the consecutive groups of `group` out of `count`; the last may be smaller."""
    full, rest = divmod(count, group)
    return np.array([group] * full + [rest] * (rest > 0), np.float64)

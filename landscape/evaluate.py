"""Metrics of a problem at one point of a plane: one forward pass over each set that the metrics need."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.directions import Direction
from landscape.metrics import Metric
from landscape.params import Mover
from landscape.problem import Problem, Samples

BATCH = 250  # samples a forward pass: large enough for the overhead of calls, small enough for the caches


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
    ):
        self.metrics = metrics
        self.model = problem.model.to(device).eval()
        self.movers = [Mover(self.model, [direction.params for direction in plane]) for plane in planes]
        needed = {name for metric in metrics for name in metric.over}
        self.sets = {name: to_device(problem.sets[name], device) for name in problem.sets if name in needed}
        self.groups = {name: max(metric.group for metric in metrics if name in metric.over) for name in self.sets}

    @torch.inference_mode()
    def at(self, plane: int, steps: Sequence[float]) -> np.ndarray:
        """Values and standard errors, (2, metrics), at θ + Σ steps·directions of `plane`."""
        self.movers[plane].to(steps)
        values = {name: self._values(name) for name in self.sets}
        results = []
        for metric in self.metrics:
            sizes = [group_sizes(len(self.sets[name].inputs), metric.group) for name in metric.over]
            results.append(metric.value([values[name][metric.name] for name in metric.over], sizes))
        return np.array(results, np.float64).T

    def _values(self, name: str) -> dict[str, np.ndarray]:
        """The values that each metric over set `name` takes of its samples, in double precision on the host."""
        metrics = [metric for metric in self.metrics if name in metric.over]
        parts: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
        # A metric of groups, such as `own`, needs whole groups in one block.
        block = self.groups[name] * max(1, BATCH // self.groups[name])
        inputs, targets = self.sets[name]
        for start in range(0, len(inputs), block):
            target = targets[start : start + block]
            output = self._forward(inputs[start : start + block])
            for metric in metrics:
                parts[metric.name].append(metric.per_sample(output, target))
        return {metric: torch.cat(values).double().cpu().numpy() for metric, values in parts.items()}

    def _forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) <= 2 * BATCH:
            return self.model(inputs)
        return torch.cat([self.model(part) for part in inputs.split(BATCH)])


def to_device(samples: Samples, device: torch.device) -> Samples:
    inputs = samples.inputs.to(device)
    return Samples(inputs, inputs if samples.targets is samples.inputs else samples.targets.to(device))


def group_sizes(count: int, group: int) -> np.ndarray:
    """Samples in each of the consecutive groups of `group` out of `count`; the last may be smaller."""
    full, rest = divmod(count, group)
    return np.array([group] * full + [rest] * (rest > 0), np.float64)

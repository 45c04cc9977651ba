"""Metrics of a problem at one point of a plane: one forward pass over each set that the metrics need."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from landscape.directions.normalization import Direction
from landscape.engine.batchnorm import RECALIBRATION_BATCH, norms_with_statistics, recalibrate
from landscape.engine.extremes import Extremes, ExtremesMetric
from landscape.engine.forward import Block, Forward
from landscape.engine.precision import PRECISIONS, Precision
from landscape.engine.vectorize import VectorizedModel, points_that_fit
from landscape.problem.metric import Metric, group_sizes
from landscape.problem.nested import Nested, leaves, map_leaves, split
from landscape.problem.params import Mover
from landscape.problem.problem import Problem, to_device
from training.runtime.command import InputError, users_code

Steps = Sequence[float]
NOTHING: Mapping[str, float] = MappingProxyType({})


class Evaluator:
    """Evaluates `metrics` at points of planes through the base weights of `problem.model`, which stays as it is.

    Data and directions are moved to `device` once and stay there. The values of single samples come back to the host
    once a point. batch_norm: "frozen" uses the running statistics of the base weights, "recalibrate" re-estimates them
    at each point from the problem's first set.
    """

    def __init__(
        self,
        problem: Problem,
        metrics: Sequence[Metric],
        planes: Sequence[Sequence[Direction]],
        device: torch.device,
        batch_norm: str = "frozen",
        precision: Precision = PRECISIONS["full"],
        allow_rewrite: bool = True,
    ):
        self.metrics = metrics
        sampled = [metric for metric in metrics if not isinstance(metric, ExtremesMetric)]
        curved = [metric for metric in metrics if isinstance(metric, ExtremesMetric)]
        self.extremes = Extremes(problem, curved, device, precision.dtype) if curved else None
        self.model = copy.deepcopy(problem.model).to(device, precision.dtype).eval()
        self.directions = [[direction.params for direction in plane] for plane in planes]
        self.movers = [Mover(self.model, directions) for directions in self.directions]
        self.forward = Forward(self.model, device, precision, allow_rewrite, problem.call)
        self.over = {
            name: [metric for metric in sampled if name in metric.over]
            for name in problem.sets
            if any(name in metric.over for metric in sampled)
        }
        resident = {name: to_device(samples, device, precision.dtype) for name, samples in problem.sets.items()}
        self.blocks = {
            name: self.forward.lay_out(
                resident[name], math.lcm(*(metric.group for metric in measured)), samples_a_call(measured)
            )
            for name, measured in self.over.items()
        }
        self.edits = {name: edits_of(blocks) for name, blocks in self.blocks.items()}
        self.counts = {name: problem.sets[name].size for name in self.over}
        first = resident[next(iter(problem.sets))].inputs
        recalibrating = batch_norm == "recalibrate" and bool(norms_with_statistics(self.model))
        self.calibration = split(first, RECALIBRATION_BATCH) if recalibrating else ()
        alone = device.type == "cpu" or recalibrating or self.extremes is not None
        self.points_per_call = 1 if alone else self._points_that_fit(device)

    @users_code()
    def at(self, plane: int, steps: Steps) -> np.ndarray:
        """Values and standard errors, (2, metrics), at θ + Σ steps·directions of `plane`."""
        self.movers[plane].to(steps)
        if self.calibration:
            with self.forward.precision.computing(self.forward.device):
                recalibrate(self.model, self.calibration, self.forward.calling)
        self.forward.refresh()
        parts = {name: self.forward.map(self._measure(name), blocks) for name, blocks in self.blocks.items()}
        self._check_samples()
        return self._reduce(parts, self.extremes.at(self.model) if self.extremes else {})

    @users_code()
    def at_many(self, plane: int, points: Sequence[Steps]) -> np.ndarray:
        """:meth:`at` for several points of a plane, (points, 2, metrics), in calls of `points_per_call` points each."""
        if self.points_per_call == 1:
            return np.stack([self.at(plane, steps) for steps in points])
        self.movers[plane].to([0.0] * len(self.directions[plane]))
        model = VectorizedModel(self.model, self.directions[plane], self.forward.calling)
        results = []
        for chunk in torch.tensor(points, dtype=torch.float64).split(self.points_per_call):
            weights = model.weights(chunk.to(self.forward.device))
            by_set = {
                name: self.forward.map_many(model, weights, self._measure(name), blocks)
                for name, blocks in self.blocks.items()
            }
            self._check_samples()
            results += [self._reduce({name: parts[i] for name, parts in by_set.items()}) for i in range(len(chunk))]
        return np.stack(results)

    def _check_samples(self) -> None:
        """Raise InputError if the model or a metric wrote into samples, which are the user's own."""
        for name, blocks in self.blocks.items():
            if edits_of(blocks) != self.edits[name]:
                raise InputError(
                    f"set {name!r}: expected a model and metrics that leave inputs and targets as they are, found them "
                    "changed in place; compute on a copy, as in `inputs.clone()`"
                )

    def _measure(self, name: str) -> Callable[[Nested, Nested], list[Tensor]]:
        *others, last = self.over[name]

        def measure(output: Nested, target: Nested) -> list[Tensor]:
            # A metric may compute in its output's place: none that comes after it is to see that.
            values = [metric.measured(output if is_pure(metric) else copied(output), target) for metric in others]
            return [*values, last.measured(output, target)]

        return measure

    def _reduce(self, parts: dict[str, list[list[Tensor]]], whole: Mapping[str, float] = NOTHING) -> np.ndarray:
        """Metrics from the values of their samples, which come to the host here, in double precision."""
        values = {}
        for name, blocks in parts.items():
            for metric, column in zip(self.over[name], zip(*blocks, strict=True), strict=True):
                check_values(metric, column, math.ceil(self.counts[name] / metric.group))
                values[name, metric.name] = torch.cat(column).double().cpu().numpy()
        results = []
        for metric in self.metrics:
            if metric.name in whole:
                results.append((whole[metric.name], math.nan))
                continue
            sizes = [group_sizes(self.counts[name], metric.group) for name in metric.over]
            results.append(metric.value([values[name, metric.name] for name in metric.over], sizes))
        return np.array(results, np.float64).T

    def _points_that_fit(self, device: torch.device) -> int:
        """Points a call on a GPU, from the memory that one point needs there beside the data."""
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        self.at(0, [0.0] * len(self.directions[0]))
        needed = torch.cuda.max_memory_allocated(device) - before
        return points_that_fit(needed, torch.cuda.mem_get_info(device)[0])


def is_pure(metric: Metric) -> bool:
    """Whether a metric is of this project, and so known to leave what it is given as it is."""
    return getattr(metric.per_sample, "__module__", "").partition(".")[0] in ("training", "landscape")


def copied(output: Nested) -> Nested:
    return map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, output)


def edits_of(blocks: Sequence[Block]) -> list[int]:
    """How often each tensor of `blocks` has been written to in place, as torch counts it."""
    tensors = (leaf for block in blocks for value in (*block.inputs, block.targets) for leaf in leaves(value))
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors if isinstance(tensor, Tensor)]


def samples_a_call(metrics: Sequence[Metric]) -> int:
    """On how many samples `metrics` of one set want the model called, 0 if that is all one to them."""
    groups = {metric.name: metric.group for metric in metrics if metric.by_call}
    if len(set(groups.values())) > 1:
        raise InputError(
            f"--metrics: expected metrics that call the model on batches of one size, found "
            f"{', '.join(f'{name} with {group}' for name, group in groups.items())}; compute them in two runs"
        )
    return next(iter(groups.values()), 0)


def check_values(metric: Metric, parts: Sequence[Tensor], count: int) -> None:
    """Raise InputError unless a metric gave rows of numbers, `count` in all."""
    if all(part.ndim == 1 for part in parts) and sum(map(len, parts)) == count:
        return
    of = "sample" if metric.group == 1 else f"{metric.group} samples"
    raise InputError(
        f"{metric.name}: expected one value for each {of}, {count} in all, found tensors of shape "
        f"{', '.join(str(tuple(part.shape)) for part in parts[:3])}{', …' if len(parts) > 3 else ''}"
    )

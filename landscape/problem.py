"""`Problem`: what a surface is computed of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.metric import Metric
from landscape.params import digest_of_tensors
from training.command import InputError

PERMUTATION_SEED = 0  # of the order in which `own` meets the images; one for all models, so that they meet the same


class Samples(NamedTuple):
    """Inputs and targets of equal length, kept on the device that computes."""

    inputs: Tensor
    targets: Tensor


@dataclass
class Problem:
    """A model at its base weights and the named sets of samples that metrics are measured over.

    sets: such as `train-normal`, `test-normal`, `test-anomalous`; the first is the one that a metric named without
    `@set` is over. metrics: the problem's own, beside or instead of the general ones. meta: plain values for the file.
    """

    model: nn.Module
    sets: Mapping[str, Samples]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    name: str = ""
    weights_digest: str = ""
    data_digest: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def subsample(samples: Samples, count: int) -> Samples:
    """The first `count` samples of the seeded permutation of `samples`; all of them, permuted, if `count` is 0."""
    order = torch.randperm(len(samples.inputs), generator=torch.Generator().manual_seed(PERMUTATION_SEED))
    order = order[: count or None]
    inputs = samples.inputs[order]
    return Samples(inputs, inputs if samples.targets is samples.inputs else samples.targets[order])


def check_problem(problem: Any, where: str) -> None:
    """Raise InputError unless `problem` is a Problem whose parts can be used."""
    if not isinstance(problem, Problem):
        raise InputError(f"{where}: expected it to return a landscape.problem.Problem, found {type(problem).__name__}")
    if not any(True for _ in problem.model.parameters()):
        raise InputError(f"{where}: expected a model with parameters, found none")
    if not problem.sets:
        raise InputError(f"{where}: expected one or more sets of samples, found none")
    for name, samples in problem.sets.items():
        if not isinstance(samples, Samples):
            raise InputError(
                f"{where}: expected landscape.problem.Samples as set {name!r}, found {type(samples).__name__}"
            )
        if not 0 < len(samples.inputs) == len(samples.targets):
            sizes = f"{len(samples.inputs)} and {len(samples.targets)}"
            raise InputError(f"{where}: expected as many inputs as targets in set {name!r}, found {sizes}")
    for name in (*problem.sets, *problem.metrics):
        if not name or set(name) & set("/@,"):
            raise InputError(f"{where}: expected names of sets and metrics without '/', '@' and ',', found {name!r}")


def digest_of_sets(sets: Mapping[str, Samples]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all samples."""
    return digest_of_tensors(
        (f"{name}.{part}", tensor) for name, samples in sets.items() for part, tensor in samples._asdict().items()
    )

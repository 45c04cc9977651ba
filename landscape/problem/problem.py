"""`Problem`: what a surface is computed of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.problem.metric import Metric
from landscape.problem.nested import Nested, call, kind_of, leaves, length, map_leaves, moved, named_leaves
from landscape.problem.params import digest_of_tensors
from training.runtime.command import InputError

PERMUTATION_SEED = 0  # of the order in which `own` meets the images; one for all models, so that they meet the same


class Samples(NamedTuple):
    """Inputs and targets of equal length, kept on the device that computes.

    Each is a tensor whose first dimension counts the samples, or a dict, tuple or list of such, nested at will. What is
    in both is kept once.
    """

    inputs: Nested
    targets: Nested

    @property
    def size(self) -> int:
        return length(self.inputs)


@dataclass
class Problem:
    """A model at its base weights and the named sets of samples that metrics are measured over.

    sets: such as `train-normal`, `test-normal`, `test-anomalous`; the first is the one that a metric named without
    `@set` is over. metrics: the problem's own, beside or instead of the general ones. meta: plain values for the file.
    call: how the model is given its inputs, `model(inputs)` by default; with
    :func:`landscape.problem.nested.call_unpacked` the entries of a dict or tuple become arguments, and a function of
    one's own may also pick among the outputs, as in `lambda model, batch: model(**batch).logits`. It is used in
    evaluation mode, on a copy of `model`.
    Only floating-point parameters move; others, and all buffers, stay as they are. A tied parameter moves once.
    """

    model: nn.Module
    sets: Mapping[str, Samples]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    name: str = ""
    weights_digest: str = ""
    data_digest: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    call: Callable[[nn.Module, Any], Any] = call


def subsample(samples: Samples, count: int) -> Samples:
    """The first `count` samples of the seeded permutation of `samples`; all of them, permuted, if `count` is 0."""
    order = torch.randperm(samples.size, generator=torch.Generator().manual_seed(PERMUTATION_SEED))[: count or None]
    return map_samples(lambda tensor: tensor[order.to(tensor.device)], samples)


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples, or as many as there are."""
    return map_samples(lambda tensor: tensor[:count], samples)


def map_samples(function: Callable[[Tensor], Tensor], samples: Samples) -> Samples:
    """`function` of each tensor; what inputs and targets share, be it tensor or container, they share afterwards."""
    if samples.targets is samples.inputs:
        inputs = map_leaves(function, samples.inputs)
        return Samples(inputs, inputs)
    return Samples(*map_leaves(function, tuple(samples)))


def check_problem(problem: Any, where: str) -> None:
    """Raise InputError unless `problem` is a Problem whose parts can be used."""
    if not isinstance(problem, Problem):
        raise InputError(f"{where}: expected it to return a landscape.Problem, found {type(problem).__name__}")
    if not any(True for _ in problem.model.parameters()):
        raise InputError(f"{where}: expected a model with parameters, found none")
    if not any(parameter.is_floating_point() for parameter in problem.model.parameters()):
        raise InputError(f"{where}: expected a model with floating-point parameters, which move, found none")
    if not isinstance(problem.metrics, Mapping) or not all(isinstance(m, Metric) for m in problem.metrics.values()):
        raise InputError(f"{where}: expected landscape.Metric by name as metrics, found others")
    if not problem.sets:
        raise InputError(f"{where}: expected one or more sets of samples, found none")
    for name, samples in problem.sets.items():
        if not isinstance(samples, Samples):
            raise InputError(f"{where}: expected landscape.Samples as set {name!r}, found {type(samples).__name__}")
        check_samples(samples, f"{where}: expected", f"in set {name!r}")
    for name in (*problem.sets, *problem.metrics):
        if not name or set(name) & set("/@,"):
            raise InputError(f"{where}: expected names of sets and metrics without '/', '@' and ',', found {name!r}")


def check_samples(samples: Samples, expected: str, which: str) -> None:
    """Raise InputError unless all that is in `samples` are tensors of one length."""
    for part, value in samples._asdict().items():
        if not leaves(value):
            raise InputError(f"{expected} one or more tensors as {part} {which}, found none")
    lengths = {}
    for name, leaf in (named for part in samples._asdict().items() for named in named_leaves(*part)):
        if not isinstance(leaf, Tensor) or leaf.ndim == 0:
            raise InputError(
                f"{expected} tensors with a row a sample {which}, found {kind_of(leaf)} as {name}; "
                "what is the same for all samples belongs into the model, or into Problem.call"
            )
        if leaf.layout != torch.strided:
            raise InputError(f"{expected} dense tensors {which}, found a sparse one as {name}; use its to_dense()")
        lengths[name] = len(leaf)
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        sizes = f"{lengths['inputs']} and {lengths['targets']}" if {"inputs", "targets"} == set(lengths) else lengths
        raise InputError(f"{expected} as many inputs as targets {which}, found {sizes}")


def digest_of_sets(sets: Mapping[str, Samples]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all samples."""
    return digest_of_tensors(
        named
        for name, samples in sets.items()
        for part, value in samples._asdict().items()
        for named in named_leaves(f"{name}.{part}", value)
    )


def to_device(samples: Samples, device: torch.device, dtype: torch.dtype | None = None) -> Samples:
    """`samples` on `device`, floating-point ones as `dtype`."""
    return map_samples(lambda tensor: moved(tensor, device, dtype), samples)

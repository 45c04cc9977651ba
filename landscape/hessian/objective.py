"""A metric as a function of the weights that can be differentiated: value, gradient, Hessian-vector products.

Exact over all the samples given, in batches that hold whole groups, with batch norm as at evaluation. Of the
autoencoders of :mod:`training.models.autoencoder` the derivatives are written out (:mod:`landscape.hessian.tangent`),
of other models they are plain double backward; equal up to rounding.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from landscape.hessian.fold import is_chain
from landscape.hessian.tangent import Chain
from landscape.problem.metric import Metric, group_sizes
from landscape.problem.nested import Nested, call, length, split
from landscape.problem.problem import Problem, Samples, to_device
from training.runtime.command import InputError

BATCH = 250  # samples whose graph is kept at a time


class Objective:
    """L(θ) = mean of `metric` over the samples of its set, θ being all floating-point parameters in one row (P,).

    `problem.model` stays as it is: a copy in evaluation mode is moved. A metric of groups of samples (such as a loss
    with a maximum over its batch) is a mean weighted by the groups' sizes, as on a surface. Raises InputError for
    a metric that is no mean over samples.
    """

    def __init__(
        self,
        problem: Problem,
        metric: Metric,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        allow_chain: bool = True,
    ):
        check_mean(metric)
        device = device or torch.device("cpu")
        self.metric = metric
        self.model = copy.deepcopy(problem.model).to(device, dtype).eval()
        self.names = [name for name, p in self.model.named_parameters() if p.is_floating_point()]
        self.parameters = [self.model.get_parameter(name).requires_grad_() for name in self.names]
        self.base = flat(self.parameters)
        samples = to_device(problem.sets[metric.over[0]], device, dtype)
        self.calling = problem.call
        self.count = samples.size
        self.batches = list(batches_of(samples, metric.group, metric.by_call))
        allow_chain = allow_chain and problem.call is call
        self.chain = (
            Chain(self.model, self._share, samples, metric.group)
            if allow_chain and is_chain(self.model, samples.inputs)
            else None
        )

    @property
    def size(self) -> int:
        """P, the number of weights."""
        return len(self.base)

    @torch.no_grad()
    def move_to(self, weights: Tensor) -> None:
        """Put the weights (P,) into the model; `move_to(base)` undoes all moves."""
        for parameter, part in zip(self.parameters, weights.split([p.numel() for p in self.parameters]), strict=True):
            parameter.copy_(part.view_as(parameter))
        if self.chain:
            self.chain.refresh()

    def value(self) -> float:
        """L at the present weights."""
        if self.chain:
            return self.chain.value()
        with torch.no_grad():
            return float(sum(self._loss(batch).double() for batch in self.batches))

    def gradient(self) -> tuple[float, Tensor]:
        """L and ∂L/∂θ, (P,), at the present weights."""
        if self.chain:
            return self.chain.gradient()
        total, gradient = 0.0, torch.zeros_like(self.base)
        for batch in self.batches:
            loss = self._loss(batch)
            gradient += flat(torch.autograd.grad(loss, self.parameters, materialize_grads=True))
            total += float(loss.detach())
        return total, gradient

    def products(self, vectors: Tensor) -> Tensor:
        """H·v for each row v of `vectors` (k, P), H being the Hessian of L at the present weights; (k, P).

        By differentiating the gradient's product with v (Pearlmutter 1994): exact, no finite differences. Computed in
        the model's precision; the result is of the vectors' own.
        """
        if self.chain:
            return self.chain.products(vectors.to(self.base)).to(vectors)
        result = torch.zeros_like(vectors)
        rows = [self._split(row) for row in vectors.to(self.base)]
        for batch in self.batches:
            gradient = torch.autograd.grad(
                self._loss(batch), self.parameters, create_graph=True, materialize_grads=True
            )
            for number, row in enumerate(rows):
                if not any(part.requires_grad for part in gradient):
                    break  # L is linear in θ
                result[number] += flat(
                    torch.autograd.grad(gradient, self.parameters, row, retain_graph=True, materialize_grads=True)
                ).to(result)
        return result

    def quadratic_forms(self, vectors: Tensor) -> Tensor:
        """v'Hv for each row v of `vectors` (k, P); (k,) in double precision."""
        if self.chain:
            return self.chain.quadratic_forms(vectors.to(self.base))
        return (vectors * self.products(vectors)).sum(1, dtype=torch.float64)

    def _split(self, row: Tensor) -> list[Tensor]:
        parts = row.split([p.numel() for p in self.parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

    def _loss(self, batch: Samples) -> Tensor:
        return self._share(self.calling(self.model, batch.inputs), batch.targets)

    def _share(self, output: Nested, targets: Nested) -> Tensor:
        """The share of the mean that the samples of whole groups have: the shares of a set add up to its mean."""
        values = self.metric.measured(output, targets)
        sizes = torch.as_tensor(group_sizes(length(targets), self.metric.group)).to(values)
        return (values * sizes).sum() / self.count


def batches_of(samples: Samples, group: int, by_call: bool = False) -> Iterator[Samples]:
    """Consecutive samples in batches of whole groups (but for a ragged last one); with `by_call` of one group each."""
    size = group * (1 if by_call else max(1, BATCH // group))
    for inputs, targets in zip(split(samples.inputs, size), split(samples.targets, size), strict=True):
        yield Samples(inputs, targets)


def flat(tensors: list[Tensor] | tuple[Tensor, ...] | list[nn.Parameter]) -> Tensor:
    """Tensors one after the other in one row, without their graphs."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def check_mean(metric: Metric) -> None:
    """Raise InputError unless `metric` is a mean over the samples of one set."""
    if metric.reduce is not None or len(metric.over) != 1:
        raise InputError(f"{metric.name}: expected a loss, a mean over the samples of one set, found another metric")


Products = Callable[[Tensor], Tensor]  # (k, P) -> (k, P)

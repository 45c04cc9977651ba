"""Sharpness-aware minimization and its reverse: where the gradient of an update is taken.

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021. With g the gradient
of the batch's loss L at θ, over all parameters together, an update applies at θ the gradient taken at θ + ρ·g/‖g‖:

    L(θ + ρ·g/‖g‖) ≈ L(θ) + ρ‖g‖,  whose gradient is  g + ρ·H·g/‖g‖.

ρ > 0 is SAM: besides the loss it descends the slopes nearby, towards flat weights. ρ < 0 is the reverse step: the
gradient is taken down the slope, and large slopes nearby are rewarded, so that it goes towards sharp weights; within
|ρ| of a minimum it has overshot and points back, so it stays at about that distance. ρ = 0 is plain training. Whether
models trained so do differ in sharpness is to be measured, not taken for granted.

A placebo takes the gradient equally far off θ but in a random direction, new at every update: what it does, being off θ
does, whatever the direction. It is drawn from the run's seed and the number of its update alone.

The perturbed pass sees the same batch. Batch norm normalizes it by its own statistics there too, but running statistics
(and the count of batches) follow the first pass alone, at the weights that are kept. A gradient of 0 moves nothing.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


def along(gradients: Tensor, rhos: Tensor) -> Tensor:
    """ρ·g/‖g‖ (k, P) of gradients (k, P), a row a model, and ρ (k,), the norm that of a row; 0 where g is 0."""
    norms = torch.linalg.vector_norm(gradients, dim=1)
    return gradients * torch.where(norms > 0, rhos / norms, 0.0)[:, None]


def gradient_row(parameters: Sequence[Tensor]) -> Tensor:
    """The gradients of `parameters` as one row (P,), 0 for those without."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters])


def random_row(seed: int, update: int, like: Tensor) -> Tensor:
    """Standard normal numbers of the shape, type and device of `like`, the same for the same seed and update."""
    (state,) = np.random.SeedSequence([seed, update]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state) >> 1)
    return torch.randn(like.shape, generator=generator).to(like)


@contextmanager
def moved(model: nn.Module, direction: Tensor, rho: float) -> Iterator[None]:
    """Within, the parameters of `model` are at θ + ρ·d/‖d‖, d being `direction` (P,) in their order.

    After it they are at θ again, and buffers are what they were before, to the last bit. `.grad` is left as it then is.
    """
    parameters = list(model.parameters())
    kept = [tensor.detach().clone() for tensor in (*parameters, *model.buffers())]
    steps = along(direction[None], direction.new_tensor([rho]))[0].split([p.numel() for p in parameters])
    with torch.no_grad():
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.add_(step.view_as(parameter))
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip((*parameters, *model.buffers()), kept, strict=True):
                tensor.copy_(value)


def nonzero_runs(values: Sequence[float]) -> Iterator[tuple[int, int]]:
    """(start, end) of each longest run of consecutive values that are not 0."""
    for nonzero, group in itertools.groupby(range(len(values)), lambda index: values[index] != 0):
        if nonzero:
            numbers = list(group)
            yield numbers[0], numbers[-1] + 1

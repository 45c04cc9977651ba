"""Batch norm at perturbed weights: running statistics frozen (Li et al.'s choice), or re-estimated at each point."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.problem.nested import Nested, call
from training.runtime.command import InputError

RECALIBRATION_BATCH = 256  # samples; part of the definition, since the variances are averaged over batches


def norms_with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms of `model` that keep running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def check_statistics(model: nn.Module) -> None:
    """Raise InputError if a batch norm keeps no running statistics: its output would depend on the batch's others."""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise InputError(
                f"{name}: expected batch norms with running statistics, found one without, whose loss depends on how "
                "samples are batched"
            )


def check_weights(model: nn.Module, name: str) -> None:
    """Raise InputError if a parameter has NaN: nothing around it has a value."""
    for parameter, tensor in model.named_parameters():
        if tensor.isnan().any():
            raise InputError(f"{name}: expected weights with values, found NaN in {parameter}; the training diverged")


def channels_outermost(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A hook that gives a batch norm its input contiguous.

    With channels innermost torch adds a channel's values one after the other in single precision, which costs the
    statistics three digits on a batch of 256.
    """
    return tuple(values.contiguous() for values in inputs)


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Nested], calling: Callable[[nn.Module, Any], Any] = call) -> None:
    """Set running statistics to the average over `batches` of each batch's mean and unbiased variance.

    What a training pass with cumulative averages would leave; the other modules stay in evaluation mode, and so does
    the model afterwards. A weight that diverged gives statistics that are not finite, until the next call. Models whose
    channels are innermost in memory have the same statistics up to rounding.
    """
    norms = norms_with_statistics(model)
    momenta = [norm.momentum for norm in norms]
    hooks = [norm.register_forward_pre_hook(channels_outermost) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for a cumulative average
        norm.train()
    try:
        for batch in batches:
            calling(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

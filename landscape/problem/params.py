"""Weights as named tensors: taken from a model, moved along directions, put back."""

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

Params = dict[str, Tensor]


def params_of(model: nn.Module) -> Params:
    """Copies of the model's parameters, tied ones once, on their device."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def digest_of_tensors(named: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes, in the order of their names."""
    sha = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda item: item[0]):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def digest_of_model(model: nn.Module) -> str:
    """:func:`digest_of_tensors` of the model's parameters and buffers."""
    return digest_of_tensors([*model.named_parameters(), *model.named_buffers()])


def dtype_of(model: nn.Module) -> torch.dtype:
    """The type of the model's first floating-point parameter."""
    return next(p.dtype for p in model.parameters() if p.is_floating_point())


class Mover:
    """Writes θ + Σ steps·directions into a model's own parameters, from the base weights each time.

    Going there and back by `+d … -d` would drift. Parameters whose directions are all zero are left as they are.
    Directions may name buffers too, such as running statistics that are interpolated; those not named stay.
    """

    def __init__(self, model: nn.Module, directions: Sequence[Params]):
        self.moved = [
            (tensor, tensor.detach().clone(), [direction[name].to(tensor) for direction in directions])
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]
            if any(name in direction and bool(direction[name].any()) for direction in directions)
        ]

    @torch.no_grad()
    def to(self, steps: Sequence[float]) -> None:
        """Move the model to `steps`, one for each direction."""
        for tensor, base, directions in self.moved:
            tensor.copy_(base)
            for step, direction in zip(steps, directions, strict=True):
                tensor.add_(direction, alpha=step)

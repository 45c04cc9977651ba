"""How much of a loss's gradient one residual carries: what each reading of LAMP does to a batch."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from training.models.losses import Lamp, per_sample_loss

#: name -> (training loss, reading of LAMP); the default of training first
READINGS: dict[str, tuple[str, Lamp]] = {
    "L2": ("l2", Lamp()),
    "L4": ("l4", Lamp()),
    "LAMP, batch, attached": ("l2-lamp", Lamp()),
    "LAMP, batch, detached": ("l2-lamp", Lamp(detach=True)),
    "LAMP, sample, attached": ("l2-lamp", Lamp(scale="sample")),
    "LAMP, sample, detached": ("l2-lamp", Lamp(scale="sample", detach=True)),
    "LAMP, no maximum": ("l2-lamp", Lamp(scale="none")),
}


def output_gradient(loss: str, lamp: Lamp, output: Tensor, target: Tensor) -> Tensor:
    """∂L/∂ŷ of the mean over a batch of outputs and targets (B, C, H, W) in [0, 1]; of the same shape."""
    output = output.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(per_sample_loss(loss, lamp)(output, target).mean(), output)
    return gradient


def largest_share(loss: str, lamp: Lamp, output: Tensor, target: Tensor) -> float:
    """The share of ‖∂L/∂ŷ‖² that the pixel with the largest residual of the batch carries, from 0 to 1."""
    gradient = output_gradient(loss, lamp, output, target).flatten().double().square()
    return float(gradient[(target - output).abs().argmax()] / gradient.sum())


def share_below(loss: str, lamp: Lamp, output: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Sorted |residuals| r of a batch, and the share of Σ|∂L/∂ŷ| from residuals up to each: both (B·C·H·W,).

    A curve of the kind of Lorenz's: for L2 the share grows as Σ r, a loss that amplifies lies below.
    """
    residuals = (target - output).detach().abs().flatten().double()
    sizes = output_gradient(loss, lamp, output, target).flatten().double().abs()
    order = residuals.argsort()
    return residuals[order].numpy(), (sizes[order].cumsum(0) / sizes.sum()).numpy()


def shares(
    output: Tensor, target: Tensor, readings: Mapping[str, tuple[str, Lamp]] = READINGS
) -> dict[str, dict[str, float]]:
    """Of each reading: the largest residual's share of the squared gradient, and which way that residual is pushed.

    `raises` is 1 where a step down the gradient makes the largest residual larger, as LAMP with an attached maximum
    does: Σ r·∂L/∂r = 0, while all other residuals shrink.
    """
    largest = (target - output).abs().flatten().argmax()
    found = {}
    for name, (loss, lamp) in readings.items():
        gradient = output_gradient(loss, lamp, output, target).flatten()
        outward = gradient[largest] * (output - target).flatten()[largest] < 0
        found[name] = {"share": largest_share(loss, lamp, output, target), "raises": float(outward)}
    return found


def share_at_sizes(
    output: Tensor, target: Tensor, sizes: tuple[int, ...], readings: Mapping[str, tuple[str, Lamp]] = READINGS
) -> dict[str, list[float]]:
    """:func:`largest_share` of each reading, mean over consecutive batches of each of `sizes`."""
    return {
        name: [
            float(np.mean([largest_share(loss, lamp, *part) for part in batches(output, target, size)]))
            for size in sizes
        ]
        for name, (loss, lamp) in readings.items()
    }


def batches(output: Tensor, target: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Whole consecutive batches of `size`; ValueError if there is none."""
    count = len(target) // size
    if count == 0:
        raise ValueError(f"gradient share: expected at least {size} samples for a batch of {size}, found {len(target)}")
    return [(output[i * size : (i + 1) * size], target[i * size : (i + 1) * size]) for i in range(count)]

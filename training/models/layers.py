"""An autoencoder as rows of numbers, and its convolutions as matrix products: what stacks and tangents are made of.

Activations lie in memory as (model, image, row, column, channel). The identities are those of
:mod:`training.fitting.stack`.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.models.autoencoder import SLOPE, Autoencoder

__all__ = [
    "SLOPE",
    "Autoencoder",
    "Layer",
    "box",
    "layers_of",
    "overlaid",
    "packed",
    "packed_order",
    "patches",
    "stages",
    "unpack",
]
FEW_CHANNELS = 4  # an image has 1 or 3


@dataclass(frozen=True)
class Layer:
    """One stage of the autoencoder, and where its numbers lie in a model's row of parameters and of statistics."""

    up: bool
    normed: bool
    inputs: int
    outputs: int
    kernel: int
    start: int
    stats_start: int

    @property
    def sizes(self) -> list[int]:
        """Numbers in weight, bias[, scale and shift of the batch norm]."""
        norm = [self.outputs] * 2 if self.normed else []
        return [self.inputs * self.outputs * self.kernel**2, self.outputs, *norm]

    def split(self, rows: Tensor) -> list[Tensor]:
        """The layer's parts (k, …) of rows (k, P) of parameters, as views: the weight a matrix, others (k, 1, C')."""
        weight, *vectors = rows[:, self.start : self.start + sum(self.sizes)].split(self.sizes, dim=1)
        matrix = weight.unflatten(1, (self.inputs if self.up else self.kernel**2 * self.inputs, -1))
        return [matrix, *(vector[:, None] for vector in vectors)]

    def split_stats(self, rows: Tensor) -> list[Tensor]:
        """Running mean and variance (k, 1, C') of rows of statistics, as views."""
        if not self.normed:
            return []
        own = rows[:, None, self.stats_start : self.stats_start + 2 * self.outputs]
        return list(own.split(self.outputs, dim=2))

    def stored(self, weight: Tensor) -> Tensor:
        """A convolution's weight (C', C, k, k) as (k, k, C, C'), or flipped as (C, k, k, C') where it upsamples."""
        return weight.flip(-1, -2).permute(1, 2, 3, 0) if self.up else weight.permute(2, 3, 1, 0)

    def restored(self, matrix: Tensor) -> Tensor:
        """Undo :meth:`stored`, from the flat matrix."""
        k = self.kernel
        if self.up:
            return matrix.view(self.inputs, k, k, self.outputs).permute(3, 0, 1, 2).flip(-1, -2)
        return matrix.view(k, k, self.inputs, self.outputs).permute(3, 2, 0, 1)


def stages(model: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Convolution and batch norm of each stage of an :class:`Autoencoder`; ValueError for another model."""
    if type(model) is not Autoencoder:
        raise ValueError(f"stack: expected an Autoencoder, found {type(model).__name__}")
    for half in model.children():
        for stage in half.children():
            conv = next(part for part in stage.children() if isinstance(part, nn.Conv2d))
            yield conv, next((part for part in stage.children() if isinstance(part, nn.BatchNorm2d)), None)


def layers_of(model: nn.Module) -> list[Layer]:
    """The layers of `model` with their places in a row, in order."""
    result: list[Layer] = []
    start = stats_start = 0
    for conv, norm in stages(model):
        up = conv.stride == (1, 1)
        kernel = conv.kernel_size[0]
        layer = Layer(up, norm is not None, conv.in_channels, conv.out_channels, kernel, start, stats_start)
        start += sum(layer.sizes)
        stats_start += 2 * layer.outputs if layer.normed else 0
        result.append(layer)
    return result


def state_tensors(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[list[Any], list[Any]]:
    """The vectors of a stage's parameters (bias[, scale, shift]) and of its statistics ([mean, variance])."""
    if norm is None:
        return [conv.bias], []
    return [conv.bias, norm.weight, norm.bias], [norm.running_mean, norm.running_var]


@torch.no_grad()
def packed(layers: Sequence[Layer], model: nn.Module) -> tuple[Tensor, Tensor]:
    """A model's row of parameters (P,) and row of statistics (S,)."""
    parameters, statistics = [], []
    for layer, stage in zip(layers, stages(model), strict=True):
        vectors, running = state_tensors(*stage)
        parameters += [layer.stored(stage[0].weight).flatten(), *vectors]
        statistics += running
    return torch.cat(parameters), torch.cat(statistics)


def packed_order(layers: Sequence[Layer], model: nn.Module) -> Tensor:
    """(P,) for each place in a row of :func:`packed`, its place among the model's parameters."""
    numbered = copy.deepcopy(model).double()
    count = sum(parameter.numel() for parameter in numbered.parameters())
    nn.utils.vector_to_parameters(torch.arange(count, dtype=torch.float64), numbered.parameters())
    return packed(layers, numbered)[0].long()


@torch.no_grad()
def unpack(layers: Sequence[Layer], parameters: Tensor, statistics: Tensor, model: nn.Module) -> None:
    """Copy rows (P,) and (S,) into `model`, the inverse of :func:`packed`."""
    for layer, stage in zip(layers, stages(model), strict=True):
        weight, *parts = layer.split(parameters[None])
        stage[0].weight.copy_(layer.restored(weight.flatten()))
        vectors, running = state_tensors(*stage)
        for target, source in zip(vectors + running, parts + layer.split_stats(statistics[None]), strict=True):
            target.copy_(source.flatten())


def patches(padded: Tensor, kernel: int) -> Tensor:
    """Patches of stride 2 as rows (k, B·h·w, kernel²·C) of images (k, B, 2(h + r), 2(w + r), C), r = ⌊kernel/2⌋."""
    k, images, height, width, channels = padded.shape
    h, w = height // 2 - kernel // 2, width // 2 - kernel // 2
    model, image, row, column, _ = padded.stride()
    if channels <= FEW_CHANNELS:  # taps outermost in memory, so that a row of pixels is copied at a time
        shape = (k, kernel, kernel, channels, images, h, w)
        windows = padded.as_strided(shape, (model, row, column, 1, image, 2 * row, 2 * column))
        return windows.reshape(k, kernel**2 * channels, -1).transpose(1, 2)
    shape = (k, images, h, w, kernel, kernel, channels)
    windows = padded.as_strided(shape, (model, image, 2 * row, 2 * column, row, column, 1))
    return windows.reshape(k, images * h * w, -1)


def overlaid(rows: Tensor, images: int, h: int, w: int, kernel: int) -> Tensor:
    """The adjoint of :func:`patches`: overlapping patches summed, (k, B, 2(h + r), 2(w + r), C)."""
    k, r = len(rows), kernel // 2
    windows = rows.view(k, images, h, w, kernel, kernel, -1).permute(0, 1, 2, 4, 3, 5, 6)
    # Pixels in pairs, so that two taps of a row at a time are one run in memory.
    result = rows.new_empty(k, images, h + r, 2, w + r, 2, windows.shape[-1])
    result[:, :, h:] = 0
    result[:, :, :h, :, w:] = 0
    for i in range(0, kernel, 2):
        for j in range(0, kernel, 2):
            taps = windows[:, :, :, i : i + 2, :, j : j + 2]
            y, x = i // 2, j // 2
            place = result[:, :, y : y + h, : taps.shape[3], x : x + w, : taps.shape[5]]
            if i == j == 0:
                place.copy_(taps) if kernel > 1 else _spread(result[:, :, :h, :, :w], taps)
            else:
                place.add_(taps)
    return result.view(k, images, 2 * (h + r), 2 * (w + r), -1)


def _spread(result: Tensor, taps: Tensor) -> None:
    """A kernel of one tap: every second pixel."""
    result.zero_()
    result[:, :, :, :1, :, :1] = taps


def box(images: Tensor) -> Tensor:
    """Sums over windows of 2×2 pixels: (k, B, H, W, C) to (k, B, H - 1, W - 1, C)."""
    rows = images[:, :, 1:] + images[:, :, :-1]
    return rows[:, :, :, 1:] + rows[:, :, :, :-1]

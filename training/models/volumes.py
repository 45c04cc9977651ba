"""The pass of one autoencoder over a large batch, by oneDNN's convolutions with images innermost.

Feature maps are small and batches large, so activations lie in memory as (volume, row, column, image, channel): to
oneDNN volumes (N, C, H, W, B/N) in channels-last order, whose third axis is the images. Each tap of a kernel is then a
matrix product over all images of a volume, without copies, and a tap on padding costs nothing. There are two volumes,
since for one alone torch takes a slow kernel. Other identities, exact up to rounding, as in
:mod:`training.models.rewrite`:

- *Box.* Nearest upsampling by 2 and a k×k convolution are a transposed convolution of stride 2 with the flipped kernel,
  summed over windows of 2×2.
- *Blocks.* The last layer gives few channels: 4×4 pixels are computed as 16 channels of a convolution of stride 2,
  whose kernel is `spread` @ weights.
"""

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from training.models.layers import Layer
from training.models.normalization import PART, normalized, normalized_backward

VOLUMES = 2
BLOCK = 4  # pixels a side
DILATION, NO_PADDING = [1, 1, 1], [0, 0, 0]


def fits(layers: Sequence[Layer], images: Tensor) -> bool:
    """Whether :class:`Volumes` can take images (k, B, H, W, C)."""
    _, count, height, width, _ = images.shape
    return count % VOLUMES == 0 and height % BLOCK == 0 and width % BLOCK == 0 and layers[-1].kernel > 1


class Volumes:
    """One model of a stack, views of its row, and the pass over it: for :class:`training.fitting.stack.Chunk`."""

    def __init__(self, layers: Sequence[Layer], parameters: Tensor, gradients: Tensor, statistics: Tensor):
        self.layers = layers
        self.parameters = [layer.split(parameters) for layer in layers]
        self.gradients = [layer.split(gradients) for layer in layers]
        self.statistics = [layer.split_stats(statistics) for layer in layers]

    def forward(self, images: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Outputs (1, B, H, W, C) of images of that shape in training mode, and what the backward pass needs."""
        saved = []
        _, _, height, width, channels = images.shape
        halves = images.view(VOLUMES, -1, height, width, channels)
        values = as_volumes(halves.permute(0, 2, 3, 1, 4).contiguous())
        for layer, (weight, bias, *affine), running in zip(self.layers, self.parameters, self.statistics, strict=True):
            kernel = kernel_of(layer, weight)
            inputs, values = values, torch.ops.aten.convolution(values, kernel, None, *geometry(layer))
            values = values.contiguous(memory_format=torch.channels_last_3d)  # it is, but for a kernel not of oneDNN
            if layer.up and not in_blocks(layer):
                values = boxed(values)
            if layer.normed:
                rows, kept = normalized(as_rows(values), bias, affine, running)
                values = as_volumes(rows.view(places(values).shape))
            else:
                as_rows(values).view(-1, layer.outputs).add_(bias[0]).sigmoid_()
                kept = [values]
            saved.append([inputs, kernel, *kept])
        blocks = places(values).view(VOLUMES, height // BLOCK, width // BLOCK, -1, BLOCK, BLOCK, channels)
        return blocks.permute(0, 3, 1, 4, 2, 5, 6).reshape(images.shape), saved

    def backward(self, gradient: Tensor, saved: list[list[Tensor]]) -> None:
        """Write the parameters' gradients, given that of the outputs."""
        _, _, height, width, channels = gradient.shape
        shape = (VOLUMES, -1, height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
        blocks = gradient.reshape(shape).permute(0, 2, 4, 1, 3, 5, 6)
        gradient = as_volumes(blocks.reshape(VOLUMES, height // BLOCK, width // BLOCK, -1, BLOCK**2 * channels))
        for number in reversed(range(len(self.layers))):
            layer, (_, _, *affine) = self.layers[number], self.parameters[number]
            to_weight, to_bias, *to_affine = self.gradients[number]
            inputs, kernel, *kept = saved.pop()
            if layer.normed:
                rows = normalized_backward(as_rows(gradient), kept, affine, to_affine)
                gradient = as_volumes(rows.view(places(gradient).shape))
            else:
                gradient = torch.ops.aten.sigmoid_backward(gradient, kept[0])
                torch.sum(as_rows(gradient).view(1, -1, layer.outputs), 1, keepdim=True, out=to_bias)
            if layer.up and not in_blocks(layer):
                gradient = boxed_adjoint(gradient)
            wanted = [number > 0, True, False]
            back, to_kernel, _ = torch.ops.aten.convolution_backward(
                gradient, inputs, kernel, None, *geometry(layer), wanted
            )
            put_gradient(layer, to_kernel, to_weight)
            if number:
                gradient = back.contiguous(memory_format=torch.channels_last_3d)


def places(volumes: Tensor) -> Tensor:
    """Volumes (N, C, H, W, B/N) as they lie in memory, (N, H, W, B/N, C)."""
    return volumes.permute(0, 2, 3, 4, 1)


def as_rows(volumes: Tensor) -> Tensor:
    """Volumes as (1, M, C), a view."""
    return places(volumes).view(1, -1, volumes.shape[1])


def as_volumes(values: Tensor) -> Tensor:
    """Undo :func:`places`."""
    return values.permute(0, 4, 1, 2, 3)


def geometry(layer: Layer) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    """Stride, padding, dilation, whether transposed, output padding and groups of a layer's convolution."""
    half = layer.kernel // 2
    padding = (half + 1) // 2 if in_blocks(layer) else half - layer.up
    return [2, 2, 1], [padding, padding, 0], DILATION, layer.up and not in_blocks(layer), NO_PADDING, 1


def in_blocks(layer: Layer) -> bool:
    """Whether a layer is the last one."""
    return not layer.normed


def kernel_of(layer: Layer, weight: Tensor) -> Tensor:
    """The kernel of a layer's convolution of volumes, from its weight matrix (1, ·, ·)."""
    k, inputs, outputs = layer.kernel, layer.inputs, layer.outputs
    if not layer.up:
        return weight.view(k, k, inputs, outputs).permute(3, 2, 0, 1)[..., None]
    if not in_blocks(layer):
        return weight.view(inputs, k, k, outputs).permute(0, 3, 1, 2)[..., None]
    side = block_side(k)
    taps = spread(k, weight.dtype) @ weight.view(inputs, k * k, outputs)
    blocks = taps.view(inputs, BLOCK, BLOCK, side, side, outputs).permute(1, 2, 5, 0, 3, 4)
    return blocks.reshape(BLOCK**2 * outputs, inputs, side, side, 1)


def put_gradient(layer: Layer, to_kernel: Tensor, to_weight: Tensor) -> None:
    """Write the gradient of the weight matrix (1, ·, ·), given that of the kernel: the adjoint of :func:`kernel_of`."""
    k, inputs, outputs = layer.kernel, layer.inputs, layer.outputs
    if not layer.up:
        to_weight.view(k, k, inputs, outputs).copy_(to_kernel[..., 0].permute(2, 3, 1, 0))
        return
    if not in_blocks(layer):
        to_weight.view(inputs, k, k, outputs).copy_(to_kernel[..., 0].permute(0, 2, 3, 1))
        return
    side = block_side(k)
    taps = to_kernel.view(BLOCK, BLOCK, outputs, inputs, side, side).permute(3, 0, 1, 4, 5, 2)
    to_weight.view(inputs, k * k, outputs).copy_(spread(k, to_weight.dtype).T @ taps.reshape(inputs, -1, outputs))


def boxed(volumes: Tensor) -> Tensor:
    """Sums over windows of 2×2: (N, C, H + 1, W + 1, b) to (N, C, H, W, b)."""
    source = places(volumes)
    size, height, width, images, channels = source.shape
    result = source.new_empty(size, height - 1, width - 1, images, channels)
    for volume, out in zip(source, result, strict=True):
        for first, last in strips(height - 1, out[0].numel()):
            rows = volume[first + 1 : last + 1] + volume[first:last]
            torch.add(rows[:, 1:], rows[:, :-1], out=out[first:last])
    return as_volumes(result)


def boxed_adjoint(volumes: Tensor) -> Tensor:
    """The adjoint of :func:`boxed`."""
    source = places(volumes)
    size, height, width, images, channels = source.shape
    result = source.new_empty(size, height + 1, width + 1, images, channels)
    for volume, out in zip(source, result, strict=True):
        for first, last in strips(height + 1, out[0].numel()):
            low, high = max(0, first - 1), min(height, last)  # of the rows that the strip has parts of
            rows = out.new_empty(high - low, width + 1, images, channels)
            torch.add(volume[low:high, 1:], volume[low:high, :-1], out=rows[:, 1:width])
            rows[:, 0], rows[:, width] = volume[low:high, 0], volume[low:high, -1]
            if first == 0:
                out[0] = rows[0]
            if last > height:
                out[height] = rows[-1]
            torch.add(rows[1:], rows[:-1], out=out[low + 1 : high])
    return as_volumes(result)


def strips(height: int, row: int) -> list[tuple[int, int]]:
    """(first, past the last) rows of strips that stay in the caches, for rows of `row` values."""
    step = max(1, PART // row)
    return [(first, min(height, first + step)) for first in range(0, height, step)]


def block_side(kernel: int) -> int:
    """Taps a side of the kernel that gives blocks."""
    return 2 * ((kernel // 2 + 1) // 2) + 2


@functools.cache
@torch.inference_mode(False)
def spread(kernel: int, dtype: torch.dtype) -> Tensor:
    """The matrix, one axis times the other, from a flipped k×k kernel to the one that gives blocks.

    Along an axis upsampling and convolution are a transposed convolution with taps T_j = w_j + w_{j−1}, j = 0…k, absent
    w being 0. A block's pixel r = 0…3 has from input row p the tap T_{r+h+2(q−p)}, h = ⌊k/2⌋, q = ⌈h/2⌉
    (:func:`training.models.rewrite.block_kernel`).
    """
    half, side = kernel // 2, block_side(kernel)
    rows = torch.zeros(BLOCK, side, kernel, dtype=dtype)
    for pixel, place, tap in itertools.product(range(BLOCK), range(side), range(kernel)):
        rows[pixel, place, tap] = pixel + half + 2 * ((half + 1) // 2 - place) - tap in (0, 1)
    return torch.einsum("rpi,sqj->rspqij", rows, rows).reshape((BLOCK * side) ** 2, kernel**2)

"""Batch norm at evaluation folded into the convolution before it, and how derivatives pass through the fold.

With r = 1/√(σ² + ε) and s = γ·r for each filter, W' = s·W and b' = s·(b − μ) + β. A dot is the derivative along a
vector of parameters, g the loss's gradient in W' and b', sums are over what belongs to a filter:

    Ẇ' = ṡ·W + s·Ẇ          ḃ' = ṡ·(b − μ) + s·ḃ + β̇                 ṡ = γ̇·r
    g_W = s·g_W'             g_b = s·g_b'      g_β = g_b'               g_γ = r·(Σ g_W'·W + g_b'·(b − μ))

and the derivatives of the second line along the vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.layers import Autoencoder, Layer, box, layers_of, overlaid, packed, patches, stages

Pair = tuple[Tensor, Tensor]  # matrix (k, K, N) of the folded convolution and its bias (k, 1, C'), or gradients in them


@dataclass
class Fold:
    """A stage at its present weights, in the layout of :class:`training.models.layers.Layer`: rows of k = 1.

    weight (1, n, C') with n weights a filter, the others (1, 1, C'). A stage without batch norm has r = 0 and s = 1.
    """

    layer: Layer
    weight: Tensor
    centred: Tensor  # b − μ
    shift: Tensor  # β
    rate: Tensor  # r
    scale: Tensor  # s

    def folded(self) -> Pair:
        """W' and b'."""
        return self._matrix(self.scale * self.weight), self.scale * self.centred + self.shift

    def tangent(self, rows: Tensor) -> Pair:
        """Ẇ' and ḃ' along each row (k, P)."""
        weight, bias, scale, shift = self._parts(rows)
        moved = torch.addcmul(scale * self.weight, self.scale, weight)
        return self._matrix(moved), scale * self.centred + self.scale * bias + shift

    def curvature(self, rows: Tensor, gradient: Pair) -> Tensor:
        """Σ g·(second derivatives of W' and b' along each row (k, P)); (k,)."""
        weight, bias, scale, _ = self._parts(rows)
        return 2 * (scale * ((self._flat(gradient[0]) * weight).sum(1, keepdim=True) + gradient[1] * bias)).sum((1, 2))

    def gradient(self, gradient: Pair) -> Tensor:
        """The gradient in the stage's parameters, in the order of a row (1, …)."""
        weight = self._flat(gradient[0])
        scale = self.rate * ((weight * self.weight).sum(1, keepdim=True) + gradient[1] * self.centred)
        return self._row(self.scale * weight, self.scale * gradient[1], scale, gradient[1])

    def gradient_tangent(self, rows: Tensor, gradient: Pair, change: Pair) -> Tensor:
        """The derivative of :meth:`gradient` along each row (k, P), `change` being that of `gradient`; (k, …)."""
        weight, bias, scale, _ = self._parts(rows)
        own, changed = self._flat(gradient[0]), self._flat(change[0])
        sums = (torch.addcmul(changed * self.weight, own, weight)).sum(1, keepdim=True)
        to_scale = self.rate * (sums + change[1] * self.centred + gradient[1] * bias)
        to_weight = torch.addcmul(scale * own, self.scale, changed)
        return self._row(to_weight, scale * gradient[1] + self.scale * change[1], to_scale, change[1])

    def _parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ẇ, ḃ, ṡ and β̇ of rows (k, P)."""
        weight, bias, *affine = self.layer.split(rows)
        scale, shift = affine or (torch.zeros_like(bias),) * 2
        return self._flat(weight), bias, scale * self.rate, shift

    def _row(self, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        parts = [weight, bias, scale, shift] if self.layer.normed else [weight, bias]
        return torch.cat([part.flatten(1) for part in parts], 1)

    def _flat(self, matrix: Tensor) -> Tensor:
        """(k, K, N) as (k, n, C')."""
        return matrix.reshape(len(matrix), -1, self.layer.outputs)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Undo :meth:`_flat`."""
        return weight.view(len(weight), -1, self.layer.outputs * (self.layer.kernel**2 if self.layer.up else 1))


@torch.no_grad()
def folds_of(model: nn.Module) -> list[Fold]:
    """The stages of an :class:`training.models.autoencoder.Autoencoder` at its present weights and statistics."""
    layers = layers_of(model)
    parameters, statistics = packed(layers, model)
    return [
        _fold(layer, norm.eps if norm else 0.0, parameters[None], statistics[None])
        for layer, (_, norm) in zip(layers, stages(model), strict=True)
    ]


def _fold(layer: Layer, eps: float, parameters: Tensor, statistics: Tensor) -> Fold:
    weight, bias, *affine = layer.split(parameters)
    flat = weight.reshape(1, -1, layer.outputs)
    if not layer.normed:
        zero = torch.zeros_like(bias)
        return Fold(layer, flat, bias, zero, zero, torch.ones_like(bias))
    mean, variance = layer.split_stats(statistics)
    rate = (variance + eps).rsqrt()
    return Fold(layer, flat, bias - mean, affine[1], rate, affine[0] * rate)


def is_chain(model: nn.Module, images: Tensor) -> bool:
    """Whether `model` is a plain :class:`training.models.autoencoder.Autoencoder` in evaluation mode, nothing hooked.

    And whether `images` (B, C, H, W) are such that each stage halves or doubles them.
    """
    if type(model) is not Autoencoder or model.training or images.ndim != 4:
        return False
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convs or convs[0].kernel_size[0] % 2 == 0:
        return False
    if any(length % 2 ** (len(convs) // 2) for length in images.shape[2:]):
        return False
    shape = (convs[0].in_channels, convs[0].out_channels, len(convs) // 2, convs[0].kernel_size[0])
    with torch.device("meta"):
        twin = Autoencoder(*shape)
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    counts = [sum(p.numel() for p in module.parameters()) for module in (model, twin)]  # tied weights count once
    return repr(model) == repr(twin.eval()) and counts[0] == counts[1] and not hooked


def order_of(model: nn.Module) -> Tensor:
    """Indices (P,) that turn a row of the model's parameters, in their own order, into one as the stages have it."""
    sizes = [parameter.numel() for parameter in model.parameters()]
    numbers = iter(torch.arange(sum(sizes)).split(sizes))
    result: list[Tensor] = []
    for layer, (conv, _) in zip(layers_of(model), stages(model), strict=True):
        result.append(layer.stored(next(numbers).view_as(conv.weight)).flatten())
        result += [next(numbers) for _ in layer.sizes[1:]]
    return torch.cat(result).to(next(model.parameters()).device)


def taken(layer: Layer, images: Tensor) -> Tensor:
    """The rows (k, M, K) that a layer multiplies with its matrix, of images (k, B, H, W, C)."""
    r = layer.kernel // 2
    if layer.up:
        return images.reshape(len(images), -1, layer.inputs)
    return patches(F.pad(images, (0, 0, r, r, r, r)), layer.kernel)


def taken_adjoint(layer: Layer, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """The adjoint of :func:`taken`, for images of `shape` (·, B, H, W, C)."""
    _, count, height, width, _ = shape
    if layer.up:
        return rows.view(len(rows), *shape[1:])
    r = layer.kernel // 2
    summed = overlaid(rows, count, height // 2, width // 2, layer.kernel)
    return summed[:, :, r : r + height, r : r + width]


def put(layer: Layer, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """The images (k, B, H', W', C') that the products (k, M, N) make, from images of `shape`: without the bias."""
    _, count, height, width, _ = shape
    if not layer.up:
        return rows.view(len(rows), count, height // 2, width // 2, layer.outputs)
    r = layer.kernel // 2
    summed = overlaid(rows, count, height, width, layer.kernel)
    if r == 0:
        summed = F.pad(summed, (0, 0, 1, 0, 1, 0))
    first = max(r - 1, 0)
    return box(summed[:, :, first : first + 2 * height + 1, first : first + 2 * width + 1])


def put_adjoint(layer: Layer, images: Tensor) -> Tensor:
    """The adjoint of :func:`put`."""
    if not layer.up:
        return images.reshape(len(images), -1, layer.outputs)
    r = layer.kernel // 2
    # A row and a column more than the box leaves: `patches` counts pixels in pairs.
    return patches(box(F.pad(images, (0, 0, r, r + 1, r, r + 1))), layer.kernel)

"""Batch norm and leaky ReLU of rows for several models at once, written out: one pass forward, one back.

Sums over a batch run to a quarter of a million values, so how they are added matters. torch's own batch norm adds one
after the other where channels are innermost in memory, and loses three digits on a real batch; `torch.sum` adds in
blocks, whose error hardly grows with the number of values.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.models.autoencoder import SLOPE

EPS, MOMENTUM = 1e-5, 0.1  # of torch's batch norm
ROW = 256  # values that an operation with a vector runs along: for a row of few channels its loop costs more than sums
PART = 2**16  # values that several operations in turn find in the caches


def normalized(
    values: Tensor, bias: Tensor, affine: Sequence[Tensor], running: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Batch norm and leaky ReLU of (k, M, C) over M, which updates `running`; and what the backward pass needs.

    `bias` (k, 1, C) is what the values would have more, which only shifts the running mean. Overwrites `values`.
    """
    count = values.shape[1]
    if count == 1:
        raise ValueError("batch norm: expected more than one value a channel, found a 1×1 code in a batch of one")
    centred, result = values, torch.empty_like(values)
    parts, results = in_parts(centred), in_parts(result)
    mean = total([part.sum(1, keepdim=True) for part in parts], bias).div_(count)
    step = repeated(mean.neg(), parts)
    squares = []
    for part, square in zip(parts, results, strict=True):
        part.add_(step)
        squares.append(torch.mul(part, part, out=square).sum(1, keepdim=True))
    variance = total(squares, bias).div_(count)
    inverse = (variance + EPS).rsqrt_()
    running[0].lerp_(mean.add_(bias), MOMENTUM)
    running[1].lerp_(variance.mul_(count / (count - 1)), MOMENTUM)
    scale, shift = repeated(affine[0] * inverse, parts), repeated(affine[1], parts)
    for part, out in zip(parts, results, strict=True):
        F.leaky_relu_(torch.addcmul(shift, part, scale, out=out), SLOPE)
    return result, [result, centred, inverse]


def normalized_backward(
    gradient: Tensor, kept: Sequence[Tensor], affine: Sequence[Tensor], to_affine: Sequence[Tensor]
) -> Tensor:
    """The gradient (k, M, C) before batch norm of that after the leaky ReLU; writes those of scale and shift.

    Overwrites `gradient` and what was kept: new memory costs more than a pass over what is in the caches.
    """
    count = gradient.shape[1]
    scale, (to_scale, to_shift) = affine[0], to_affine
    result, centred, inverse = kept
    parts = list(zip(*map(in_parts, (gradient, result, centred)), strict=True))
    shifts, scales = [], []
    for part, out, factor in parts:
        torch.ops.aten.leaky_relu_backward.grad_input(part, out, SLOPE, True, grad_input=part)
        shifts.append(part.sum(1, keepdim=True))
        scales.append(torch.mul(part, factor, out=out).sum(1, keepdim=True))
    to_shift.copy_(total(shifts, scale))
    torch.mul(total(scales, scale), inverse, out=to_scale)
    # γ/σ·(g − mean(g) − x̂·mean(g·x̂)), as slope·x + offset + factor·g
    factor = scale * inverse
    vectors = factor * inverse * to_scale / -count, factor * to_shift / -count, factor
    slope, offset, factor = (repeated(vector, parts[0]) for vector in vectors)
    for part, out, values in parts:
        torch.addcmul(offset, values, slope, out=out).addcmul_(part, factor)
    return result


def in_parts(values: Tensor) -> tuple[Tensor, ...]:
    """(k, M, C) as views (k, ·, n·C) of consecutive rows, n a row; for few values a model one, of n = 1.

    How a model's sums are ordered does not depend on k, and so not on how models are divided among threads.
    """
    k, count, channels = values.shape
    if count * channels <= PART:
        return (values,)
    times = math.gcd(count, max(1, ROW // channels))
    return values.view(k, count // times, times * channels).split(max(1, PART // (times * channels)), dim=1)


def repeated(vector: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """A vector (k, 1, C) for rows of `parts`."""
    times = parts[0].shape[2] // vector.shape[2]
    return vector.repeat(1, 1, times) if times > 1 else vector


def total(sums: Sequence[Tensor], like: Tensor) -> Tensor:
    """The sum of the parts' sums (k, 1, n·C), as (k, 1, C) `like` that."""
    k, _, channels = like.shape
    if len(sums) == 1 and sums[0].shape == like.shape:
        return sums[0]
    return torch.cat([part.view(k, -1, channels) for part in sums], dim=1).sum(1, keepdim=True)

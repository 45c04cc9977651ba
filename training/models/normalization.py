"""Batch norm and leaky ReLU of rows for several models at once, written out: one pass forward, one back.

Sums over a batch run to a quarter of a million values, so how they are added matters. torch's own batch norm adds one
after the other where channels are innermost in memory, and loses three digits on a real batch; `torch.sum` adds in
blocks, whose error hardly grows with the number of values.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.models.autoencoder import SLOPE

EPS, MOMENTUM = 1e-5, 0.1  # of torch's batch norm


def normalized(
    values: Tensor, bias: Tensor, affine: Sequence[Tensor], running: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Batch norm and leaky ReLU of (k, M, C) over M, which updates `running`; and what the backward pass needs.

    `bias` (k, 1, C) is what the values would have more, which only shifts the running mean. Overwrites `values`.
    """
    count = values.shape[1]
    if count == 1:
        raise ValueError("batch norm: expected more than one value a channel, found a 1×1 code in a batch of one")
    mean = values.sum(1, keepdim=True).div_(count)
    centred = values.sub_(mean)
    variance = centred.square().sum(1, keepdim=True).div_(count)
    inverse = (variance + EPS).rsqrt_()
    running[0].lerp_(mean.add_(bias), MOMENTUM)
    running[1].lerp_(variance.mul_(count / (count - 1)), MOMENTUM)
    scale, shift = affine
    result = F.leaky_relu_(torch.addcmul(shift, centred, scale * inverse), SLOPE)
    return result, [result, centred, inverse]


def normalized_backward(
    gradient: Tensor, kept: Sequence[Tensor], affine: Sequence[Tensor], to_affine: Sequence[Tensor]
) -> Tensor:
    """The gradient (k, M, C) before batch norm of that after the leaky ReLU; writes those of scale and shift."""
    count = gradient.shape[1]
    scale, (to_scale, to_shift) = affine[0], to_affine
    result, centred, inverse = kept
    gradient = torch.ops.aten.leaky_relu_backward(gradient, result, SLOPE, True)
    torch.sum(gradient, 1, keepdim=True, out=to_shift)
    torch.sum(gradient * centred, 1, keepdim=True, out=to_scale).mul_(inverse)
    # γ/σ·(g − mean(g) − x̂·mean(g·x̂)), as slope·x + offset + factor·g
    factor = scale * inverse
    slope, offset = factor * inverse * to_scale / -count, factor * to_shift / -count
    return torch.addcmul(offset, centred, slope).addcmul_(gradient, factor)

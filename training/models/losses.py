"""Reconstruction losses as per-pixel maps, and LAMP, the amplification of any of them.

Every function takes `(output, target)` of shape (B, C, H, W) with values in [0, 1]. A training loss is summed over an
image's pixels and averaged over the batch, so that a learning rate means the same for all of them.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.config import RunConfig
from training.runtime.command import InputError

SSIM_SIGMA = 1.5
SSIM_RADIUS = 5  # an 11-pixel window, Wang et al. 2004
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
FOCAL_EPS = 1e-3


def l2_map(output: Tensor, target: Tensor) -> Tensor:
    """Squared error (y - ŷ)² per pixel, in [0, 1] for images in [0, 1]; shape (B, C, H, W)."""
    return (target - output).square()


def l1_map(output: Tensor, target: Tensor) -> Tensor:
    """Absolute error |y - ŷ| per pixel, in [0, 1] for images in [0, 1]; shape (B, C, H, W)."""
    return (target - output).abs()


def l4_map(output: Tensor, target: Tensor) -> Tensor:
    """Fourth power of the error (y - ŷ)⁴ per pixel, in [0, 1]; large residuals weigh more, without LAMP's maximum."""
    return (target - output).square().square()


def focal_map(output: Tensor, target: Tensor) -> Tensor:
    """-b·log(1 - b·(1 - ε)) / -log ε per pixel, b = (y - ŷ)², ε = 0.001, in [0, 1]: large residuals weigh more.

    The focal loss (Lin et al., ICCV 2017) with γ = 1 of a probability 1 - b: LAMP's logarithm, weighted by the error
    itself instead of divided by a maximum.
    """
    base = (target - output).square()
    return base * torch.log1p(base * (FOCAL_EPS - 1)) / math.log(FOCAL_EPS)


def ssim_map(output: Tensor, target: Tensor) -> Tensor:
    """Structural dissimilarity (1 - SSIM)/2 per pixel and channel, in [0, 1]; shape (B, C, H, W).

    SSIM as in Wang et al. (2004): an 11-pixel Gaussian window of standard deviation 1.5, K₁ = 0.01, K₂ = 0.03, data
    range 1, population variances. At the borders the images are mirrored about their edge, so the map has their size.
    """
    blur = functools.partial(_gaussian_blur, matrices=_blur_matrices(target))
    mean_x, mean_y = blur(output), blur(target)
    var_x = blur(output * output) - mean_x * mean_x
    var_y = blur(target * target) - mean_y * mean_y
    cov = blur(output * target) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x * mean_x + mean_y * mean_y + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_x + var_y + SSIM_C2)
    # Rounding may push SSIM a few units in the last place above 1.
    return ((1 - luminance * structure) / 2).clamp(0, 1)


def _gaussian_blur(images: Tensor, matrices: tuple[Tensor, Tensor]) -> Tensor:
    rows, columns = matrices
    return rows @ images @ columns.T


def _blur_matrices(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[-2:]
    return (
        _blur_matrix(height, images.dtype, images.device),
        _blur_matrix(width, images.dtype, images.device),
    )


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept for later calls, which may need gradients
def _blur_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Gaussian blur of a line of `size` pixels as a (size, size) matrix, mirrored as (b a | a b … y z | z y)."""
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = torch.exp(-0.5 * (offsets.double() / SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    source = (torch.arange(size)[:, None] + offsets) % (2 * size)
    source = torch.where(source < size, source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, source, weights.expand(size, -1).contiguous())
    return matrix.to(device=device, dtype=dtype)


@dataclass(frozen=True)
class Lamp:
    """The readings of LAMP that its paper leaves open.

    scale: over what the maximum of Eq. (2) runs: "batch", "sample", or "none" (no maximum, b' = b·(1 - ε)).
    detach: whether the maximum is a constant for the gradient.
    eps: ε of Eq. (2), which bounds the loss of a pixel by -log ε.
    """

    scale: str = "batch"
    detach: bool = False
    eps: float = 1e-3


# Below it a maximum counts as 0: the fourth power of 1e-7, about what single precision tells an output from its target
# by. Gradients multiply by its reciprocal, which stays far within single precision, and nowhere by its square.
SMALLEST_MAXIMUM = 1e-28
# From this ε on 1 - b' is computed as it stands: in single precision to 6e-8/ε of itself, 6e-5 where it is least.
PLAIN_EPS = 1e-3
FIXED_LAMP = Lamp(scale="none")  # a fixed function of the residual, so the same for every model and batch


def lamp_map(base: Tensor, lamp: Lamp) -> Tensor:
    """Amplify a base-loss map: -log(1 - b') with b' = b / max(b) · (1 - ε); a maximum of 0 gives b' = 0.

    Eq. (1)-(2) of Park et al. (ICASSP 2024). `base` is (B, C, H, W) in [0, 1]; so is the shape of the result.
    """
    return -negated_lamp_map(base, lamp)


def negated_lamp_map(base: Tensor, lamp: Lamp, in_place: bool = False) -> Tensor:
    """log(1 - b') of Eq. (1)-(2): negated, as that is what log1p gives, and the sign costs less after a sum.

    Single precision cannot hold a b' within a small ε of 1: its logarithm would be off by 1e-8/ε, and the gradient
    there too. With r = b / max(b), 1 - b' = (1 - r) + ε·r has no cancellation, and
    -log(1 - b') = log1p((1 - ε)·r / (1 - b')) is exact where r is near 0 and where it is near 1. That takes two passes
    over the pixels more, and is done for the ε that need it. in_place: no gradient is wanted, which saves memory.
    """
    ratio = base / maximum_of(base, lamp) if lamp.scale != "none" else base
    if lamp.eps >= PLAIN_EPS:
        scaled = ratio * (lamp.eps - 1)
        return scaled.log1p_() if in_place else torch.log1p(scaled)
    rest = (1 - ratio).add(ratio, alpha=lamp.eps)
    return -torch.log1p((1 - lamp.eps) * (ratio / rest))


def maximum_of(base: Tensor, lamp: Lamp) -> Tensor:
    """max(b) of Eq. (2), over the batch or over each sample; 1 in place of 0."""
    largest = base.amax() if lamp.scale == "batch" else base.amax(dim=tuple(range(1, base.ndim)), keepdim=True)
    if lamp.detach:
        largest = largest.detach()
    return torch.where(largest > SMALLEST_MAXIMUM, largest, 1)


BASES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": l2_map,
    "l1": l1_map,
    "ssim": ssim_map,
    "l4": l4_map,
    "focal": focal_map,
}

#: name of a training loss -> (its base, whether it is amplified)
LOSSES: dict[str, tuple[str, bool]] = {
    **{name: (name, False) for name in BASES},
    **{f"{name}-lamp": (name, True) for name in BASES},
}

PerSample = Callable[[Tensor, Tensor], Tensor]


def base_map(name: str, output: Tensor, target: Tensor) -> Tensor:
    """The map of base loss `name`; InputError unless `output` has the shape of `target` (it would be broadcast)."""
    if output.shape != target.shape:
        raise InputError(
            f"{name}: expected outputs of the targets' shape {tuple(target.shape)}, found {tuple(output.shape)}"
        )
    return BASES[name](output, target)


def per_sample_loss(name: str, lamp: Lamp) -> PerSample:
    """The loss `name` as a function `(output, target) -> (B,)`, summed over the pixels of each image.

    With `lamp.scale == "batch"` the maximum runs over all that one call is given, so a call is a batch.
    """
    base_name, amplified = LOSSES[name]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        values = base_map(base_name, output, target)
        if not amplified:
            return values.flatten(1).sum(1)
        # The sign after the sum, and in place without a gradient: this runs at every point of a surface.
        return -negated_lamp_map(values, lamp, in_place=not values.requires_grad).flatten(1).sum(1)

    return loss


def lamp_of(config: RunConfig) -> Lamp:
    """The reading of LAMP that `config` trains with."""
    return Lamp(config.lamp_scale, config.lamp_detach, config.lamp_eps)


def batch_losses(name: str, lamp: Lamp, batch_size: int) -> PerSample:
    """The training loss `name` of consecutive batches, `(output, target) -> (batches,)`: mean over each batch's images.

    The input is cut into batches of `batch_size` in its order; a last ragged batch is a batch. Equal to
    :func:`per_sample_loss` called batch by batch, in one pass.
    """
    base_name, amplified = LOSSES[name]
    over_batch = amplified and lamp.scale == "batch"
    within = dataclasses.replace(lamp, scale="sample") if over_batch else lamp

    def of_equal_batches(values: Tensor, size: int) -> Tensor:
        batches = len(values) // size
        if over_batch:  # a batch becomes one sample with all its pixels, so its maximum is a sample's
            values = values.reshape(batches, -1, *values.shape[2:])
        if amplified:
            values = lamp_map(values, within)
        return values.reshape(batches, -1).sum(1) / size

    def losses(output: Tensor, target: Tensor) -> Tensor:
        values = base_map(base_name, output, target)
        rest = len(values) % batch_size
        parts = []
        if len(values) > rest:
            parts.append(of_equal_batches(values[: len(values) - rest], batch_size))
        if rest:
            parts.append(of_equal_batches(values[len(values) - rest :], rest))
        return torch.cat(parts)

    return losses


#: the fields of a config that its training loss depends on
LOSS_FIELDS = ("loss", "lamp_scale", "lamp_detach", "lamp_eps", "loss_factor", "reduction")


def loss_weight(config: RunConfig, batch: int, pixels: int) -> float:
    """What `config.loss_factor` and `config.reduction` multiply the mean over a batch of per-image sums by.

    `batch` images of `pixels` values each: 1 for "mean", `batch` for "sum", 1/`pixels` for "pixel-mean".
    """
    return config.loss_factor * {"mean": 1.0, "sum": float(batch), "pixel-mean": 1 / pixels}[config.reduction]


def training_loss(config: RunConfig) -> PerSample:
    """The per-sample loss that `config` trains with; its mean over the batch is what is descended."""
    loss = per_sample_loss(config.loss, lamp_of(config))
    if config.loss_factor == 1 and config.reduction == "mean":
        return loss
    return lambda output, target: loss(output, target) * loss_weight(config, len(target), target[0].numel())


def training_batch_losses(config: RunConfig, batch_size: int) -> PerSample:
    """What `config` descends, for consecutive batches of one or several models: `(output, target) -> (batches,)`."""
    losses = batch_losses(config.loss, lamp_of(config), batch_size)

    def weighted(output: Tensor, target: Tensor) -> Tensor:
        full, rest = divmod(len(target), batch_size)
        sizes = [batch_size] * full + [rest] * (rest > 0)
        weights = [loss_weight(config, size, target[0].numel()) for size in sizes]
        return losses(output, target) * output.new_tensor(weights)

    return losses if config.loss_factor == 1 and config.reduction == "mean" else weighted

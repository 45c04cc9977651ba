"""Estimates of the time that training takes, for dry runs and progress; needs no torch."""

import itertools
import math
from collections.abc import Callable

from training.data.config import RunConfig, channels_at

#: Measured on two cores of a shared x86-64 machine (benchmarks/README.md); only ratios matter to a progress bar.
SECONDS_AN_UPDATE = 1.0e-3  # of one model among twenty trained together, whatever its batch
FLOPS_A_SECOND = 3.0e10  # reached in training beyond that
FLOPS_A_SECOND_EVALUATING = 1.5e11
TRAINING_IMAGES = {"mnist": 6000, "fashion-mnist": 6000, "mnist-mini": 1000, "mvtec": 240, "folder": 1000}
TEST_IMAGES = {"mnist": 10_000, "fashion-mnist": 10_000, "mnist-mini": 2000, "mvtec": 115, "folder": 1000}


#: schedule -> about how many evaluations, of the numbers of updates and epochs
EVALUATIONS: dict[str, Callable[[int, int], int]] = {
    "epoch": lambda updates, epochs: epochs,
    "log": lambda updates, epochs: updates.bit_length() + epochs.bit_length(),
    "decade": lambda updates, epochs: min(updates, round(8 * math.log10(updates)) + min(epochs, 5)),
}


def estimated_seconds(config: RunConfig) -> float:
    """Seconds of a run on two CPU cores, within a factor of two or three, from its updates and operations."""
    images = TRAINING_IMAGES[config.dataset] * (10 if config.task == "classify" else 1)
    images = min(config.max_train or images, images)
    updates = config.epochs * -(-images * config.patches // config.batch_size)
    evaluations = EVALUATIONS[config.evaluate](updates, config.epochs)
    flops = flops_an_image(config)
    training = updates * SECONDS_AN_UPDATE + config.epochs * images * 3 * flops / FLOPS_A_SECOND
    training *= 1 if config.sam_rho == 0 else 2  # passes an update
    return training + evaluations * (images + TEST_IMAGES[config.dataset]) * flops / FLOPS_A_SECOND_EVALUATING


def flops_an_image(config: RunConfig) -> float:
    """Multiply-adds × 2 of one forward pass: k² a pair of channels and output pixel, encoder and decoder alike."""
    widths = [config.channels, *channels_at(config.width, config.depth)]
    pairs = itertools.pairwise(widths)
    pixels = [(config.image_size // 2 ** (i + 1)) ** 2 for i in range(config.depth)]
    encoder = sum(2 * config.kernel**2 * a * b * size for (a, b), size in zip(pairs, pixels, strict=True))
    return encoder if config.task == "classify" else 3 * encoder


def readable(seconds: float) -> str:
    """A time span such as 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

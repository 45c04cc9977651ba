"""The paper's convolutional autoencoder, after Collin and De Vleeschouwer (ICPR 2021), without skip connections."""

import itertools
from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from training.config import RunConfig, channels_at

SLOPE = 0.2  # of the leaky ReLU


def encoder_stage(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """`conv k×k stride 2 -> batch norm -> leaky ReLU`: halves height and width."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )


def decoder_stage(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """`nearest upsample ×2 -> conv k×k -> batch norm -> leaky ReLU`: doubles height and width."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )


def output_stage(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """`nearest upsample ×2 -> conv k×k -> sigmoid`: the last stage, whose values are pixels in (0, 1)."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
        nn.Sigmoid(),
    )


class Autoencoder(nn.Sequential):
    """`depth` encoder stages of width, 2·width, … channels (at most 512), mirrored by as many decoder stages.

    Maps (B, channels, H, W) to the same shape, H and W multiples of 2**depth; no skip connections, no dense layer.
    """

    def __init__(self, channels: int = 1, width: int = 16, depth: int = 4, kernel: int = 3):
        widths = channels_at(width, depth)
        encoder = [encoder_stage(a, b, kernel) for a, b in zip([channels, *widths], widths, strict=False)]
        decoder = [decoder_stage(b, a, kernel) for a, b in reversed(list(itertools.pairwise(widths)))]
        super().__init__(
            OrderedDict(
                encoder=nn.Sequential(*encoder),
                decoder=nn.Sequential(*decoder, output_stage(widths[0], channels, kernel)),
            )
        )


MODELS: dict[str, Callable[[RunConfig], nn.Module]] = {
    "autoencoder": lambda config: Autoencoder(config.channels, config.width, config.depth, config.kernel),
}


def build_model(config: RunConfig) -> nn.Module:
    """A freshly initialised model from the global random state; seed it before."""
    return MODELS[config.model](config)

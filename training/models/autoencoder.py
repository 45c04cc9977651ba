"""The paper's convolutional autoencoder, after Collin and De Vleeschouwer (ICPR 2021), without skip connections."""

import itertools
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from training.data.config import DIGITS, RunConfig, channels_at

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


class Classifier(nn.Sequential):
    """The autoencoder's encoder and a linear head with softmax: maps (B, channels, size, size) to (B, classes).

    The reading of the paper's Fig. 3 (an encoder "trained to predict the class labels") that also fits Li et al.'s
    tool, whose squared error is taken between softmax output and one-hot label.
    """

    def __init__(self, autoencoder: Autoencoder, size: int, width: int, depth: int, classes: int):
        encoder = autoencoder.get_submodule("encoder")
        features = channels_at(width, depth)[-1] * (size // 2**depth) ** 2
        head = nn.Sequential(nn.Flatten(), nn.Linear(features, classes), nn.Softmax(dim=1))
        super().__init__(OrderedDict(encoder=encoder, head=head))


MODELS: dict[str, Callable[[RunConfig], Autoencoder]] = {
    "autoencoder": lambda config: Autoencoder(config.channels, config.width, config.depth, config.kernel),
}


def as_classifier(autoencoder: Autoencoder, config: RunConfig) -> Classifier:
    """The autoencoder's own encoder below a fresh head."""
    return Classifier(autoencoder, config.image_size, config.width, config.depth, DIGITS)


def build_model(config: RunConfig) -> nn.Module:
    """A freshly initialised model from the global random state; seed it before."""
    model = MODELS[config.model](config)
    return model if config.task == "reconstruct" else as_classifier(model, config)


def seeded_model(config: RunConfig) -> nn.Module:
    """The model as `config.seed` initialises it; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_model(config)

"""`RunConfig`, the one source of truth of a training run, and the names of every choice in it; needs no torch."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from training.runtime.command import InputError
from training.runtime.typed import misfit

DatasetName = Literal["mnist-mini", "mnist", "fashion-mnist", "mvtec", "folder"]
TaskName = Literal["reconstruct", "classify"]
LossName = Literal["l2", "l1", "ssim", "l4", "focal", "l2-lamp", "l1-lamp", "ssim-lamp", "l4-lamp", "focal-lamp"]
ScaleName = Literal["batch", "sample", "none"]
ReductionName = Literal["mean", "sum", "pixel-mean"]
ModelName = Literal["autoencoder"]
OptimizerName = Literal["adam", "rmsprop", "sgd"]
AugmentName = Literal["none", "flips"]
EvaluateName = Literal["epoch", "log", "decade"]
DirectionName = Literal["gradient", "random"]

MAX_CHANNELS = 512
DIGITS = 10

#: data sets of images of 28×28 in ten classes by number, of which `normal` is one
DIGIT_SETS = ("mnist-mini", "mnist", "fashion-mnist")


@dataclass(frozen=True)
class RunConfig:
    """What a training run is: data, loss, model, optimizer, seed. With equal data, equal configs train equal models."""

    dataset: DatasetName = "mnist-mini"
    """mnist-mini is shipped; mnist, fashion-mnist and mvtec are found under --data-dir; folder takes any images."""
    task: TaskName = "reconstruct"
    """reconstruct the image; classify: an encoder with a linear head predicts the digit (MNIST, all ten digits)."""
    normal: int = 0
    """MNIST: the digit (or the class of fashion-mnist) that is normal; the other nine are anomalies."""
    category: str = "bottle"
    """MVTec AD: the category, a folder name."""
    train_dir: str = ""
    """folder: normal images to train on."""
    test_normal_dir: str = ""
    """folder: normal images to test on."""
    test_anomalous_dir: str = ""
    """folder: anomalous images to test on."""
    image_size: int = 0
    """Height and width in pixels; 0: 32 for MNIST (28 padded), 256 otherwise."""
    channels: int = 0
    """1 for grey, 3 for colour; 0: 1 for MNIST, 3 otherwise."""
    patches: int = 1
    """Patches an image is cut into, a square number; one autoencoder reconstructs all."""
    max_train: int = 0
    """Train on at most so many images, the same for every seed and loss; 0: all."""
    validation: float = 0.0
    """Share of the normal training images held out for choosing an epoch, the same for every seed and loss."""
    augment: AugmentName = "none"
    """flips: each image of a batch is mirrored left-right and up-down, each by the toss of a coin."""

    loss: LossName = "l2"
    """Training loss, summed over pixels, averaged over the batch."""
    lamp_scale: ScaleName = "batch"
    """LAMP: over what the maximum of Eq. (2) runs; the paper leaves it open."""
    lamp_detach: bool = False
    """LAMP: whether that maximum is a constant for the gradient."""
    lamp_eps: float = 1e-3
    """LAMP: epsilon of Eq. (2), at least 1e-6."""
    loss_factor: float = 1.0
    """The training loss is multiplied by it."""
    reduction: ReductionName = "mean"
    """mean: summed over pixels, averaged over the batch; sum: summed over both; pixel-mean: averaged over both."""

    model: ModelName = "autoencoder"
    """Architecture."""
    width: int = 16
    """Channels of the first layer; they double with each layer up to 512."""
    depth: int = 0
    """Layers each way; 0: 4 for MNIST, 6 otherwise."""
    kernel: int = 3
    """Kernel size, odd."""

    optimizer: OptimizerName = "adam"
    """Optimizer, with torch's own defaults but for the learning rate (sgd is plain, without momentum)."""
    lr: float = 1e-3
    """Learning rate."""
    batch_size: int = 128
    """Images (patches, if --patches is above 1) an update."""
    epochs: int = 30
    """Passes over the training images."""
    seed: int = 0
    """Seed of initial weights and of the order of images."""
    evaluate: EvaluateName = "epoch"
    """When the model is evaluated: after each epoch; (log) after 1, 2, 4, … updates and epochs; or (decade) eight times
    a decade of updates, and after each of the last five epochs. At the end in any case."""

    sam_rho: float = 0.0
    """Sharpness-aware minimization: take gradients so far up the slope, or below 0 down it; training/fitting/sam.py."""
    sam_direction: DirectionName = "gradient"
    """Whether --sam-rho is along the gradient, or, as a placebo, along a new random direction at every update."""
    until_l2: float = 0.0
    """Stop when the common training L2 is at most this, looked at ten times an epoch; 0: train all epochs."""


#: fields that came after the first results and checkpoints: what was written without them has their defaults
LATER_FIELDS = ("sam_rho", "sam_direction", "until_l2")


def resolve(config: RunConfig) -> RunConfig:
    """Put the data set's own values in place of 0, and check the whole. Raises InputError."""
    mnist = config.dataset in DIGIT_SETS
    config = dataclasses.replace(
        config,
        normal=0 if config.task == "classify" else config.normal,
        image_size=config.image_size or (32 if mnist else 256),
        channels=config.channels or (1 if mnist else 3),
        depth=config.depth or (4 if mnist else 6),
    )
    check_config(config)
    return config


def check_config(config: RunConfig) -> None:
    """Raise InputError at the first value that cannot be trained with."""
    if config.dataset in DIGIT_SETS:
        check(0 <= config.normal <= 9, "--normal", "a digit from 0 to 9", config.normal)
        check(config.channels == 1, "--channels", "1 for MNIST", config.channels)
        check(config.image_size >= 28, "--image-size", "at least 28 for MNIST", config.image_size)
    if config.task == "classify":
        check(config.dataset in DIGIT_SETS, "--dataset", "MNIST with --task classify", config.dataset)
        check(not config.loss.startswith("ssim"), "--loss", "one without windows with --task classify", config.loss)
        check(config.patches == 1, "--patches", "1 with --task classify", config.patches)
        check(config.augment == "none", "--augment", "none with --task classify", config.augment)
    if config.dataset == "folder":
        for name in ("train_dir", "test_normal_dir", "test_anomalous_dir"):
            option = "--" + name.replace("_", "-")
            check(getattr(config, name) != "", option, "a folder of images with --dataset folder", "nothing")
    check(config.channels in (1, 3), "--channels", "1 or 3", config.channels)
    for name, most in (("width", 4096), ("batch_size", 10**9), ("epochs", 10**9), ("depth", 16)):
        value = getattr(config, name)
        check(value >= 1, "--" + name.replace("_", "-"), "at least 1", value)
        check(value <= most, "--" + name.replace("_", "-"), f"at most {most}", value)
    check(config.image_size <= 2**16, "--image-size", f"at most {2**16}", config.image_size)
    check(config.kernel >= 1 and config.kernel % 2 == 1, "--kernel", "an odd size, such as 3 or 5", config.kernel)
    check(0 < config.lr < float("inf"), "--lr", "a positive learning rate", config.lr)
    check(1e-6 <= config.lamp_eps < 1, "--lamp-eps", "1e-6 <= eps < 1 (single precision)", config.lamp_eps)
    check(0 < config.loss_factor < float("inf"), "--loss-factor", "a positive number", config.loss_factor)
    check(math.isfinite(config.sam_rho), "--sam-rho", "a finite number, 0 for plain training", config.sam_rho)
    check(0 <= config.until_l2 < float("inf"), "--until-l2", "a loss, or 0 for never", config.until_l2)
    check(config.max_train >= 0, "--max-train", "a number of images, or 0 for all", config.max_train)
    check(0 <= config.validation <= 0.5, "--validation", "a share from 0 to 0.5", config.validation)
    check(0 <= config.seed < 2**63, "--seed", "a whole number from 0 to 2^63 - 1", config.seed)
    check_patches(config)


def check_patches(config: RunConfig) -> None:
    """Raise InputError unless images divide into the patches, and patches into the autoencoder's halvings."""
    side = math.isqrt(max(config.patches, 0))
    check(
        config.patches >= 1 and side * side == config.patches,
        "--patches",
        "a square number, 1, 4, 9, …",
        config.patches,
    )
    size = config.image_size
    check(size >= 1 and size % side == 0, "--image-size", f"a multiple of {side} for {config.patches} patches", size)
    unit, step = size // side, 2**config.depth
    where = f"--image-size {size} in {config.patches} patches"
    check(unit % step == 0, where, f"patches of a multiple of {step} pixels for depth {config.depth}", f"{unit} pixels")


def channels_at(width: int, depth: int) -> list[int]:
    """Channels after each encoder stage: width, 2·width, …, at most 512."""
    return [min(width * 2**i, MAX_CHANNELS) for i in range(depth)]


def check(holds: bool, what: str, expected: str, found: object) -> None:
    """Raise InputError in the one form that all options share."""
    if not holds:
        raise InputError(f"{what}: expected {expected}, found {found}")


def config_from_dict(values: dict[str, Any], source: str) -> RunConfig:
    """A RunConfig from stored plain values; InputError names fields that this version does not know."""
    known = {field.name for field in dataclasses.fields(RunConfig)}
    unknown = sorted(set(values) - known)
    check(not unknown, source, "a configuration of this version", f"unknown fields {', '.join(unknown)}")
    check(not (found := misfit(values, RunConfig)), source, "a configuration of this version", found)
    config = RunConfig(**values)
    try:
        check_config(config)
    except InputError as error:
        raise InputError(f"{source}: expected a configuration that can be trained with: {error}") from None
    return config


def with_later_fields(values: dict[str, Any]) -> dict[str, Any]:
    """Stored values of a config, with the defaults of the :data:`LATER_FIELDS` that they lack."""
    return {**{name: getattr(RunConfig, name) for name in LATER_FIELDS}, **values}


def told_apart_by(config: RunConfig) -> dict[str, Any]:
    """The values that a config's digest is made of: :data:`LATER_FIELDS` only where they are not at their defaults.

    So the digest of a config that could be written before them is what it was.
    """
    return {
        name: value
        for name, value in vars(config).items()
        if name not in LATER_FIELDS or value != getattr(RunConfig, name)
    }

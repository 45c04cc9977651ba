"""What a surface is computed of and how: the settings of the command and of the call alike; needs no torch."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from landscape.directions.axes import Axes
from landscape.directions.options import PlaneOptions, axes_of, check_options
from landscape.files.grid import LARGEST_SIZE
from training.runtime.command import InputError


@dataclass(frozen=True)
class Arguments:
    out: Path
    """The HDF5 file; an unfinished one of the same run is completed."""
    ckpt: Path | None = None
    """A checkpoint written by training.train."""
    problem: str = ""
    """package.module:factory, a function that returns a landscape.Problem; instead of --ckpt."""
    x: str = ""
    """First axis as low:high:count, in units of the direction; write --x=-1:1:51, which is the default of random
    directions. That of --to is 0:1:51, with --and -0.25:1.25:61, and of --trajectory auto: the path with a margin.
    Elsewhere auto (auto:FACTOR:COUNT, by default auto:10:51) goes as far as the first metric grows by the factor."""
    y: str = ""
    """Second axis likewise; without it a line is computed, but for --and and --trajectory."""
    metrics: str = "l2"
    """Names joined by commas: l2, l1, ssim, l4, their -lamp forms, each also as NAME@SET (sets train-normal,
    test-normal, test-anomalous), own (the loss as trained), auroc, gap (median score of anomalies less that of normal
    images). Of a classifier, with sets train and test: l2, l1, l4, their -lamp forms, cross-entropy, own, accuracy. Of
    a --problem: those and mse, cross-entropy and accuracy of logits, and the problem's own. Of any: lambda-max,
    lambda-min, lambda-ratio (|smallest / largest|), the extreme eigenvalues of the Hessian of the first loss, or of
    another as lambda-ratio:own; slow."""
    seed: int = 0
    """Seed of the directions."""
    planes: int = 1
    """Independently seeded planes or lines in one file."""
    normalization: Literal["filter", "layer", "weight"] = "filter"
    """How directions are scaled to the weights."""
    orthogonal: bool = False
    """Make y orthogonal to x in every filter."""
    plane: PlaneOptions = field(default_factory=PlaneOptions)
    adaptive: float = 0.0
    """Evaluate fewer points and interpolate the rest, aiming at errors of this share of the range, such as 0.01, at
    points held out; the file says what they are, and what the largest of all is below; 0: all points."""
    batch_norm: Literal["frozen", "recalibrate", "interpolate"] = "frozen"
    """Batch norm's statistics: those of the checkpoint, re-estimated at each point, or of --to and --trajectory moved
    along with the weights, so that other models are reached in all."""
    precision: Literal["full", "float64", "tf32", "bfloat16"] = "full"
    """What is computed in; full is the model's own type, float32 for checkpoints."""
    max_samples: int = 0
    """Use at most so many samples of each set, a seeded subset; 0: all."""
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; ranks of a node take its GPUs in turn."""
    threads: int = 0
    """CPU threads of each rank; 0: OMP_NUM_THREADS if set, else the CPUs that may be used, divided by ranks."""


def check_settings(arguments: Arguments, x: Any, y: Any) -> Axes:
    """The axes; InputError for settings that make no sense, wherever the problem comes from."""
    for name, least in (("planes", 1), ("max_samples", 0), ("seed", 0)):
        if getattr(arguments, name) < least:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option}: expected at least {least}, found {getattr(arguments, name)}")
    if arguments.adaptive:
        from landscape.sampling.adaptive import check_tolerance

        check_tolerance(arguments.adaptive)
    check_options(arguments.plane, arguments.planes, arguments.batch_norm)
    axes = axes_of(arguments.plane, x, y)
    points = arguments.planes * math.prod(axis.count for axis in axes if axis)
    if points > LARGEST_SIZE:
        raise InputError(f"--x, --y, --planes: expected at most {LARGEST_SIZE} points in all, found {points}")
    return axes

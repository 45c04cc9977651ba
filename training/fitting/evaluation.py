"""What a model is worth at some moment of its training: common losses, scores of the test split, AUROC."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from training.data.config import RunConfig
from training.data.patches import from_patches, to_patches
from training.data.pixels import error_map, pixel_metrics
from training.data.score import anomaly_score, auroc
from training.data.splits import Split
from training.models.losses import l2_map
from training.models.rewrite import rewrite
from training.runtime.device import thread_pool

PLAIN_BATCH = 500  # images a forward pass where it is not rewritten

Result = TypeVar("Result")


def evaluate(model: nn.Module, config: RunConfig, split: Split) -> tuple[dict[str, Any], Tensor]:
    """The metrics of `model` as plain values, and the score of each test image; leaves it in evaluation mode.

    Common to all tasks: `train_l2`, the L2 loss over the training images in evaluation mode, summed over an image's
    values, mean over images; `validation_l2` the same over the images held out, or None. The scores are float64 on the
    CPU. Images and targets of `split` must lie where the model does.
    """
    model.eval()
    return TASKS[config.task](model, config, split)


def train_l2(model: nn.Module, config: RunConfig, split: Split) -> float:
    """The `train_l2` of :func:`evaluate` alone, and the same number; leaves `model` in evaluation mode."""
    model.eval()
    if split.targets is None:
        return mean_l2(model, split.train, round(config.patches**0.5))
    outputs = torch.cat(per_batch(model, split.train, lambda out, _: out))
    return float(l2_map(outputs, split.targets[0]).double().sum(1).mean())


def evaluate_autoencoder(model: nn.Module, config: RunConfig, split: Split) -> tuple[dict[str, Any], Tensor]:
    """With `recon_variance`, AUROC and its interval; the scores are anomaly scores."""
    side = round(config.patches**0.5)
    scores = image_scores(model, split.test, side)
    held_out = None if split.validation is None else mean_l2(model, split.validation, side)
    moments = per_batch(model, split.train, _moments, side)
    errors, sums, squares = (torch.stack(values).sum(0) for values in zip(*moments, strict=True))
    metrics = {
        "train_l2": float(errors) / len(split.train),
        "validation_l2": held_out,
        "recon_variance": _variance(sums, squares, len(split.train)) / (_variance_of(split.train) or math.nan),
        **auroc_metrics(scores, split),
    }
    return metrics, scores


def evaluate_classifier(model: nn.Module, config: RunConfig, split: Split) -> tuple[dict[str, Any], Tensor]:
    """With `accuracy` over the `n_test` images of the test split; the score of an image is the digit predicted."""
    if split.targets is None:
        raise ValueError("evaluate: expected targets with task classify, found a split without")
    train_targets, test_targets = split.targets
    outputs = torch.cat(per_batch(model, split.train, lambda out, _: out))
    predicted = torch.cat(per_batch(model, split.test, lambda out, _: out.argmax(1)))
    metrics = {
        "train_l2": float(l2_map(outputs, train_targets).double().sum(1).mean()),
        "validation_l2": None,
        "accuracy": float((predicted == test_targets.argmax(1)).double().mean()),
        "n_test": len(predicted),
    }
    return metrics, predicted.double().cpu()


def evaluate_pixels(model: nn.Module, config: RunConfig, split: Split) -> dict[str, Any]:
    """Pixel AUROC of an autoencoder's error maps; {} where no pixels are marked."""
    if split.masks is None:
        return {}
    maps = per_batch(model, split.test, lambda out, images: error_map(out, images).cpu(), round(config.patches**0.5))
    return pixel_metrics(torch.cat(maps).numpy(), split.masks, split.labels)


TASKS: dict[str, Callable[[nn.Module, RunConfig, Split], tuple[dict[str, Any], Tensor]]] = {
    "reconstruct": evaluate_autoencoder,
    "classify": evaluate_classifier,
}


def per_batch(
    model: nn.Module, images: Tensor, measure: Callable[[Tensor, Tensor], Result], side: int = 1
) -> list[Result]:
    """`measure(model(batch), batch)` of consecutive batches of `images`, without gradients, in their order.

    With `side` above 1 an image is cut into side × side patches, and reconstructed patch by patch. On a CPU, chains of
    convolutions run as :mod:`training.models.rewrite` has them, batches divided among torch's threads.
    """
    fast = rewrite(model, images.device)
    run: Callable[[Tensor], Tensor] = model
    batch, threads = PLAIN_BATCH, 1
    if fast is not None:
        fast.refresh()
        run, threads = fast, torch.get_num_threads()
        unit = (images.shape[1], *(size // side for size in images.shape[2:]))
        batch = max(1, fast.batch_size(unit) // side**2)

    def one(part: Tensor) -> Result:
        with torch.inference_mode():
            output = run(part) if side == 1 else from_patches(run(to_patches(part, side)), side)
            return measure(output, part)

    parts = images.split(batch)
    if threads == 1:
        return [one(part) for part in parts]
    with thread_pool(threads) as pool:
        return list(pool.map(one, parts))


def image_scores(model: nn.Module, images: Tensor, side: int = 1) -> Tensor:
    """The anomaly score of each of `images`, float64 on the CPU."""
    return torch.cat(per_batch(model, images, lambda out, target: anomaly_score(out, target).double().cpu(), side))


def mean_l2(model: nn.Module, images: Tensor, side: int = 1) -> float:
    """The common L2 loss of reconstructions: summed over an image's pixels, mean over images."""
    sums = per_batch(model, images, lambda output, target: l2_map(output, target).sum().double().cpu(), side)
    return float(torch.stack(sums).sum()) / len(images)


def auroc_metrics(scores: Tensor, split: Split) -> dict[str, Any]:
    """AUROC of the test scores with its interval, as plain values."""
    values = scores.numpy()
    result = dataclasses.asdict(auroc(values[~split.labels], values[split.labels]))
    return {"auroc": result.pop("value"), **{f"auroc_{name}": value for name, value in result.items()}}


def is_finite(metrics: dict[str, Any], scores: Tensor) -> bool:
    """Whether a model has not diverged: its common loss and all its scores are finite."""
    return math.isfinite(metrics["train_l2"]) and bool(scores.isfinite().all())


def _moments(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a batch: the summed squared error, and per pixel the sums of outputs and of their squares, in float64."""
    wide = output.double()
    return l2_map(output, target).sum().double().cpu(), wide.sum(0).cpu(), wide.square().sum(0).cpu()


def _variance(sums: Tensor, squares: Tensor, count: int) -> float:
    """Variance over images from a pixel's sums, mean over pixels; float64 sums lose nothing that matters."""
    return float((squares / count - (sums / count).square()).mean())


def _variance_of(images: Tensor) -> float:
    """Variance of `images` over images, mean over pixels."""
    return float(images.double().var(0, correction=0).mean())

"""The training loop: a config and a data split become a checkpoint an epoch."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training import checkpoint
from training.checkpoint import Checkpoint
from training.command import RunError
from training.config import RunConfig, check
from training.data import Split
from training.losses import training_loss
from training.models import build_model
from training.patches import Patched, to_patches
from training.score import anomaly_score, auroc

EVALUATION_BATCH = 500  # images a forward pass without gradients


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": functools.partial(torch.optim.Adam, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "sgd": functools.partial(torch.optim.SGD, fused=True),
}


@dataclass(frozen=True)
class Epoch:
    """What an epoch leaves: the model as a checkpoint, its row of the history, the scores of the test images."""

    checkpoint: Checkpoint
    row: dict[str, Any]
    scores: Tensor


def train(config: RunConfig, split: Split, device: torch.device) -> Iterator[Epoch]:
    """Train a model from `config.seed`, yielding after each epoch.

    The same config and split give the same weights on the same machine with the same number of threads. Raises
    RunError, naming epoch and step, if the loss is not finite.
    """
    side = round(config.patches**0.5)
    units = to_patches(split.train, side)
    check_last_batch(config, len(units))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(config).to(device)
    images_model = Patched(model, side, config.image_size)
    optimizer = OPTIMIZERS[config.optimizer](model.parameters(), config.lr)
    loss = training_loss(config)
    order = torch.Generator().manual_seed(config.seed)
    units, train_images, test_images = units.to(device), split.train.to(device), split.test.to(device)
    steps = -(-len(units) // config.batch_size)
    for epoch in range(1, config.epochs + 1):
        batches = torch.randperm(len(units), generator=order).to(device).split(config.batch_size)
        losses = run_epoch(model, optimizer, loss, units, batches)
        check_finite(losses, epoch)
        scores = image_scores(images_model, test_images)
        train_l2 = float(image_scores(images_model, train_images).mean()) * split.train[0].numel()
        check_model(train_l2, scores, epoch)
        metrics = test_metrics(scores, split)
        row = {
            "epoch": epoch,
            "updates": epoch * steps,
            "loss": sum(value * len(batch) for value, batch in zip(losses, batches, strict=True)) / len(units),
            "train_l2": train_l2,
            "auroc": metrics["auroc"],
        }
        metrics |= {key: row[key] for key in ("epoch", "updates", "loss", "train_l2")}
        yield Epoch(checkpoint.take(config, epoch, model, metrics, split.digest), row, scores)


def run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    units: Tensor,
    batches: Sequence[Tensor],
) -> list[float]:
    """One update for each of `batches` (indices into `units`); returns the loss of each."""
    model.train()
    losses = []
    for indices in batches:
        batch = units[indices]
        value = loss(model(batch), batch).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        # Read only at the epoch's end: a host round trip at each step would stall a GPU.
        losses.append(value.detach())
    return [float(value) for value in losses]


def check_finite(losses: list[float], epoch: int) -> None:
    """Raise RunError at the first loss that is not finite."""
    for step, value in enumerate(losses, 1):
        if not abs(value) < float("inf"):
            raise RunError(
                f"training stopped: loss {value} at epoch {epoch}, step {step}; the checkpoint of epoch {epoch - 1} "
                "stays (if there is one); try a smaller --lr"
            )


def check_model(train_l2: float, scores: Tensor, epoch: int) -> None:
    """Raise RunError if the epoch's last update, which no loss was taken after, left a model that has diverged."""
    if not (math.isfinite(train_l2) and bool(scores.isfinite().all())):
        raise RunError(
            f"training stopped: the model diverged in the last step of epoch {epoch}; the checkpoint of epoch "
            f"{epoch - 1} stays (if there is one); try a smaller --lr"
        )


def check_last_batch(config: RunConfig, count: int) -> None:
    """Raise InputError if batch norm would meet a single value a channel: a 1×1 code in a batch of one."""
    code = config.image_size // round(config.patches**0.5) // 2**config.depth
    alone = config.batch_size == 1 or count % config.batch_size == 1
    check(
        code > 1 or not alone,
        f"--batch-size {config.batch_size}",
        f"no batch of a single image where the code is 1×1 (batch norm needs two values), with {count} images",
        "one; change --batch-size, --depth or --patches",
    )


def image_scores(model: nn.Module, images: Tensor) -> Tensor:
    """The anomaly score of each of `images`, on the CPU in double precision, the model in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        scores = [anomaly_score(model(batch), batch) for batch in images.split(EVALUATION_BATCH)]
    return torch.cat(scores).double().cpu()


def test_metrics(scores: Tensor, split: Split) -> dict[str, Any]:
    """AUROC of the test scores with its interval, as plain values."""
    values = scores.numpy()
    result = dataclasses.asdict(auroc(values[~split.labels], values[split.labels]))
    return {"auroc": result.pop("value"), **{f"auroc_{name}": value for name, value in result.items()}}

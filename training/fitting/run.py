"""One training run apart from its network: its images, their order, when it is evaluated, what was measured."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training.data.config import RunConfig, check
from training.data.patches import to_patches
from training.data.splits import Split, on_device
from training.fitting import checkpoint
from training.fitting.checkpoint import Checkpoint
from training.fitting.evaluation import evaluate, evaluate_pixels, is_finite, train_l2
from training.runtime.command import RunError

LAST_EPOCHS = 5
LOOKS = 10  # an epoch, at the fit of a run that stops at one


class Batch(NamedTuple):
    """Inputs and targets of one update; an image to be reconstructed is its own target."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Evaluation:
    """What a run has come to: the model as a checkpoint, its row of the history, the scores of the test images."""

    checkpoint: Checkpoint
    row: dict[str, Any]
    scores: Tensor


class Run:
    """The batches of `config` over `split`, in the order that `config.seed` gives, and its evaluations.

    The same config and split give the same batches, whatever else is trained beside. Raises InputError if batch norm
    could not be trained with the last batch.
    """

    def __init__(self, config: RunConfig, split: Split, device: torch.device):
        self.config = config
        units = to_patches(split.train, round(config.patches**0.5))
        check_last_batch(config, len(units))
        self.count = len(units)
        self.steps = -(-self.count // config.batch_size)
        self.total = self.steps * config.epochs
        self.updates = 0
        self.seconds = 0.0
        self.stopped_at_fit = False
        self.split = on_device(split, device)
        self.inputs = units.to(device)
        self.targets = self.inputs if self.split.targets is None else self.split.targets[0]
        self._batches = self._order()
        self._next: Tensor | None = next(self._batches)
        self._mirrors = torch.Generator().manual_seed(config.seed)
        self._losses: list[tuple[Tensor, int]] = []

    def _order(self) -> Iterator[Tensor]:
        """Indices of the units of each update: every epoch a permutation, cut into batches."""
        generator = torch.Generator().manual_seed(self.config.seed)
        for _ in range(self.config.epochs):
            order = torch.randperm(self.count, generator=generator).to(self.inputs.device)
            yield from order.split(self.config.batch_size)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the fit of `config.until_l2` is reached."""
        return self._next is None or self.stopped_at_fit

    @property
    def ragged(self) -> bool:
        """Whether the next batch has fewer units than the others."""
        return self._next is not None and len(self._next) < self.config.batch_size

    def take(self) -> Batch:
        """The batch of the next update, augmented if asked for."""
        indices = self._next
        if indices is None:
            raise ValueError("take: expected a run that is not finished")
        self._next = next(self._batches, None)
        inputs = self.inputs[indices]
        if self.config.augment == "flips":
            inputs = flipped(inputs, self._mirrors)
        targets = inputs if self.targets is self.inputs else self.targets[indices]
        return Batch(inputs, targets)

    def record(self, loss: Tensor, units: int, seconds: float) -> None:
        """Count one update: its loss (not read before the next evaluation, for a GPU's sake), its size, its time."""
        self.updates += 1
        self.seconds += seconds
        self._losses.append((loss, units))

    def state(self) -> dict[str, Any]:
        """Where the run is, as tensors and plain values; of what has not been evaluated yet, the losses too."""
        return {
            "updates": self.updates,
            "seconds": self.seconds,
            "mirrors": self._mirrors.get_state(),
            "losses": [float(loss) for loss, _ in self._losses],
            "sizes": [units for _, units in self._losses],
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Go to where another run of the same config and split was when it gave its :meth:`state`."""
        for _ in range(state["updates"]):
            self._next = next(self._batches, None)
        self.updates, self.seconds = state["updates"], state["seconds"]
        self._mirrors.set_state(state["mirrors"])
        losses = [torch.tensor(loss, device=self.inputs.device) for loss in state["losses"]]
        self._losses = list(zip(losses, state["sizes"], strict=True))

    def look(self, model: Callable[[], nn.Module]) -> None:
        """Where `config.until_l2` asks for it, see after this update whether the model that `model` gives fits so well.

        An epoch has `LOOKS` looks, as evenly spaced as its updates allow and the last at its end, or one after each
        update if it has fewer.
        """
        step = (self.updates - 1) % self.steps
        if self.config.until_l2 > 0 and step * LOOKS // self.steps != (step + 1) * LOOKS // self.steps:
            self.stopped_at_fit = train_l2(model(), self.config, self.split) <= self.config.until_l2

    @property
    def due(self) -> bool:
        """Whether the model is to be evaluated after the updates made so far."""
        return self.finished or SCHEDULES[self.config.evaluate](self)

    def evaluate(self, model: nn.Module) -> Evaluation:
        """Measure `model` as it stands; raises RunError if it has diverged, naming epoch and step."""
        losses = torch.stack([loss for loss, _ in self._losses]).double().cpu()
        sizes = torch.tensor([units for _, units in self._losses], dtype=torch.float64)
        self._losses = []
        self._check_finite(losses)
        metrics, scores = evaluate(model, self.config, self.split)
        epoch = self.updates // self.steps
        # Over millions of pixels, so not at every evaluation.
        pixels = evaluate_pixels(model, self.config, self.split) if self.finished else {}
        if not is_finite(metrics, scores):
            raise RunError(
                f"training stopped: the model diverged in the last step of epoch {-(-self.updates // self.steps)}; "
                "what was saved before stays; try a smaller --lr"
            )
        now = {"epoch": epoch, "updates": self.updates, "loss": float(losses @ sizes / sizes.sum())}
        measured = {**metrics, **pixels, **now, "train_s": round(self.seconds, 3)}
        measured["stopped_at_fit"] = self.stopped_at_fit
        taken = checkpoint.take(self.config, epoch, model, measured, self.split)
        hidden = ("auroc_n_normal", "auroc_n_anomalous", "auroc_definition")
        return Evaluation(taken, now | {k: v for k, v in metrics.items() if k not in hidden}, scores)

    def _check_finite(self, losses: Tensor) -> None:
        """Raise RunError at the first loss that is not finite."""
        wrong = (~losses.isfinite()).nonzero()
        if len(wrong):
            update = self.updates - len(losses) + int(wrong[0])
            epoch, step = update // self.steps + 1, update % self.steps + 1
            raise RunError(
                f"training stopped: loss {float(losses[wrong[0]])} at epoch {epoch}, step {step}; what was saved "
                "before stays; try a smaller --lr"
            )


def is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def is_eighth_of_decade(number: int) -> bool:
    """Whether `number` is 10^(k/8), rounded, for some k: 1, 2, 3, 4, 6, 7, 10, 13, 18, 24, 32, …"""
    nearest = round(8 * math.log10(number)) if number > 0 else 0
    return number > 0 and number == round(10 ** (nearest / 8))


def at_epochs(run: Run) -> bool:
    return run.updates % run.steps == 0


def at_doublings(run: Run) -> bool:
    epoch, rest = divmod(run.updates, run.steps)
    return is_power_of_two(run.updates) or (rest == 0 and is_power_of_two(epoch))


def at_decades(run: Run) -> bool:
    """Eight a decade, which shows where AUROC turns; the last epochs, since one of them alone is a draw."""
    epoch, rest = divmod(run.updates, run.steps)
    return is_eighth_of_decade(run.updates) or (rest == 0 and epoch > run.config.epochs - LAST_EPOCHS)


#: name -> whether a run is to be evaluated after the updates that it has made
SCHEDULES: dict[str, Callable[[Run], bool]] = {"epoch": at_epochs, "log": at_doublings, "decade": at_decades}


def flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each of `images` (B, C, H, W) mirrored left-right and up-down by the toss of a coin each."""
    coins = torch.rand(2, len(images), 1, 1, 1, generator=generator).to(images.device) < 0.5
    images = torch.where(coins[0], images.flip(3), images)
    return torch.where(coins[1], images.flip(2), images)


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

"""The training loop: configs and data become evaluations; several runs at once where they fit together."""

import functools
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from training.command import RunError
from training.config import RunConfig
from training.data import Split
from training.losses import training_loss
from training.models import seeded_model
from training.run import Batch, Evaluation, Run
from training.stack import Stack, stack_key

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": functools.partial(torch.optim.Adam, fused=True),
    "rmsprop": torch.optim.RMSprop,
    "sgd": functools.partial(torch.optim.SGD, fused=True),
}


class Engine(Protocol):
    """Models that are updated in step, each from its own batch."""

    def step(self, batches: Sequence[Batch]) -> Sequence[Tensor]:
        """One update of every model from its batch, all of one size; the losses."""

    def step_one(self, index: int, batch: Batch) -> Tensor:
        """One update of one model from a batch of any size; its loss."""

    def model(self, index: int) -> nn.Module:
        """A model as it stands."""

    def without(self, indices: Collection[int]) -> "Engine":
        """The rest, when some are done."""


class Separate:
    """Models that share nothing but the order of their updates: the plain training loop."""

    def __init__(self, configs: Sequence[RunConfig], models: Sequence[nn.Module]):
        self.models = list(models)
        self.optimizers = [
            OPTIMIZERS[c.optimizer](m.parameters(), c.lr) for c, m in zip(configs, self.models, strict=True)
        ]
        self.losses = [training_loss(config) for config in configs]

    def step(self, batches: Sequence[Batch]) -> list[Tensor]:
        return [self.step_one(index, batch) for index, batch in enumerate(batches)]

    def step_one(self, index: int, batch: Batch) -> Tensor:
        model, optimizer = self.models[index], self.optimizers[index]
        model.train()
        value = self.losses[index](model(batch.inputs), batch.targets).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.detach()

    def model(self, index: int) -> nn.Module:
        return self.models[index]

    def without(self, indices: Collection[int]) -> "Separate":
        rest = Separate([], [])
        kept = [i for i in range(len(self.models)) if i not in indices]
        rest.models = [self.models[i] for i in kept]
        rest.optimizers = [self.optimizers[i] for i in kept]
        rest.losses = [self.losses[i] for i in kept]
        return rest


def train(config: RunConfig, split: Split, device: torch.device) -> Iterator[Evaluation]:
    """Train a model from `config.seed`, yielding at each evaluation that `config.evaluate` asks for.

    The same config and split give the same weights on the same machine with the same number of threads. Raises
    RunError, naming epoch and step, if the loss is not finite.
    """
    for _, event in train_together([config], [split], device):
        if isinstance(event, RunError):
            raise event
        yield event


def train_together(
    configs: Sequence[RunConfig], splits: Sequence[Split], device: torch.device
) -> Iterator[tuple[int, Evaluation | RunError]]:
    """Train a model for each of `configs`, yielding (its number, evaluation) at each of its evaluations.

    Where the configs allow it (:func:`together_key`) they are one network, with the results of separate
    training up to rounding. A run that diverges yields its RunError and ends; the others go on.
    """
    runs = [Run(config, split, device) for config, split in zip(configs, splits, strict=True)]
    engine = make_engine(configs, device)
    numbers = list(range(len(runs)))
    while numbers:
        active = [runs[number] for number in numbers]
        ended: set[int] = set()
        for index in update(engine, active):
            run = active[index]
            if not run.due:
                continue
            try:
                yield numbers[index], run.evaluate(engine.model(index))
            except RunError as error:
                yield numbers[index], error
                ended.add(index)
            if run.finished:
                ended.add(index)
        numbers = [number for index, number in enumerate(numbers) if index not in ended]
        if ended and numbers:
            engine = engine.without(ended)


def update(engine: Engine, runs: Sequence[Run]) -> Sequence[int]:
    """One update of all runs together if their batches are whole, or of the ragged ones alone; returns which."""
    start = time.perf_counter()
    ragged = [index for index, run in enumerate(runs) if run.ragged]
    if ragged:
        # An epoch's last batch; the others wait an update, and meet again in whole batches.
        for index in ragged:
            batch = runs[index].take()
            loss = engine.step_one(index, batch)
            now = time.perf_counter()
            runs[index].record(loss, len(batch.inputs), now - start)
            start = now
        return ragged
    batches = [run.take() for run in runs]
    losses = engine.step(batches)
    seconds = (time.perf_counter() - start) / len(runs)
    for run, batch, loss in zip(runs, batches, losses, strict=True):
        run.record(loss, len(batch.inputs), seconds)
    return range(len(runs))


class Together:
    """Autoencoders as one :class:`training.stack.Stack`; an image is its own target."""

    def __init__(self, stack: Stack):
        self.stack = stack

    def step(self, batches: Sequence[Batch]) -> Sequence[Tensor]:
        return self.stack.step([batch.inputs for batch in batches]).unbind()

    def step_one(self, index: int, batch: Batch) -> Tensor:
        return self.stack.step_one(index, batch.inputs)

    def model(self, index: int) -> nn.Module:
        return self.stack.model(index)

    def without(self, indices: Collection[int]) -> "Together":
        return Together(self.stack.without(indices))


def together_key(config: RunConfig) -> Hashable | None:
    """Configs with equal keys can be trained together; None: alone."""
    if config.task != "reconstruct":
        return None
    return stack_key(config), config.batch_size, config.image_size, config.patches


def make_engine(configs: Sequence[RunConfig], device: torch.device) -> Engine:
    """The freshly initialised models of `configs`, each from its own seed."""
    models = [seeded_model(config).to(device) for config in configs]
    keys = {together_key(config) for config in configs}
    if len(keys) == 1 and None not in keys:
        return Together(Stack(configs, models, device))
    return Separate(configs, models)

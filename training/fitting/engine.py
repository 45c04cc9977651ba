"""What updates models in step: one after the other, or as one stack."""

import functools
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.data.config import RunConfig
from training.fitting.run import Batch
from training.fitting.sam import gradient_row, moved, random_row
from training.fitting.stack import Stack, stack_key
from training.models.autoencoder import seeded_model
from training.models.losses import training_loss

Snapshot = dict[str, Any]  # tensors and plain values, so that it can be stored without code

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

    def state(self, index: int) -> Snapshot:
        """What it takes to go on with a model: weights, statistics, the optimizer's state."""

    def load(self, index: int, state: Snapshot) -> None:
        """Put a model into a state that an engine of the same kind gave."""


class Separate:
    """Models that share nothing but the order of their updates: the plain training loop."""

    def __init__(self, configs: Sequence[RunConfig], models: Sequence[nn.Module]):
        self.models = list(models)
        self.optimizers = [
            OPTIMIZERS[c.optimizer](m.parameters(), c.lr) for c, m in zip(configs, self.models, strict=True)
        ]
        self.losses = [training_loss(config) for config in configs]
        self.configs = list(configs)
        self.updates = [0] * len(self.models)

    def step(self, batches: Sequence[Batch]) -> list[Tensor]:
        return [self.step_one(index, batch) for index, batch in enumerate(batches)]

    def step_one(self, index: int, batch: Batch) -> Tensor:
        model, config = self.models[index].train(), self.configs[index]
        value = self._backward(index, batch)
        if config.sam_rho != 0:
            direction = gradient_row(list(model.parameters()))
            if config.sam_direction == "random":
                direction = random_row(config.seed, self.updates[index], direction)
            with moved(model, direction, config.sam_rho):
                self._backward(index, batch)
        self.optimizers[index].step()
        self.updates[index] += 1
        return value

    def _backward(self, index: int, batch: Batch) -> Tensor:
        """Leave the gradient of a batch's loss in the model's parameters; the loss."""
        value = self.losses[index](self.models[index](batch.inputs), batch.targets).mean()
        self.optimizers[index].zero_grad()
        value.backward()
        return value.detach()

    def model(self, index: int) -> nn.Module:
        return self.models[index]

    def state(self, index: int) -> Snapshot:
        return {
            "model": self.models[index].state_dict(),
            "optimizer": self.optimizers[index].state_dict(),
            "updates": self.updates[index],
        }

    def load(self, index: int, state: Snapshot) -> None:
        self.models[index].load_state_dict(state["model"])
        self.optimizers[index].load_state_dict(state["optimizer"])
        self.updates[index] = state.get("updates", 0)  # states from before it was counted draw nothing

    def without(self, indices: Collection[int]) -> "Separate":
        rest = Separate([], [])
        kept = [i for i in range(len(self.models)) if i not in indices]
        rest.models = [self.models[i] for i in kept]
        rest.optimizers = [self.optimizers[i] for i in kept]
        rest.losses = [self.losses[i] for i in kept]
        rest.configs = [self.configs[i] for i in kept]
        rest.updates = [self.updates[i] for i in kept]
        return rest


class Together:
    """Autoencoders as one :class:`training.fitting.stack.Stack`; an image is its own target."""

    def __init__(self, stack: Stack):
        self.stack = stack

    def step(self, batches: Sequence[Batch]) -> Sequence[Tensor]:
        return self.stack.step([batch.inputs for batch in batches]).unbind()

    def step_one(self, index: int, batch: Batch) -> Tensor:
        return self.stack.step_one(index, batch.inputs)

    def model(self, index: int) -> nn.Module:
        return self.stack.model(index)

    def state(self, index: int) -> Snapshot:
        return self.stack.state_of(index)

    def load(self, index: int, state: Snapshot) -> None:
        self.stack.load_state(index, state)

    def without(self, indices: Collection[int]) -> "Together":
        return Together(self.stack.without(indices))


def together_key(config: RunConfig) -> Hashable | None:
    """Configs with equal keys can be trained together; None: alone."""
    if config.task != "reconstruct" or config.model != "autoencoder":  # a stack is of autoencoders alone
        return None
    return stack_key(config), config.batch_size, config.image_size, config.patches


def make_engine(configs: Sequence[RunConfig], device: torch.device) -> Engine:
    """The freshly initialised models of `configs`, each from its own seed."""
    models = [seeded_model(config).to(device) for config in configs]
    keys = {together_key(config) for config in configs}
    if len(keys) == 1 and None not in keys:
        return Together(Stack(configs, models, device))
    return Separate(configs, models)

"""Several autoencoders of one shape trained in step, as matrix products over all of them at once.

Training them one after the other spends most of a small batch's time in calls, and a large one's in convolutions that
their small feature maps do not fill. Here a forward and a backward pass are written out for the whole stack. Each model
has its own data, loss, statistics and optimizer state; nothing mixes. Up to rounding the results are those of
:class:`training.fitting.engine.Separate`, by these identities (the operations are in
:mod:`training.models.layers`):

- *Products.* An encoder convolution is `patches @ weights`, one batched product over models (`patches`).
- *Box.* Nearest upsampling by 2 and a k×k convolution are a transposed convolution of stride 2 with the flipped kernel,
  whose output is summed over windows of 2×2 (`box`). Its product has k² multiply-adds an input pixel and pair of
  channels, not 4k², and it is `weights @ pixels` followed by the adjoint of taking patches (`overlaid`).
- *Bias.* What a batch norm follows, no bias changes: it is left out of the pass and only shifts the running mean. Its
  gradient is exactly 0 here, so it keeps its first value, where plain training has rounding noise for a gradient, which
  Adam and RMSprop amplify into a random walk that changes no output.

Models are divided into chunks that stay in cache, and chunks among torch's threads, each of which computes alone: no
barrier between operations, and results to the bit whatever the number of threads. Activations lie in memory as (model,
image, row, column, channel). A model of a large batch takes another form, :mod:`training.models.volumes`.
"""

import copy
import functools
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.config import RunConfig
from training.fitting.sam import along, nonzero_runs, random_row
from training.models.layers import Layer, box, layers_of, overlaid, packed, packed_order, patches, stages, unpack
from training.models.losses import LOSS_FIELDS, training_batch_losses
from training.models.normalization import normalized, normalized_backward
from training.models.volumes import Volumes, fits
from training.runtime.device import thread_pool

SHAPE_FIELDS = ("model", "channels", "width", "depth", "kernel", "optimizer", "lr")
CHUNK_IMAGES = 64  # in a chunk of models: few calls an image, and activations that still fit in cache
VOLUME_IMAGES = 48  # of a model, from which oneDNN's convolutions are faster than matrix products of patches


def stack_key(config: RunConfig) -> tuple[object, ...]:
    """Configs with equal keys may share a stack: they may differ in data, seed, loss, `sam_rho` and its direction."""
    return tuple(getattr(config, name) for name in SHAPE_FIELDS)


def loss_key(config: RunConfig) -> tuple[object, ...]:
    """Configs with equal keys have the same training loss."""
    return tuple(getattr(config, name) for name in LOSS_FIELDS)


class Chunk:
    """Consecutive models of a stack: views of their rows, and the pass over them."""

    def __init__(self, layers: Sequence[Layer], parameters: Tensor, gradients: Tensor, statistics: Tensor):
        self.layers = layers
        self.parameters = [layer.split(parameters) for layer in layers]
        self.gradients = [layer.split(gradients) for layer in layers]
        self.statistics = [layer.split_stats(statistics) for layer in layers]

    def forward(self, images: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Outputs (k, B, H, W, C) of images of that shape in training mode, and what the backward pass needs."""
        saved = []
        values = images
        for layer, (weight, bias, *affine), running in zip(self.layers, self.parameters, self.statistics, strict=True):
            k, count, height, width, _ = values.shape
            r = layer.kernel // 2
            if layer.up:
                inputs = values.reshape(k, -1, layer.inputs)
                summed = overlaid(product(inputs, weight), count, height, width, layer.kernel)
                if r == 0:
                    summed = F.pad(summed, (0, 0, 1, 0, 1, 0))
                first = max(r - 1, 0)
                height, width = 2 * height, 2 * width
                values = box(summed[:, :, first : first + height + 1, first : first + width + 1])
            else:
                inputs = patches(F.pad(values, (0, 0, r, r, r, r)), layer.kernel)
                height, width = height // 2, width // 2
                values = torch.bmm(inputs, weight)
            values = values.view(k, -1, layer.outputs)
            if layer.normed:
                values, kept = normalized(values, bias, affine, running)
            else:
                values = values.add_(bias).sigmoid_()
                kept = []
            values = values.reshape(k, count, height, width, layer.outputs)
            saved.append([inputs, values, *kept])
        return values, saved

    def backward(self, gradient: Tensor, saved: list[list[Tensor]]) -> None:
        """Write the parameters' gradients, given that of the outputs."""
        for number in reversed(range(len(self.layers))):
            layer, (weight, _, *affine) = self.layers[number], self.parameters[number]
            to_weight, to_bias, *to_affine = self.gradients[number]
            inputs, values, *kept = saved.pop()
            k, count, height, width, outputs = values.shape
            r = layer.kernel // 2
            if layer.normed:
                gradient = normalized_backward(gradient.reshape(k, -1, outputs), kept, affine, to_affine)
            else:
                gradient = torch.ops.aten.sigmoid_backward(gradient, values).reshape(k, -1, outputs)
                torch.sum(gradient, 1, keepdim=True, out=to_bias)
            if layer.up:
                images = gradient.view(values.shape)
                # A row and a column more than the box leaves: `patches` counts pixels in pairs.
                summed = box(F.pad(images, (0, 0, r, r + 1, r, r + 1)))
                gradient = patches(summed, layer.kernel)
                height, width = height // 2, width // 2
            if gradient.shape[2] < inputs.shape[2]:
                to_weight.copy_(torch.bmm(gradient.transpose(1, 2), inputs).transpose(1, 2))
            else:
                torch.bmm(inputs.transpose(1, 2), gradient, out=to_weight)
            if number == 0:
                return
            gradient = torch.bmm(gradient, weight.transpose(1, 2))
            if layer.up:
                gradient = gradient.view(k, count, height, width, layer.inputs)
            else:
                summed = overlaid(gradient, count, height, width, layer.kernel)
                gradient = summed[:, :, r : r + 2 * height, r : r + 2 * width]


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """(k, M, N) of (k, M, K) and (k, K, N): with the few columns of an image's layer as rows, which are four times as
    fast; so is the gradient of their weight, and more exact.
    """
    if weight.shape[2] > weight.shape[1]:
        return torch.bmm(rows, weight)
    return torch.bmm(weight.transpose(1, 2), rows.transpose(1, 2)).transpose(1, 2)


def adam(rows: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[Sequence[Tensor]], lr: float) -> None:
    """torch.optim.Adam's step with its defaults; states: first and second moments, and step counts."""
    lists: Any = [*map(list, (rows, gradients, states[0], states[1], [], states[2]))]
    constants: Any = {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    torch._fused_adam_(*lists, lr=lr, **constants, amsgrad=False, maximize=False)


def rmsprop(rows: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[Sequence[Tensor]], lr: float) -> None:
    """torch.optim.RMSprop's step with its defaults; states: mean squares."""
    for row, gradient, square in zip(rows, gradients, states[0], strict=True):
        square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        row.addcdiv_(gradient, square.sqrt().add_(1e-8), value=-lr)


def sgd(rows: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[Sequence[Tensor]], lr: float) -> None:
    """torch.optim.SGD's step without momentum."""
    for row, gradient in zip(rows, gradients, strict=True):
        row.sub_(gradient, alpha=lr)


#: optimizer -> (its step, how many rows of state it keeps)
UPDATES = {"adam": (adam, 2), "rmsprop": (rmsprop, 1), "sgd": (sgd, 0)}


class Stack:
    """K autoencoders of one shape (equal :func:`stack_key`) trained in step; `models` as built, whose state is copied.

    Precision is that of the models. Not safe for calls from several threads at once.
    """

    def __init__(self, configs: Sequence[RunConfig], models: Sequence[nn.Module], device: torch.device):
        check_same(configs, models)
        self.configs = list(configs)
        self.device = device
        self.layers = layers_of(models[0])
        rows = [packed(self.layers, model) for model in models]
        self.parameters = torch.stack([parameters for parameters, _ in rows]).to(device)
        self.statistics = torch.stack([statistics for _, statistics in rows]).to(device)
        kept = UPDATES[configs[0].optimizer][1]
        self.state = [torch.zeros_like(self.parameters) for _ in range(kept)]
        self.steps = torch.zeros(len(models), device=device)
        self.tracked = [_tracked(model) for model in models]
        self._template = copy.deepcopy(models[0])
        self._order = packed_order(self.layers, models[0]).to(device)
        self._prepare()

    def _prepare(self) -> None:
        self.gradients = torch.zeros_like(self.parameters)
        self._chunks: dict[tuple[int, int, type], Chunk | Volumes] = {}
        self._losses = [loss_key(config) for config in self.configs]
        self._rhos = [config.sam_rho for config in self.configs]

    def __len__(self) -> int:
        return len(self.configs)

    def step(self, batches: Sequence[Tensor] | Tensor) -> Tensor:
        """One update of each model on its batch (B, C, H, W), of equal shapes; the losses (K,), means over a batch."""
        if len(batches) != len(self):
            raise ValueError(f"step: expected {len(self)} batches, one a model, found {len(batches)}")
        if self.device.type == "cpu":
            bounds = chunk_bounds(len(self), len(batches[0]), torch.get_num_threads())
        else:  # a GPU has no caches to fit into, and calls to save
            bounds = [(0, len(self))]
        return torch.cat(self._in_threads([(a, b, batches[a:b]) for a, b in bounds]))

    def step_one(self, index: int, batch: Tensor) -> Tensor:
        """One update of model `index` alone, on a batch of any size; its loss, a scalar."""
        return self._in_threads([(index, index + 1, batch[None])])[0][0]

    def model(self, index: int) -> nn.Module:
        """A copy of model `index` as an ordinary module with its present weights and statistics, in training mode."""
        result = copy.deepcopy(self._template)
        unpack(self.layers, self.parameters[index], self.statistics[index], result)
        for _, norm in stages(result):
            if norm is not None:
                norm.num_batches_tracked.fill_(self.tracked[index])  # type: ignore[union-attr]
        return result.to(self.device).train()

    def state_of(self, index: int) -> dict[str, Any]:
        """All of model `index`: parameters, statistics, the optimizer's rows and step count; copies."""
        rows = {"parameters": self.parameters, "statistics": self.statistics, "steps": self.steps}
        rows |= {f"moment{number}": part for number, part in enumerate(self.state)}
        return {"tracked": self.tracked[index], **{name: part[index].cpu().clone() for name, part in rows.items()}}

    def load_state(self, index: int, state: dict[str, Any]) -> None:
        """Put model `index` into a state that :meth:`state_of` gave."""
        self.parameters[index], self.statistics[index] = state["parameters"], state["statistics"]
        self.steps[index], self.tracked[index] = state["steps"], state["tracked"]
        for number, part in enumerate(self.state):
            part[index] = state[f"moment{number}"]

    def without(self, indices: Collection[int]) -> "Stack":
        """The rest of the stack, in its order, with all its state, copied."""
        rest = [index for index in range(len(self)) if index not in set(indices)]
        result = copy.copy(self)
        result.configs = [self.configs[index] for index in rest]
        result.tracked = [self.tracked[index] for index in rest]
        result.parameters, result.statistics = self.parameters[rest], self.statistics[rest]
        result.state, result.steps = [part[rest] for part in self.state], self.steps[rest]
        result._prepare()
        return result

    def _in_threads(self, work: list[tuple[int, int, Sequence[Tensor] | Tensor]]) -> list[Tensor]:
        """:meth:`_update` of each, by as many Python threads as torch has, each with one torch thread: for one too.

        Several threads in one sum or product would add in another order.
        """
        threads = torch.get_num_threads()
        if self.device.type != "cpu" or threads == 1:
            return [self._update(*part) for part in work]
        return list(_pool(threads).map(lambda part: self._update(*part), work))

    def _update(self, start: int, end: int, batches: Sequence[Tensor] | Tensor) -> Tensor:
        """One update of the models from `start` to before `end`; their losses."""
        with torch.no_grad():
            stacked = batches if isinstance(batches, Tensor) else torch.stack(list(batches))
            images = stacked.to(self.parameters).permute(0, 1, 3, 4, 2).contiguous()
        losses = self._backward(start, end, images)
        for a, b in nonzero_runs(self._rhos[start:end]):
            self._backward_moved(start + a, start + b, images[a:b])
        with torch.no_grad():
            config = self.configs[0]
            self.steps[start:end] += 1
            states = [list(part[start:end].unbind()) for part in (*self.state, self.steps)]
            rows, gradients = self.parameters[start:end].unbind(), self.gradients[start:end].unbind()
            UPDATES[config.optimizer][0](rows, gradients, states, config.lr)
        for index in range(start, end):
            self.tracked[index] += 1
        return losses

    def _backward(self, start: int, end: int, images: Tensor) -> Tensor:
        """Write the gradients of models from `start` to before `end` on their images (k, B, H, W, C); their losses."""
        chunk = self._chunk(start, end, images)
        with torch.no_grad():
            outputs, saved = chunk.forward(images)
        losses, gradient = self._loss(start, end, outputs, images)
        with torch.no_grad():
            chunk.backward(gradient, saved)
        return losses

    @torch.no_grad()
    def _backward_moved(self, start: int, end: int, images: Tensor) -> None:
        """Replace the gradients by those at weights moved along them, or at random; weights and statistics stay."""
        parameters, statistics = self.parameters[start:end], self.statistics[start:end]
        kept = parameters.clone(), statistics.clone()
        rhos = parameters.new_tensor(self._rhos[start:end])
        parameters += along(torch.stack([self._direction(index) for index in range(start, end)]), rhos)
        with torch.enable_grad():
            self._backward(start, end, images)
        parameters.copy_(kept[0])
        statistics.copy_(kept[1])

    def _direction(self, index: int) -> Tensor:
        """Where `sam_rho` moves model `index`, of any length: its gradient, or numbers drawn for this update."""
        config, gradient = self.configs[index], self.gradients[index]
        if config.sam_direction == "gradient":
            return gradient
        return random_row(config.seed, int(self.steps[index]), gradient)[self._order]

    def _chunk(self, start: int, end: int, images: Tensor) -> Chunk | Volumes:
        form = Volumes if end - start == 1 and takes_volumes(self.layers, images) else Chunk
        if (start, end, form) not in self._chunks:
            rows = (part[start:end] for part in (self.parameters, self.gradients, self.statistics))
            self._chunks[start, end, form] = form(self.layers, *rows)
        return self._chunks[start, end, form]

    def _loss(self, start: int, end: int, outputs: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the models and the gradient of `outputs` (k, B, H, W, C), a call for each different loss."""
        keys = self._losses[start:end]
        size = images.shape[1]
        losses, gradient = outputs.new_empty(len(outputs)), torch.empty_like(outputs)
        for key in dict.fromkeys(keys):
            mine = [number for number, other in enumerate(keys) if other == key]
            part = slice(None) if len(mine) == len(keys) else mine
            output = outputs[part].detach().requires_grad_()
            pair = (values.permute(0, 1, 4, 2, 3).flatten(0, 1) for values in (output, images[part]))
            values = training_batch_losses(self.configs[start + mine[0]], size)(*pair)
            (gradient[part],) = torch.autograd.grad(values.sum(), output)
            losses[part] = values.detach()
        return losses, gradient


def chunk_bounds(models: int, images: int, threads: int) -> list[tuple[int, int]]:
    """(start, end) of the chunks that `models` are divided into for batches of `images`: a multiple of `threads`."""
    largest = max(1, CHUNK_IMAGES // images) if images < VOLUME_IMAGES else 1
    count = min(models, -(-models // (largest * threads)) * threads)
    edges = [models * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def takes_volumes(layers: Sequence[Layer], images: Tensor) -> bool:
    """Whether a model's images (1, B, H, W, C) are enough for :class:`Volumes`, and this machine fast at it."""
    mkldnn = torch.backends.mkldnn
    plain = images.device.type != "cpu" or images.dtype != torch.float32
    return images.shape[1] >= VOLUME_IMAGES and not plain and mkldnn.is_available() and fits(layers, images)


def check_same(configs: Sequence[RunConfig], models: Sequence[nn.Module]) -> None:
    """Raise ValueError unless there is a model for each config and all are of one shape."""
    if not configs or len(configs) != len(models):
        raise ValueError(f"stack: expected as many models as configs, one or more; found {len(models)}, {len(configs)}")
    for config in configs:
        if stack_key(config) != stack_key(configs[0]):
            names = [name for name in SHAPE_FIELDS if getattr(config, name) != getattr(configs[0], name)]
            raise ValueError(f"stack: expected configs equal in {', '.join(SHAPE_FIELDS)}, found unequal {names}")


def _tracked(model: nn.Module) -> int:
    return max((int(norm.num_batches_tracked) for _, norm in stages(model) if norm is not None), default=0)  # type: ignore[arg-type]


_pool = functools.cache(thread_pool)  # kept: a new one for every step would cost more than the step

"""Exact Hessian-vector products of a mean loss of an Autoencoder, written out for several vectors at once.

The R-operator (Pearlmutter, Neural Computation 1994): a forward and a backward pass of tangents, by the matrix products
and identities of :mod:`training.models.layers`. It is fast by what is left out:

- *Fold.* With batch norm as at evaluation each stage is one convolution (:mod:`landscape.hessian.fold`). Between
  convolutions only leaky ReLU is left, which has no curvature: second derivatives come from products of weights, and
  from output and loss alone.
- *Kept.* Activations, slopes and first derivatives do not depend on the vectors: they are computed once, as long as the
  weights stay and memory allows.
- *Half.* v'Hv needs no backward pass.

Images are taken in chunks that stay in cache, and chunks are divided among torch's threads. In names and comments X are
a layer's inputs as rows (M, K), W' its folded weights (K, N), D the loss's derivatives in X·W', a dot is a tangent.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from landscape.hessian.curve import Curve, Loss
from landscape.hessian.fold import Pair, folds_of, order_of, put, put_adjoint, taken, taken_adjoint
from landscape.problem.problem import Samples
from training.models.layers import SLOPE
from training.runtime.device import thread_pool

T = TypeVar("T")
R = TypeVar("R")

CHUNK_IMAGES = 64  # enough for the matrix products, few enough for the caches
UNIT_IMAGES = 256  # images times vectors whose tangents a thread has in memory; more at a time gain nothing
STATE_BYTES = 2**31  # of what is kept of all images; what is beyond it is computed anew for each call


@dataclass
class State:
    """What of a chunk of images does not depend on the vectors, layer by layer.

    shapes (1, B, H, W, C) of the layers' inputs; X (1, M, K); slopes (1, B, H', W', C') of the leaky ReLU after all
    layers but the last; outputs (1, B, H, W, C) before the sigmoid; D (1, M, N), and the gradient in b' (1, 1, C').
    """

    shapes: list[torch.Size] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))
    deltas: list[Tensor] = field(default_factory=list)
    biases: list[Tensor] = field(default_factory=list)

    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in (*self.inputs, *self.slopes, *self.deltas))


@dataclass
class Unit:
    """Whole groups of samples: images (1, B, H, W, C) in chunks, their targets together, and what is kept of them."""

    images: list[Tensor]
    targets: Tensor
    kept: tuple[list[State], Curve] | None = None


class Chain:
    """A mean loss over `samples` as a function of the weights of `model`, an Autoencoder in evaluation mode.

    `loss` gives the share in the mean that whole groups of `group` consecutive samples have. Rows of weights are in the
    order of the model's parameters. After weights have changed, call :meth:`refresh`.
    """

    def __init__(self, model: nn.Module, loss: Loss, samples: Samples, group: int):
        self.model, self.loss = model, loss
        self.units = units_of(samples, group)
        self.order = order_of(model)
        self.back = torch.argsort(self.order)
        threads = torch.get_num_threads() if samples.inputs.device.type == "cpu" else 1
        pool = _pool(threads) if threads > 1 else None
        # Threads take whole units where there are enough; where groups are large, the chunks of one unit.
        self.pools = (pool, None) if len(self.units) >= 2 * threads else (None, pool)
        self.refresh()

    def refresh(self) -> None:
        """Take the model's present weights; what was kept of the former ones is forgotten."""
        self.folds = folds_of(self.model)
        self.weights = [fold.folded() for fold in self.folds]
        self.first: tuple[float, list[Pair]] | None = None
        self.room = STATE_BYTES
        for unit in self.units:
            unit.kept = None

    @torch.no_grad()
    def value(self) -> float:
        """The loss alone, by a forward pass of which nothing is kept."""
        return self.first[0] if self.first else sum(_map(self.pools[0], self._value_of, self.units))

    @torch.no_grad()
    def gradient(self) -> tuple[float, Tensor]:
        """The loss and its gradient (P,)."""
        value, pairs = self._first()
        parts = [fold.gradient(pair) for fold, pair in zip(self.folds, pairs, strict=True)]
        return value, torch.cat(parts, 1)[0, self.back]

    @torch.no_grad()
    def products(self, vectors: Tensor) -> Tensor:
        """H·v for each row of `vectors` (k, P)."""
        return torch.cat([self._products(part[:, self.order]) for part in vectors.split(self._together())])

    @torch.no_grad()
    def quadratic_forms(self, vectors: Tensor) -> Tensor:
        """v'Hv for each row of `vectors` (k, P); (k,), in double precision."""
        return torch.cat([self._forms(part[:, self.order]) for part in vectors.split(self._together())])

    def _together(self) -> int:
        return max(1, UNIT_IMAGES // max(len(unit.targets) for unit in self.units))

    def _first(self) -> tuple[float, list[Pair]]:
        """The loss and its gradient in the folded weights, computed once."""
        if self.first is None:
            parts = list(_map(self.pools[0], self._first_of, self.units))
            self.first = sum(value for value, _ in parts), summed(pairs for _, pairs in parts)
        return self.first

    def _value_of(self, unit: Unit) -> float:
        outputs = [state.outputs for state in _map(self.pools[1], self._state, unit.images)]
        return float(self.loss(torch.cat(outputs, 1).sigmoid()[0].permute(0, 3, 1, 2), unit.targets))

    def _first_of(self, unit: Unit) -> tuple[float, list[Pair]]:
        states, curve = self._kept(unit)
        return curve.value, summed(
            [(x.transpose(1, 2) @ delta, bias) for x, delta, bias in zip(s.inputs, s.deltas, s.biases, strict=True)]
            for s in states
        )

    def _products(self, rows: Tensor) -> Tensor:
        _, gradients = self._first()
        tangents = [fold.tangent(rows) for fold in self.folds]
        changes = summed(_map(self.pools[0], lambda unit: self._products_of(unit, tangents), self.units))
        stages = zip(self.folds, gradients, changes, strict=True)
        return torch.cat([fold.gradient_tangent(rows, *pairs) for fold, *pairs in stages], 1)[:, self.back]

    def _products_of(self, unit: Unit, tangents: Sequence[Pair]) -> list[Pair]:
        """A unit's derivative along the tangents of the gradient in the folded weights."""
        states, curve = self._kept(unit)
        passed = list(_map(self.pools[1], lambda state: self._forward(state, tangents), states))
        changes = split_like(curve.products(torch.cat([outputs for outputs, _ in passed], 1)), states)
        work = zip(states, (moved for _, moved in passed), changes, strict=True)
        return summed(_map(self.pools[1], lambda chunk: self._backward(*chunk, tangents), list(work)))

    def _forms(self, rows: Tensor) -> Tensor:
        """v'Hv = Σ ẏ'∇²φ ẏ + 2 Σ_layers ⟨Ẋ'D, Ẇ'⟩ + ⟨g, Ẅ'⟩: outputs y, loss φ, gradient g in the folded weights."""
        _, gradients = self._first()
        tangents = [fold.tangent(rows) for fold in self.folds]
        parts = list(_map(self.pools[0], lambda unit: self._forms_of(unit, tangents), self.units))
        result = torch.stack([forms for forms, _ in parts]).sum(0)
        for number, (weight, _) in enumerate(tangents[1:]):
            inner = torch.stack([moved[number] for _, moved in parts]).sum(0) * weight
            result = result + 2 * inner.sum((1, 2), dtype=torch.float64)
        for fold, gradient in zip(self.folds, gradients, strict=True):
            result = result + fold.curvature(rows, gradient)
        return result

    def _forms_of(self, unit: Unit, tangents: Sequence[Pair]) -> tuple[Tensor, list[Tensor]]:
        """A unit's Σ ẏ'∇²φ ẏ (k,), and Ẋ'D (k, K, N) of each layer after the first."""

        def one(state: State) -> tuple[Tensor, list[Tensor]]:
            outputs, moved = self._forward(state, tangents)
            return outputs, [x.transpose(1, 2) @ delta for x, delta in zip(moved[1:], state.deltas[1:], strict=True)]

        states, curve = self._kept(unit)
        passed = list(_map(self.pools[1], one, states))
        outputs = torch.cat([outputs for outputs, _ in passed], 1)
        forms = (outputs * curve.products(outputs)).flatten(1).sum(1, dtype=torch.float64)
        return forms, [sum(parts[1:], parts[0]) for parts in zip(*(moved for _, moved in passed), strict=True)]

    def _kept(self, unit: Unit) -> tuple[list[State], Curve]:
        """What of a unit does not depend on the vectors, from memory if it is there."""
        if unit.kept is not None:
            return unit.kept
        states = list(_map(self.pools[1], self._state, unit.images))
        curve = Curve(self.loss, torch.cat([state.outputs for state in states], 1), unit.targets)
        slopes = split_like(curve.slope, states)
        list(_map(self.pools[1], lambda pair: self._differentiate(*pair), list(zip(states, slopes, strict=True))))
        size = sum(state.bytes() for state in states)
        if size <= self.room:
            self.room -= size
            unit.kept = states, curve
        return states, curve

    def _state(self, images: Tensor) -> State:
        """The forward pass of a chunk."""
        state = State()
        for fold, (weight, bias) in zip(self.folds, self.weights, strict=True):
            state.shapes.append(images.shape)
            state.inputs.append(taken(fold.layer, images))
            images = put(fold.layer, state.inputs[-1] @ weight, state.shapes[-1]).add_(bias[:, None, None])
            if fold is not self.folds[-1]:
                state.slopes.append(torch.where(images > 0, 1, images.new_tensor(SLOPE)))
                images = images * state.slopes[-1]
        state.outputs = images
        return state

    def _differentiate(self, state: State, images: Tensor) -> None:
        """The backward pass of a chunk, given the loss's gradient in its outputs."""
        for number in reversed(range(len(self.folds))):
            layer = self.folds[number].layer
            state.deltas.insert(0, put_adjoint(layer, images))
            state.biases.insert(0, images.sum((1, 2, 3))[:, None])
            if number:
                rows = state.deltas[0] @ self.weights[number][0].transpose(1, 2)
                images = taken_adjoint(layer, rows, state.shapes[number]) * state.slopes[number - 1]

    def _forward(self, state: State, tangents: Sequence[Pair]) -> tuple[Tensor, list[Tensor]]:
        """The tangents of a chunk's outputs (k, B, H, W, C), and Ẋ (k, M, K) of each layer."""
        moved: list[Tensor] = [torch.empty(0)]  # the images stay
        images = moved[0]
        for number, (fold, (weight, bias)) in enumerate(zip(self.folds, tangents, strict=True)):
            rows = state.inputs[number].expand(len(weight), -1, -1) @ weight
            if number:
                moved.append(taken(fold.layer, images))
                rows.flatten(0, 1).addmm_(moved[-1].flatten(0, 1), self.weights[number][0][0])
            images = put(fold.layer, rows, state.shapes[number]).add_(bias[:, None, None])
            if number < len(self.folds) - 1:
                images = images.mul_(state.slopes[number])
        return images, moved

    def _backward(self, state: State, moved: list[Tensor], images: Tensor, tangents: Sequence[Pair]) -> list[Pair]:
        """The derivative of a chunk's gradient in the folded weights, given that of the gradient in its outputs."""
        pairs = []
        for number in reversed(range(len(self.folds))):
            layer = self.folds[number].layer
            rows = put_adjoint(layer, images)
            inputs, delta = (part.expand(len(rows), -1, -1) for part in (state.inputs[number], state.deltas[number]))
            change = inputs.transpose(1, 2) @ rows
            pairs.append((change, images.sum((1, 2, 3))[:, None]))
            if number:
                change.baddbmm_(moved[number].transpose(1, 2), delta)
                back = delta @ tangents[number][0].transpose(1, 2)
                back.flatten(0, 1).addmm_(rows.flatten(0, 1), self.weights[number][0][0].T)
                images = taken_adjoint(layer, back, state.shapes[number]) * state.slopes[number - 1]
        return pairs[::-1]


def units_of(samples: Samples, group: int) -> list[Unit]:
    """Whole groups of samples in units of about a chunk, or of a group that is larger, in several chunks."""
    size = group * max(1, CHUNK_IMAGES // group)
    pairs = zip(samples.inputs.split(size), samples.targets.split(size), strict=True)
    return [Unit([chunk[None] for chunk in _rows(inputs).split(CHUNK_IMAGES)], targets) for inputs, targets in pairs]


def _rows(images: Tensor) -> Tensor:
    """(B, C, H, W) with channels innermost in memory, as (B, H, W, C)."""
    return images.permute(0, 2, 3, 1).contiguous()


def split_like(images: Tensor, states: Sequence[State]) -> tuple[Tensor, ...]:
    """Cut (k, B, …) into the chunks of `states`."""
    return images.split([state.outputs.shape[1] for state in states], 1)


def summed(parts: Iterable[list[Pair]]) -> list[Pair]:
    """Sums over chunks or units, layer by layer, in their order."""
    return functools.reduce(
        lambda total, part: [(a + c, b + d) for (a, b), (c, d) in zip(total, part, strict=True)], parts
    )


def _map(pool: ThreadPoolExecutor | None, function: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
    """`function` of each item in their order, by the pool's threads if there is one; gradients off there too."""

    def alone(item: T) -> R:
        with torch.no_grad():
            return function(item)

    return pool.map(alone, items) if pool else map(alone, items)


_pool = functools.cache(thread_pool)  # kept for all objectives

"""Several points of a plane in one call: the model vectorized over its weights, the data shared.

Worth it on a GPU, which one point of a small model leaves idle. The plain and the rewritten pass take one at a time.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, vmap

from landscape.problem.nested import Nested, call, leaves, map_leaves
from landscape.problem.params import Params, params_of

MOST_POINTS = 64  # a call's overhead is long since paid for
SHARE_OF_MEMORY = 0.5  # of what is free; the rest is for what the allocator cannot reuse


class VectorizedModel:
    """`model` in evaluation mode at several points of the plane through its base weights along `directions`."""

    def __init__(self, model: nn.Module, directions: Sequence[Params], calling: Callable[[nn.Module, Any], Any] = call):
        self.called = Called(model, calling)
        self.base = params_of(model) | {
            name: buffer.detach().clone()
            for name, buffer in model.named_buffers()
            if any(name in direction for direction in directions)
        }
        self.directions = [
            {name: step.to(self.base[name]) for name, step in direction.items() if step.any()}
            for direction in directions
        ]
        moved = set().union(*self.directions) if directions else set()
        self.moved = {name: self.base[name] for name in self.base if name in moved}
        still = {**self.base, **dict(model.named_buffers())}
        self.fixed = {name: tensor for name, tensor in still.items() if name not in moved}

    def weights(self, steps: Tensor) -> Params:
        """θ + Σ steps·directions for each row of `steps` (P, axes), stacked: {name: (P, …)}; only what moves."""
        stacked = {}
        for name, base in self.moved.items():
            value = base.expand(len(steps), *base.shape)
            for axis, direction in enumerate(self.directions):
                if name in direction:
                    value = value + steps[:, axis].view(-1, *[1] * base.ndim).to(base) * direction[name]
            stacked[name] = value
        return stacked

    def __call__(self, weights: Params, inputs: Nested) -> Nested:
        """Outputs (P, B, …) of `inputs` (B, …) at each of the stacked `weights`."""
        fixed = _prefixed(self.fixed)
        seen = []  # outputs may hold more than tensors, which vmap does not take

        def tensors(moved: Params) -> list[Tensor]:
            output = functional_call(self.called, (_prefixed(moved), fixed), (inputs,))
            seen.append(output)
            return [leaf for leaf in leaves(output) if isinstance(leaf, Tensor)]

        stacked = iter(vmap(tensors)(weights))
        return map_leaves(lambda leaf: next(stacked) if isinstance(leaf, Tensor) else leaf, seen[0], once=False)


class Called(nn.Module):
    """`calling(model, inputs)` as a module, so that its weights can be exchanged."""

    def __init__(self, model: nn.Module, calling: Callable[[nn.Module, Any], Any]):
        super().__init__()
        self.model = model
        self.calling = calling

    def forward(self, inputs: Nested) -> Nested:
        return self.calling(self.model, inputs)


def _prefixed(params: Params) -> Params:
    return {f"model.{name}": tensor for name, tensor in params.items()}


def points_that_fit(bytes_of_a_point: int, free: int) -> int:
    """How many points a call takes, from the memory that one needs and what is free on the device; 1 to MOST_POINTS."""
    return max(1, min(MOST_POINTS, int(SHARE_OF_MEMORY * free) // max(1, bytes_of_a_point)))

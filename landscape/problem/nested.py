"""Nested samples: a tensor, or dicts, tuples and lists of such, cut and joined along their first dimension.

What a model takes, what it returns and what it is measured against may all be nested. A tensor by itself is the common
case and costs nothing extra. Containers are those of :mod:`torch.utils._pytree`, named tuples among them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Nested = Any  # a Tensor, or a dict, tuple or list of Nested


def leaves(value: Nested) -> list[Any]:
    """What the containers hold, in the order of the containers."""
    return [value] if isinstance(value, Tensor) else pytree.tree_leaves(value)


def named_leaves(prefix: str, value: Nested) -> Iterator[tuple[str, Any]]:
    """Each leaf with its name: `prefix` for a tensor by itself, else that with keys and places behind it.

    >>> [name for name, _ in named_leaves("inputs", {"ids": torch.ones(1), "more": (torch.ones(1),)})]
    ['inputs.ids', 'inputs.more.0']
    """
    for path, leaf in pytree.tree_flatten_with_path(value)[0]:
        yield ".".join([prefix, *(str(_key(entry)) for entry in path)]), leaf


def _key(entry: Any) -> Any:
    return next(getattr(entry, kind) for kind in ("key", "idx", "name") if hasattr(entry, kind))


def map_leaves(function: Callable[[Any], Any], value: Nested, once: bool = True) -> Nested:
    """`value` with `function` of each leaf in its place; with `once`, one that is in several places is taken once."""
    if isinstance(value, Tensor):
        return function(value)
    done: dict[int, Any] = {}

    def taken(leaf: Any) -> Any:
        if id(leaf) not in done:
            done[id(leaf)] = function(leaf)
        return done[id(leaf)]

    return pytree.tree_map(taken if once else function, value)


def length(value: Nested) -> int:
    """How many samples: the length of the first tensor."""
    return len(leaves(value)[0])


def split(value: Nested, size: int) -> list[Nested]:
    """Consecutive parts of `size` samples each; the last may have fewer."""
    if isinstance(value, Tensor):
        return list(value.split(size))
    flat, spec = pytree.tree_flatten(value)
    return [pytree.tree_unflatten(part, spec) for part in zip(*(leaf.split(size) for leaf in flat), strict=True)]


def chunk(value: Nested, parts: int) -> list[Nested]:
    """At most `parts` consecutive parts of about equal size, as :func:`torch.chunk` cuts them."""
    return split(value, -(-length(value) // parts))


def joined(values: Sequence[Nested], dim: int = 0) -> Nested:
    """Outputs of several calls as those of one: joined along `dim`, the first after `dim` leading ones.

    A tensor without that dimension is one number a call, and becomes a row of them. What is no tensor is the first
    call's. A single call's outputs stay as they are.
    """
    if len(values) == 1:
        return values[0]
    if isinstance(values[0], Tensor):
        return _joined(values, dim)
    spec = pytree.tree_structure(values[0])
    columns = zip(*(pytree.tree_leaves(value) for value in values), strict=True)
    return pytree.tree_unflatten([_joined(column, dim) for column in columns], spec)


def _joined(column: Sequence[Any], dim: int) -> Any:
    if not isinstance(column[0], Tensor):
        return column[0]
    return torch.cat([part.unsqueeze(dim) if part.ndim == dim else part for part in column], dim)


def unstacked(value: Nested, count: int) -> list[Nested]:
    """The `count` entries of each tensor's first dimension, each in the structure of `value`."""
    if isinstance(value, Tensor):
        return list(value)

    def entry(number: int) -> Nested:
        return map_leaves(lambda leaf: leaf[number] if isinstance(leaf, Tensor) else leaf, value)

    return [entry(number) for number in range(count)]


def moved(value: Nested, device: torch.device | None, dtype: torch.dtype | None = None) -> Nested:
    """Tensors on `device`, floating-point ones as `dtype`, the others and what is no tensor in the type they have."""

    def to(leaf: Any) -> Any:
        return leaf.to(device, dtype if leaf.is_floating_point() else None) if isinstance(leaf, Tensor) else leaf

    return map_leaves(to, value)


def kind_of(value: Nested) -> str:
    """The type and shape of `value`, for messages."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__


def call(model: nn.Module, inputs: Nested) -> Nested:
    """`model(inputs)`: the inputs are the one argument, whatever their structure."""
    return model(inputs)


def call_unpacked(model: nn.Module, inputs: Nested) -> Nested:
    """`model(**inputs)` of a dict, `model(*inputs)` of a tuple or list: each entry is an argument."""
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)

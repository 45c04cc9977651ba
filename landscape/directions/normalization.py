"""Random directions in weight space, normalized as in Li et al. (NeurIPS 2018)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from landscape.problem.params import Params

TransposedConv = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Norm = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Direction:
    """A step in weight space: one tensor for each parameter of the model, zero where it does not move.

    Where running statistics are interpolated, also one for each floating-point buffer.
    """

    name: str
    params: Params
    normalization: str
    seed: int


def random_directions(
    model: nn.Module, seed: int, plane: int = 0, normalization: str = "filter", orthogonal: bool = False
) -> tuple[Direction, Direction]:
    """The directions x and y of a plane: Gaussian, then normalized against the weights of `model`.

    Drawn in double precision by a CPU generator that depends on (seed, plane, axis) alone, so equal on any rank, device
    and run. Biases and the parameters of norm layers get zero (Li et al.'s `ignore = biasbn`). With `orthogonal`, y is
    made orthogonal to x in each filter before normalizing, which keeps them orthogonal.
    """
    weights = {name: parameter.detach().cpu().double() for name, parameter in model.named_parameters()}
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    movable = movable_parameters(model)
    groups = transposed_groups(model)
    normalize = NORMALIZATIONS[normalization]
    raw = [_gaussian(weights, movable, generator(seed, plane, axis)) for axis in (0, 1)]
    if orthogonal:
        raw[1] = {name: _without(raw[1][name], raw[0][name], groups.get(name)) for name in movable}
    x, y = (
        Direction(
            axis,
            {
                name: normalize(direction[name], weight, groups.get(name)).to(dtypes[name])
                if name in movable
                else torch.zeros(weight.shape, dtype=dtypes[name])
                for name, weight in weights.items()
            },
            normalization,
            seed,
        )
        for axis, direction in zip("xy", raw, strict=True)
    )
    return x, y


def generator(seed: int, plane: int, axis: int) -> torch.Generator:
    """The CPU generator of one direction; those of different (seed, plane, axis) are independent."""
    state = np.random.SeedSequence([seed, plane, axis]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def movable_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters that directions move: of two or more dimensions and not of a norm layer."""
    fixed = {
        id(parameter) for module in model.modules() if isinstance(module, Norm) for parameter in module.parameters()
    }
    return {name for name, p in model.named_parameters() if p.ndim > 1 and p.is_floating_point() and id(p) not in fixed}


def transposed_groups(model: nn.Module) -> dict[str, int]:
    """Names of transposed convolutions' weights, (in, out/groups, …), with their number of groups."""
    weights = {id(m.weight): m.groups for m in model.modules() if isinstance(m, TransposedConv)}
    return {name: weights[id(p)] for name, p in model.named_parameters() if id(p) in weights}


def filter_sums(values: Tensor, groups: int | None) -> Tensor:
    """Sum of `values` over each filter, spread over the filter's entries: the shape of `values`.

    A filter is what makes one output channel: axis 0 of convolution and linear weights (out, …); in a transposed
    convolution's (in, out/groups, …), axis 1 within each group of inputs.
    """
    if groups is None:
        sums = values.flatten(1).sum(1).view(-1, *[1] * (values.ndim - 1))
        return sums.expand_as(values)
    by_group = values.unflatten(0, (groups, -1))
    axes = (1, *range(3, by_group.ndim))
    return by_group.sum(axes, keepdim=True).expand_as(by_group).reshape(values.shape)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)


def by_filter(direction: Tensor, weight: Tensor, groups: int | None) -> Tensor:
    """Filter normalization: d_f <- d_f·‖w_f‖/‖d_f‖; a filter of zero norm gets a zero direction."""
    norms = [filter_sums(values.square(), groups).sqrt() for values in (weight, direction)]
    return direction * _ratio(*norms)


def by_layer(direction: Tensor, weight: Tensor, groups: int | None) -> Tensor:
    """Layer normalization: the same ratio for a whole weight tensor, d <- d·‖w‖/‖d‖."""
    return direction * _ratio(weight.norm(), direction.norm())


def by_weight(direction: Tensor, weight: Tensor, groups: int | None) -> Tensor:
    """Weight normalization: each entry scaled by its weight's size, d <- d·|w|."""
    return direction * weight.abs()


NORMALIZATIONS: dict[str, Callable[[Tensor, Tensor, int | None], Tensor]] = {
    "filter": by_filter,
    "layer": by_layer,
    "weight": by_weight,
}


def _gaussian(weights: Params, movable: set[str], source: torch.Generator) -> Params:
    return {
        name: torch.randn(weight.shape, generator=source, dtype=torch.float64)
        for name, weight in weights.items()
        if name in movable
    }


def _without(direction: Tensor, other: Tensor, groups: int | None) -> Tensor:
    """`direction` less its part along `other`, filter by filter."""
    overlap = _ratio(filter_sums(direction * other, groups), filter_sums(other * other, groups))
    return direction - overlap * other

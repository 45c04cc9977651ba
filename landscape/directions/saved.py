"""Directions read from a grid file, to be used again."""

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from landscape.directions.normalization import NORMALIZATIONS, movable_parameters, transposed_groups
from landscape.files.untrusted import open_untrusted
from landscape.problem.params import Params
from training.runtime.command import InputError


def read_directions(path: Path, model: nn.Module, plane: int, axes: int) -> list[Params]:
    """The first `axes` directions of a plane in `path`, one tensor for each parameter of `model`, in its types.

    Buffers that were interpolated are left out. Raises InputError if the file holds no such directions, or directions
    of another architecture.
    """
    try:
        with open_untrusted(path, "a grid file with directions") as file:
            found = file.get(f"directions/{plane}")
            names = [axis for axis in "xy" if isinstance(found, h5py.Group) and axis in found]
            if len(names) < axes:
                raise InputError(
                    f"{path}: expected directions {' and '.join('xy'[:axes])} of plane {plane}, found "
                    f"{' and '.join(names) or 'none'}; compute fewer axes or planes, or choose another file"
                )
            return [_direction(found[axis], model, f"{path}: {axis}") for axis in names[:axes]]
    except OSError:
        raise InputError(f"{path}: expected a grid file with directions, found another or a damaged file") from None


def _direction(group: h5py.Group, model: nn.Module, where: str) -> Params:
    direction = {}
    for name, parameter in model.named_parameters():
        dataset = group.get(name)
        shape = dataset.shape if isinstance(dataset, h5py.Dataset) else None
        if shape != tuple(parameter.shape):
            raise InputError(
                f"{where}: expected {name} of shape {tuple(parameter.shape)}, as in the model, found "
                f"{'none' if shape is None else f'one of shape {shape}'}; use directions of the same architecture"
            )
        direction[name] = torch.from_numpy(np.asarray(dataset[()], np.float64)).to(parameter.dtype)
    return direction


def renormalized(direction: Params, model: nn.Module, normalization: str) -> Params:
    """`direction` scaled to the weights of `model`; biases and norm layers get zero, as in random directions."""
    movable, groups = movable_parameters(model), transposed_groups(model)
    return {
        name: NORMALIZATIONS[normalization](
            direction[name].double(), weight.detach().cpu().double(), groups.get(name)
        ).to(weight.dtype)
        if name in movable
        else torch.zeros(weight.shape, dtype=weight.dtype)
        for name, weight in model.named_parameters()
    }

"""Other models beside the base: what of them moves, the files of a trajectory, and where they lie on a plane."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from landscape.directions.components import project
from landscape.directions.normalization import Direction
from landscape.files.grid import Track
from landscape.problem.params import Params
from training.runtime.command import InputError


def moving(model: nn.Module, batch_norm: str) -> Params:
    """What moves: floating-point parameters, and with batch norm "interpolate" floating-point buffers too."""
    named = [*model.named_parameters(), *(model.named_buffers() if batch_norm == "interpolate" else ())]
    return {name: tensor.detach().cpu() for name, tensor in named if tensor.is_floating_point()}


def only_parameters(tensors: Params, model: nn.Module) -> Params:
    """The floating-point parameters among `tensors`."""
    return {name: tensors[name] for name in moving(model, "frozen")}


def direction(axis: str, step: Params, model: nn.Module) -> Direction:
    """A direction as it is, in the types of the model; parameters that `step` leaves out stay."""
    tensors = {**dict(model.named_parameters()), **{k: v for k, v in model.named_buffers() if k in step}}
    params = {
        name: step[name].to(tensor.dtype) if name in step else torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in tensors.items()
    }
    return Direction(axis, params, "none", 0)


def trajectory_files(paths: Sequence[Path]) -> list[Path]:
    """The checkpoints of a folder in the order of the updates that they are named by, or files as they are given.

    The folder is the trajectory's own, or that of the run that saved it.
    """
    if len(paths) == 1 and paths[0].is_dir():
        inner = paths[0] / "trajectory"
        folder = inner if inner.is_dir() else paths[0]
        files = sorted((p for p in folder.glob("*.pt") if p.stem.isdecimal()), key=lambda p: int(p.stem))
        if not files:
            raise InputError(
                f"{paths[0]}: expected checkpoints named by updates (000000.pt, …), found none; name files"
            )
        return files
    return list(paths)


def track_of(files: Sequence[Path], points: Sequence[Params], plane: Sequence[Direction], model: nn.Module) -> Track:
    """Models on a plane through `model`."""
    base = moving(model, "frozen")
    coordinates, distance = project(points, base, [only_parameters(step.params, model) for step in plane])
    updates = [float(path.stem) if path.stem.isdecimal() else float("nan") for path in files]
    return Track(coordinates, distance, np.array(updates))


def name_of(path: Path) -> str:
    """What a model is called in files and figures: its file, or its folder where that has a name that all have."""
    common = path.stem in ("checkpoint", "checkpoints", "trajectory", "model") and path.parent.name
    return path.parent.name if common else path.stem

"""Weights from files: another model of the same architecture, from a checkpoint or a plain state_dict."""

from pathlib import Path

import torch
from torch import nn

from landscape.problem.params import digest_of_tensors
from training.data.patches import Patched
from training.fitting.checkpoint import FORMAT, load_checkpoint, read_plain
from training.runtime.command import InputError


def load_tensors(path: Path, model: nn.Module) -> tuple[dict[str, torch.Tensor], str]:
    """The weights and buffers in a file under the names of `model`, and their SHA-256.

    The file is a checkpoint of this project or a plain state_dict. Raises InputError if a tensor of the model is
    missing, or has another shape: only models of one architecture lie in one space of weights.
    """
    content = read_plain(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        checkpoint = load_checkpoint(path)
        found = {**checkpoint.params, **checkpoint.buffers}
    elif isinstance(content, dict) and content and all(isinstance(value, torch.Tensor) for value in content.values()):
        found = content
    else:
        raise InputError(f"{path}: expected a checkpoint or a state_dict of tensors, found another kind of torch file")
    prefix = "patch_model." if isinstance(model, Patched) else ""
    tensors = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        other = found.get(name.removeprefix(prefix))
        if other is None or other.shape != tensor.shape:
            has = "none" if other is None else f"one of shape {tuple(other.shape)}"
            raise InputError(
                f"{path}: expected {name} of shape {tuple(tensor.shape)}, as in the model, found {has}; "
                "name a model of the same architecture"
            )
        tensors[name] = other
    return tensors, digest_of_tensors(tensors.items())

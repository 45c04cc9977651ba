"""Whether a model gives the same numbers twice, and if not, why: a surface of it would be noise."""

import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.engine.at_model import values_at_model
from landscape.engine.evaluate import Evaluator
from landscape.problem.params import digest_of_tensors
from training.runtime.command import InputError

RTOL = {"cpu": 1e-6, "cuda": 1e-4}  # sums on a GPU may be taken in another order each time
NAMED = 3  # places that a message names
REMEDY = "switch it off in evaluation mode, as F.dropout(x, p, self.training) does"


def check_deterministic(evaluator: Evaluator) -> np.ndarray:
    """What was found at the base weights (2, metrics), twice the same; InputError, which says why, if not.

    Random operators of torch are found by the module that calls them, and so are modules left in training mode, buffers
    that a forward pass changes, and draws from the generators of Python and NumPy.
    """
    before = buffers_of(evaluator.model)
    first, second = values_at_model(evaluator), values_at_model(evaluator)
    same = np.isclose(first, second, rtol=RTOL[evaluator.forward.device.type], atol=0, equal_nan=True)
    if same.all():
        return first
    number = int(np.flatnonzero(~same.all(0))[0])
    raise InputError(
        f"{evaluator.metrics[number].name}: expected the same value at the same weights, found {first[0, number]:.8g} "
        f"and then {second[0, number]:.8g}: {'; '.join(reasons(evaluator, before)) or 'the cause was not found'}; "
        f"{REMEDY}"
    )


def reasons(evaluator: Evaluator, buffers: dict[str, str]) -> list[str]:
    """What may make the numbers differ, each as a phrase. buffers: their digests before anything ran."""
    model = evaluator.model
    training = [name or "the model" for name, module in model.named_modules() if module.training]
    states = generators()
    drawn = random_operators(evaluator)
    found = []
    if training:
        found.append(f"modules in training mode after model.eval(): {_list(training)}")
    if drawn:
        found.append(f"random numbers are drawn by {_list(drawn)} (dropout or augmentation left on?)")
    found += [f"random numbers are drawn from {name}" for name, now in generators().items() if states[name] != now]
    changed = [name for name, digest in buffers_of(model).items() if buffers.get(name) != digest]
    if changed:
        found.append(f"a forward pass changes the buffers {_list(changed)}")
    return found


def random_operators(evaluator: Evaluator) -> list[str]:
    """The random operators that the model and the metrics call on the first batch, each with its place."""
    calls: list[str] = []
    for name, blocks in evaluator.blocks.items():
        inputs, targets = blocks[0]
        with torch.no_grad(), where_it_is(evaluator.model) as place, RandomOperators(place, calls):
            outputs = evaluator.forward.calling(evaluator.model, inputs[0])
        for metric in evaluator.over[name] if len(inputs) == 1 else ():
            label = f"metric {metric.name}"
            with torch.no_grad(), RandomOperators(lambda label=label: label, calls):  # type: ignore[misc]
                metric.measured(outputs, targets)
    return list(dict.fromkeys(calls))


class RandomOperators(TorchDispatchMode):
    """Records in `calls` each operator that takes torch's random numbers, with what `place()` says."""

    def __init__(self, place: Callable[[], str], calls: list[str]):
        super().__init__()
        self.place = place
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and _is_on(func, args, kwargs or {}):
            self.calls.append(f"{func.__name__.split('.')[0].rstrip('_')} in {self.place()}")
        return func(*args, **(kwargs or {}))


def _is_on(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a random operator would draw: attention may be called with a dropout of 0."""
    names = [argument.name for argument in func._schema.arguments]
    given = {argument.name: argument.default_value for argument in func._schema.arguments}
    given |= dict(zip(names, args, strict=False)) | kwargs
    return given.get("dropout_p", 1) != 0 and given.get("train", True) is not False


@contextmanager
def where_it_is(model: nn.Module) -> Iterator[Callable[[], str]]:
    """A function that names the innermost module of `model` that is running."""
    running: list[str] = []
    handles = []
    for name, module in model.named_modules():
        label = f"{name} ({type(module).__name__})" if name else type(module).__name__
        handles.append(module.register_forward_pre_hook(lambda *_, label=label: running.append(label)))
        handles.append(module.register_forward_hook(lambda *_: running.pop() and None, always_call=True))
    try:
        yield lambda: running[-1] if running else "Problem.call"
    finally:
        for handle in handles:
            handle.remove()


def generators() -> dict[str, bytes]:
    """The states of the global generators beside torch's."""
    state = np.random.get_state(legacy=False)
    return {"Python's random": pickle.dumps(random.getstate()), "numpy.random": pickle.dumps(state)}


def buffers_of(model: nn.Module) -> dict[str, str]:
    """The digest of each buffer."""
    return {name: digest_of_tensors([(name, buffer)]) for name, buffer in model.named_buffers()}


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")

"""Where problems come from: a checkpoint of this project, or a user's own factory."""

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape.engine.metrics import CLASSIFIER_METRICS, own_metric
from landscape.problem.params import digest_of_model
from landscape.problem.problem import Problem, Samples, check_problem, digest_of_sets, subsample
from training.data.config import RunConfig
from training.data.patches import Patched, to_patches
from training.data.splits import Split
from training.fitting.checkpoint import load_checkpoint, load_weights
from training.fitting.origin import data_of
from training.models.autoencoder import build_model
from training.runtime.command import InputError, users_code


def from_checkpoint(path: Path, data_dir: str | None, max_samples: int = 0) -> Problem:
    """The problem that a checkpoint's run was: its model, its training images and its test split.

    The sets of an autoencoder are `train-normal`, `test-normal` and `test-anomalous`, those of a classifier `train` and
    `test`; what was held out of training is in none of them. Without `data_dir` the data are looked for where the model
    was trained first. Raises InputError if the checkpoint cannot be used, or if
    the data are not those it was trained on.
    """
    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    split = data_of(path, checkpoint, data_dir)
    model = build_model(config)
    load_weights(model, checkpoint, str(path))
    problem = TASKS[config.task](model.eval(), config, split, max_samples)
    problem.name = config.loss
    problem.weights_digest, problem.data_digest = checkpoint.digest, split.digest
    problem.meta = {"config": vars(config), "epoch": checkpoint.epoch, "checkpoint_metrics": checkpoint.metrics}
    return problem


def autoencoder_problem(model: nn.Module, config: RunConfig, split: Split, max_samples: int) -> Problem:
    """Images are their own targets; a model of patches is measured on whole images, but for `own`."""
    normal = torch.from_numpy(~split.labels)
    images = {"train-normal": split.train, "test-normal": split.test[normal], "test-anomalous": split.test[~normal]}
    sets = {name: subsample(Samples(values, values), max_samples) for name, values in images.items()}
    own_set = "train-normal"
    if config.patches > 1:
        side = round(config.patches**0.5)
        model, own_set = Patched(model, side, config.image_size), "train-patches"
        patches = to_patches(sets["train-normal"].inputs, side)
        sets[own_set] = subsample(Samples(patches, patches), 0)
    return Problem(model.eval(), sets, metrics={"own": own_metric(config, own_set)})


def classifier_problem(model: nn.Module, config: RunConfig, split: Split, max_samples: int) -> Problem:
    """The targets are one-hot digits, the outputs probabilities."""
    if split.targets is None:
        raise ValueError("sources: expected targets with task classify, found a split without")
    pairs = zip(("train", "test"), (split.train, split.test), split.targets, strict=True)
    sets = {name: subsample(Samples(inputs, targets), max_samples) for name, inputs, targets in pairs}
    return Problem(model, sets, metrics={**CLASSIFIER_METRICS, "own": own_metric(config, "train")})


#: task -> the sets and metrics of its model
TASKS: dict[str, Callable[[nn.Module, RunConfig, Split, int], Problem]] = {
    "reconstruct": autoencoder_problem,
    "classify": classifier_problem,
}


def from_factory(name: str, max_samples: int = 0) -> Problem:
    """The problem that `package.module:factory` returns when called without arguments.

    Modules are found as Python finds them, and in the working directory. Raises InputError if there is none such.
    """
    module_name, _, function_name = name.partition(":")
    where = f"--problem {name}"
    if not (module_name and function_name):
        raise InputError(f"{where}: expected package.module:factory")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise InputError(f"{where}: expected package.module:factory, found no name of a module")
    sys.path.insert(0, "")
    try:
        with users_code():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"{where}: expected a module that can be imported, found none named {error.name!r}") from None
    factory = getattr(module, function_name, None)
    if not callable(factory):
        raise InputError(f"{where}: expected a function {function_name!r} in {module_name}, found none")
    check_no_arguments(factory, where)
    with users_code():
        problem = factory()
    return completed(problem, where, max_samples, name)


def check_no_arguments(factory: Callable[..., Any], where: str) -> None:
    """Raise InputError unless `factory` can be called without arguments."""
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise InputError(f"{where}: expected a function that is called without arguments, found {error}") from None
    except ValueError:
        return  # of code that has no signature


def completed(problem: Problem, where: str, max_samples: int = 0, name: str = "") -> Problem:
    """A user's problem with what it left out: its digests and a name; InputError if it cannot be used."""
    check_problem(problem, where)
    sets = problem.sets
    if max_samples:
        sets = {which: subsample(samples, max_samples) for which, samples in sets.items()}
    return dataclasses.replace(
        problem,
        sets=sets,
        name=problem.name or name or type(problem.model).__name__,
        weights_digest=problem.weights_digest or digest_of_model(problem.model),
        data_digest=problem.data_digest or digest_of_sets(sets),
    )

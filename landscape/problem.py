"""`Problem`: what a surface is computed of, from a checkpoint or from a user's own factory."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.params import digest_of_model, digest_of_tensors
from training.command import InputError

if TYPE_CHECKING:
    from landscape.metrics import Metric

PERMUTATION_SEED = 0  # of the order in which `own` meets the images; one for all models, so that they meet the same


class Samples(NamedTuple):
    """Inputs and targets of equal length, kept on the device that computes."""

    inputs: Tensor
    targets: Tensor


@dataclass
class Problem:
    """A model at its base weights and the named sets of samples that metrics are measured over.

    sets: such as `train-normal`, `test-normal`, `test-anomalous`; the first is the one that a metric named without
    `@set` is over. metrics: the problem's own, beside or instead of the general ones. meta: plain values for the file.
    """

    model: nn.Module
    sets: Mapping[str, Samples]
    metrics: Mapping[str, "Metric"] = field(default_factory=dict)
    name: str = ""
    weights_digest: str = ""
    data_digest: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def subsample(samples: Samples, count: int) -> Samples:
    """The first `count` samples of the seeded permutation of `samples`; all of them, permuted, if `count` is 0."""
    order = torch.randperm(len(samples.inputs), generator=torch.Generator().manual_seed(PERMUTATION_SEED))
    order = order[: count or None]
    inputs = samples.inputs[order]
    return Samples(inputs, inputs if samples.targets is samples.inputs else samples.targets[order])


def from_checkpoint(path: Path, data_dir: str | None, max_samples: int = 0) -> Problem:
    """The problem that a checkpoint's run was: its model, its training images and its test split.

    Raises InputError if the checkpoint cannot be used, or if the data are not those it was trained on.
    """
    from landscape.metrics import own_metric
    from training.checkpoint import load_checkpoint, load_weights
    from training.data import load_split
    from training.models import build_model
    from training.patches import Patched, to_patches

    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    split = load_split(config, data_dir)
    check_data(path, checkpoint.data_digest, split.digest)
    model = build_model(config)
    load_weights(model, checkpoint, str(path))
    normal = torch.from_numpy(~split.labels)
    images = {"train-normal": split.train, "test-normal": split.test[normal], "test-anomalous": split.test[~normal]}
    sets = {name: subsample(Samples(values, values), max_samples) for name, values in images.items()}
    own_set = "train-normal"
    if config.patches > 1:
        side = round(config.patches**0.5)
        model, own_set = Patched(model, side, config.image_size), "train-patches"
        patches = to_patches(sets["train-normal"].inputs, side)
        sets[own_set] = subsample(Samples(patches, patches), 0)
    return Problem(
        model.eval(),
        sets,
        metrics={"own": own_metric(config, own_set)},
        name=config.loss,
        weights_digest=checkpoint.digest,
        data_digest=split.digest,
        meta={"config": vars(config), "epoch": checkpoint.epoch, "checkpoint_metrics": checkpoint.metrics},
    )


def check_data(path: Path, trained_on: str, found: str) -> None:
    """Raise InputError unless the data are those that the checkpoint was trained on."""
    if trained_on != found:
        raise InputError(
            f"{path}: expected the data it was trained on (SHA-256 {trained_on[:12]}…), found {found[:12]}…; "
            "name the right folder with --data-dir"
        )


def from_factory(name: str, max_samples: int = 0) -> Problem:
    """The problem that `package.module:factory` returns when called without arguments.

    Modules are found as Python finds them, and in the working directory. Raises InputError if there is none such.
    """
    module_name, _, function_name = name.partition(":")
    where = f"--problem {name}"
    if not (module_name and function_name):
        raise InputError(f"{where}: expected package.module:factory")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"{where}: expected a module that can be imported, found none named {error.name!r}") from None
    except (TypeError, ValueError):
        raise InputError(f"{where}: expected package.module:factory, found no name of a module") from None
    factory = getattr(module, function_name, None)
    if not callable(factory):
        raise InputError(f"{where}: expected a function {function_name!r} in {module_name}, found none")
    problem = factory()
    check_problem(problem, where)
    if max_samples:
        problem.sets = {which: subsample(samples, max_samples) for which, samples in problem.sets.items()}
    problem.name = problem.name or name
    problem.weights_digest = problem.weights_digest or digest_of_model(problem.model)
    problem.data_digest = problem.data_digest or digest_of_sets(problem.sets)
    return problem


def check_problem(problem: Any, where: str) -> None:
    """Raise InputError unless `problem` is a Problem whose parts can be used."""
    if not isinstance(problem, Problem):
        raise InputError(f"{where}: expected it to return a landscape.problem.Problem, found {type(problem).__name__}")
    if not any(True for _ in problem.model.parameters()):
        raise InputError(f"{where}: expected a model with parameters, found none")
    if not problem.sets:
        raise InputError(f"{where}: expected one or more sets of samples, found none")
    for name, samples in problem.sets.items():
        if not isinstance(samples, Samples):
            raise InputError(
                f"{where}: expected landscape.problem.Samples as set {name!r}, found {type(samples).__name__}"
            )
        if not 0 < len(samples.inputs) == len(samples.targets):
            sizes = f"{len(samples.inputs)} and {len(samples.targets)}"
            raise InputError(f"{where}: expected as many inputs as targets in set {name!r}, found {sizes}")
    for name in (*problem.sets, *problem.metrics):
        if not name or set(name) & set("/@,"):
            raise InputError(f"{where}: expected names of sets and metrics without '/', '@' and ',', found {name!r}")


def digest_of_sets(sets: Mapping[str, Samples]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all samples."""
    return digest_of_tensors(
        (f"{name}.{part}", tensor) for name, samples in sets.items() for part, tensor in samples._asdict().items()
    )

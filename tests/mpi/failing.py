"""Problems on which a run fails or is slow, on rank LANDSCAPE_TEST_RANK, for test_failures.py."""

import os
import resource
import shutil
import time
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from landscape.problem.metric import Metric
from landscape.problem.problem import Problem
from tests.problems import quadratic
from training.runtime import farm
from training.runtime.command import launched_rank


def at_points(act: Callable[[int], None]) -> Problem:
    """The quadratic with a metric `test`; at each of its points, `act` gets their number, on the rank in question."""
    farm.BATCH_SECONDS = 0.02
    seconds = float(os.environ.get("LANDSCAPE_TEST_MS", "2")) / 1000
    concerned = launched_rank() == int(os.environ.get("LANDSCAPE_TEST_RANK", "-1"))
    points = 0

    def squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal points
        points += 1
        time.sleep(seconds)
        if concerned:
            act(points)
        return (output - target).square().sum(1)

    problem = quadratic()
    problem.metrics = {"test": Metric("test", "L2 loss", squares)}
    return problem


def fine() -> Problem:
    return at_points(lambda number: None)


def bug() -> Problem:
    return at_points(_from(30, _raise, KeyError("something went wrong")))


def memory() -> Problem:
    return at_points(_from(30, _raise, MemoryError()))


def torch_memory() -> Problem:
    return at_points(_from(30, torch.empty, 1 << 56))


def lost_folder() -> Problem:
    return at_points(_from(30, shutil.rmtree, os.environ["LANDSCAPE_TEST_FOLDER"], True))


def full_disk() -> Problem:
    """From the 30th point on, nothing can be written beyond the first 4 KB of a file."""
    return at_points(_from(30, resource.setrlimit, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)))


def half_speed() -> Problem:
    """A point takes twice as long on the rank in question."""
    return at_points(lambda number: time.sleep(float(os.environ["LANDSCAPE_TEST_MS"]) / 1000))


def _from(number: int, act: Callable[..., Any], *arguments: Any) -> Callable[[int], None]:
    return lambda point: act(*arguments) if point >= number else None


def _raise(error: BaseException) -> NoReturn:
    raise error

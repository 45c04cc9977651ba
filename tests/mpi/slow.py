"""Problems on which a run is so slow that it is found half done at a random instant, for test_kill.py."""

import os
import time
from typing import Any

import torch

from landscape.files.gridfile import GridWriter
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem
from tests.problems import quadratic
from training.runtime import farm


def points() -> Problem:
    """The quadratic with a metric `slow` of LANDSCAPE_TEST_MS a point; stored every 40 ms, which takes some 25 ms."""
    put, seconds = GridWriter._put, float(os.environ["LANDSCAPE_TEST_MS"]) / 1000

    def squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        return (output - target).square().sum(1)

    def write_slowly(*arguments: Any) -> None:
        time.sleep(0.002)
        put(*arguments)
        time.sleep(0.002)

    farm.BATCH_SECONDS = 0.04
    GridWriter._put = write_slowly  # type: ignore[method-assign]
    problem = quadratic()
    problem.metrics = {"slow": Metric("slow", "L2 loss, slowly", squares)}
    return problem


def disk() -> Problem:
    """As `points`, and a new file takes 0.5 s to reach the disk, before it gets its name."""
    sync = os.fsync

    def sync_slowly(file: int) -> None:
        time.sleep(0.5)
        sync(file)

    os.fsync = sync_slowly
    return points()

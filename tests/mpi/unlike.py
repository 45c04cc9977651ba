"""Problems that are not the same on rank 1, for tests of ranks that must agree."""

import torch

from landscape.problem.metric import Metric
from landscape.problem.problem import Problem
from tests.problems import other_data, other_weights, quadratic
from training.runtime.command import launched_rank


def weights() -> Problem:
    return other_weights() if launched_rank() == 1 else quadratic()


def data() -> Problem:
    return other_data() if launched_rank() == 1 else quadratic()


def code() -> Problem:
    """The metric calls code that is of another version there, which no digest sees."""
    factor = 1.1 if launched_rank() == 1 else 1.0

    def squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return factor * (output - target).square().sum(1)

    problem = quadratic()
    problem.metrics = {"test": Metric("test", "L2 loss", squares)}
    return problem


def directions() -> Problem:
    """torch draws other numbers there."""
    problem = quadratic()
    if launched_rank() == 1:
        real = torch.randn
        torch.randn = lambda *sizes, **options: 2 + real(*sizes, **options)  # type: ignore[assignment]
    return problem

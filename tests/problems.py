"""Landscapes with known answers."""

import numpy as np
import torch
from torch import nn

from landscape.problem.problem import Problem, Samples

INPUTS, OUTPUTS, COUNT = 5, 3, 40


class Linear(nn.Linear):
    """A linear model without bias in double precision: its L2 loss is a quadratic in the weights."""

    def __init__(self) -> None:
        super().__init__(INPUTS, OUTPUTS, bias=False, dtype=torch.float64)


def quadratic() -> Problem:
    """L(W) = mean over samples of ‖t - W x‖², away from its minimum; its Hessian is 2·I ⊗ X'X/N."""
    source = torch.Generator().manual_seed(5)
    model = Linear()
    with torch.no_grad():
        model.weight.copy_(torch.randn(OUTPUTS, INPUTS, generator=source, dtype=torch.float64))
    x = torch.randn(COUNT, INPUTS, generator=source, dtype=torch.float64)
    t = torch.randn(COUNT, OUTPUTS, generator=source, dtype=torch.float64)
    return Problem(model, {"train": Samples(x, t)}, name="quadratic")


def quadratic_form(problem: Problem, direction: np.ndarray) -> tuple[float, float, np.ndarray]:
    """L, directional derivative along `direction` (OUTPUTS, INPUTS), and X'X/N, in NumPy from the definition."""
    x, t = (part.numpy() for part in problem.sets["train"])
    weight = problem.model.weight.detach().numpy()
    residual = x @ weight.T - t
    gradient = 2 * residual.T @ x / len(x)
    return float((residual**2).sum(1).mean()), float((gradient * direction).sum()), x.T @ x / len(x)


def plain_scores(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The anomaly scores of `images` by the model's own forward pass in evaluation mode, one batch after the other."""
    with torch.inference_mode():
        return torch.cat([(model.eval()(x) - x).double().square().flatten(1).mean(1) for x in images.split(100)])


class Diverging(nn.Module):
    """A scalar weight whose loss overflows for steps to the right and is NaN to the left."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.log(self.weight) + torch.exp(200 * torch.relu(self.weight - 1.2))


def diverging() -> Problem:
    x = torch.ones(4, 1)
    return Problem(Diverging(), {"train": Samples(x, x)}, name="diverging")


class NoNumber(nn.Module):
    """The root of a negative number, whatever the weight is: NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ (-1 - self.weight.square()).sqrt()


def no_number() -> Problem:
    """A model whose weights are finite and whose outputs are NaN."""
    return Problem(NoNumber(), {"train": Samples(torch.ones(4, 1), torch.ones(4, 1))}, name="no number")


def no_problem() -> int:
    return 3


def other_weights() -> Problem:
    problem = quadratic()
    with torch.no_grad():
        problem.model.weight[0, 0] += 1
    return problem


def other_data() -> Problem:
    problem = quadratic()
    problem.sets["train"].inputs[0, 0] += 1
    return problem


def other_modules() -> Problem:
    problem = quadratic()
    model = problem.model
    model.add_module("after", nn.Identity())
    return problem


def simple(model: nn.Module | None = None, targets: torch.Tensor | None = None, name: str = "a") -> Problem:
    targets = torch.ones(5, 1) if targets is None else targets
    return Problem(model or nn.Linear(3, 1), {name: Samples(torch.ones(5, 3), targets)})


def unequal() -> Problem:
    return simple(targets=torch.ones(4, 1))


def broadcast() -> Problem:
    return simple(targets=torch.ones(5))


def nameless() -> Problem:
    return simple(name="a/b")


def weightless() -> Problem:
    return simple(nn.Identity())


def empty() -> Problem:
    return Problem(nn.Linear(3, 1), {})


def no_statistics() -> Problem:
    return simple(nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1, track_running_stats=False)))


def normed(seed: int = 0) -> Problem:
    """A small network with a batch norm whose running statistics are not those it begins with, in double precision."""
    source = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source, dtype=torch.float64))
        model[1].running_mean.copy_(torch.randn(4, generator=source, dtype=torch.float64))
        model[1].running_var.copy_(0.5 + torch.rand(4, generator=source, dtype=torch.float64))
    points = torch.Generator().manual_seed(99)
    x = torch.randn(30, 3, generator=points, dtype=torch.float64)
    t = torch.randn(30, 2, generator=points, dtype=torch.float64)
    return Problem(model, {"train": Samples(x, t)}, name="normed")

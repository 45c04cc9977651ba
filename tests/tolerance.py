"""How far two right computations of one number may be apart: derived, so that a test holds on every machine.

Vector registers, kernels and threads decide in which order a machine adds, and each order rounds otherwise. Whatever
the order, a sum of n products is off by at most γ_n Σ|x_i y_i|, with γ_n = n·u/(1 − n·u) and u the unit roundoff
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5). Tests take one of three ways:

- a closed form in double precision, compared at 1e-9 or 1e-12: 9,000,000 or 9,000 unit roundoffs, more than what is
  compared has operations times its condition; `pytest.approx` and `assert_allclose` alone (1e-6, 1e-7) allow more yet;
- :func:`rounding` where operations can be counted;
- :func:`outputs_rounding` and :func:`metrics_rounding` for a network, where rounding goes through layers of unknown
  condition: γ_n Σ|x_i y_i| is put on each layer's output in double precision, and what comes of it at the end is seen.

Bounds other than these are of statistics (a share of a standard error, of draws that the test names) or of what is
stated (digits printed, a search's own tolerance).
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape.directions.normalization import Direction
from landscape.engine.evaluate import Evaluator
from landscape.engine.precision import PRECISIONS
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem

DRAWS = 6  # of signs: a pair of scores close enough to change places does so in one of them but for 1 in 64
ELEMENTWISE = 8  # operations of a batch norm, an activation or a loss at each value, folded into others or not


def unit_roundoff(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps / 2


def gamma(operations: int, dtype: torch.dtype) -> float:
    """γ_n: the relative error of n operations on numbers that do not cancel, whatever their order."""
    n_u = operations * unit_roundoff(dtype)
    return n_u / (1 - n_u)


def rounding(operations: int, dtype: torch.dtype = torch.float32, conditioning: float = 1.0) -> float:
    """Relative difference that two computations of `operations` in `dtype` may have.

    conditioning: relative change of the result by relative change of what is added, Σ|x_i| / |Σ x_i| for a sum.
    """
    return 2 * gamma(operations, dtype) * conditioning


def steps_rounding(lr: float, steps: int, terms: int, dtype: torch.dtype = torch.float64, eps: float = 1e-8) -> float:
    """How far off a weight may be after `steps` of Adam or RMSprop, whose gradients are sums of `terms`, each below 1.

    A step is lr·g/(|g| + eps), or ten times that, so that an error δ of a gradient that vanishes moves a weight by
    lr·δ/eps. Biases before a batch norm have such gradients.
    """
    return steps * lr * rounding(terms, dtype) / eps


def in_magnitude(module: nn.Module, x: Tensor, output: Tensor) -> tuple[Tensor, int] | None:
    """Σ|x_i y_i| of each output of `module`, and the number of its operations; None for one that sums nothing."""
    x = x.float()  # a size: single precision is enough, and several times faster
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        bias = None if module.bias is None else module.bias.abs().float()
        operations = module.weight[0].numel() + ELEMENTWISE
        if isinstance(module, nn.Linear):
            return F.linear(x.abs(), module.weight.abs().float(), bias), operations
        options = module.stride, module.padding, module.dilation, module.groups
        return F.conv2d(x.abs(), module.weight.abs().float(), bias, *options), operations
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_var is not None:
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = (module.running_var + module.eps).rsqrt()
        scale, shift = (scale * module.weight.abs(), module.bias.abs()) if module.affine else (scale, 0 * scale)
        return (x.abs() + module.running_mean.abs().view(shape)) * scale.view(shape) + shift.view(shape), ELEMENTWISE
    if isinstance(module, (nn.Sigmoid, nn.Softmax)):
        return output, x.shape[1] + ELEMENTWISE
    return None


@contextmanager
def rounded(model: nn.Module, dtype: torch.dtype, seed: int, operations: int = 0) -> Iterator[None]:
    """Within, each layer's output in double precision is off by its bound in `dtype`, with random signs.

    The signs are those of whole channels: an error of a weight is the same at all pixels and images, and does not
    average out over them.
    """
    source = torch.Generator().manual_seed(seed)

    def disturb(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        found = in_magnitude(module, inputs[0], output)
        if found is None:
            return output
        size, counted = found
        signs = torch.randint(0, 2, (1, *output.shape[1:2], *[1] * (output.ndim - 2)), generator=source) * 2 - 1
        return output + gamma(operations or counted, dtype) * size * signs

    handles = [module.register_forward_hook(disturb) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def outputs_rounding(model: nn.Module, images: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Outputs of `model`, a chain of layers, in double precision, and how far off each may be in `dtype`."""
    images = images.double()
    truth = model(images)
    changes = []
    for seed in range(DRAWS):
        with rounded(model, dtype, seed):
            changes.append((model(images) - truth).abs())
    # Signs that differ by place can do more at one output than those of a channel: no output is held to less than most.
    largest = torch.stack(changes).amax(0)
    return truth, largest.clamp(min=float(largest.max())) + unit_roundoff(dtype) * truth.abs()


def metrics_rounding(
    problem: Problem,
    metrics: Sequence[Metric],
    plane: Sequence[Direction],
    points: Sequence[Sequence[float]],
    dtype: torch.dtype = torch.float32,
    operations: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors at `points`, (points, 2, metrics), in double precision; how far off `dtype` may be.

    The number of each sample, a sum over its output in single precision, is off by γ of that sum too. Two computations
    may differ by twice as much. operations: how often each layer rounds, where its sums are in a better type.
    """
    n = max(samples.targets[0].numel() for samples in problem.sets.values()) + ELEMENTWISE
    sizes = min(samples.size for samples in problem.sets.values())
    signs = [torch.Generator().manual_seed(seed) for seed in range(DRAWS)]
    precision = PRECISIONS["float64"]
    exact = Evaluator(problem, metrics, [plane], torch.device("cpu"), precision=precision)
    truth = exact.at_many(0, points)
    change = np.zeros_like(truth)
    for seed, source in enumerate(signs):
        inexact = [_inexact(metric, gamma(n, torch.float32), source) for metric in metrics]
        of = Evaluator(problem, inexact, [plane], torch.device("cpu"), precision=precision)
        with rounded(of.model, dtype, seed, operations):
            change = np.fmax(change, np.abs(of.at_many(0, points) - truth))
    whole = gamma(n, torch.float32) * np.abs(truth[:, :1])  # off to one side in all samples
    return truth, change + np.concatenate([whole, whole / np.sqrt(sizes)], 1)


def scores_rounding(model: nn.Module, images: Tensor, dtype: torch.dtype = torch.float32) -> float:
    """Largest relative difference of an anomaly score between two computations in `dtype`, over `images`."""
    double = copy.deepcopy(model).double().eval()
    truth, allowed = outputs_rounding(double, images, dtype)
    score = (truth - images).square().flatten(1).sum(1)
    # (r + δ)² is off by 2|r|δ + δ²
    change = ((2 * (truth - images).abs() + allowed) * allowed).flatten(1).sum(1)
    return 2 * float((change / score).max()) + rounding(images[0].numel() + ELEMENTWISE, dtype)


def auroc_rounding(normal: np.ndarray, anomalous: np.ndarray, relative: float) -> float:
    """How far an AUROC may move if each score does by `relative` of itself: the share of pairs that are so close."""
    a, b = np.asarray(normal, np.float64)[:, None], np.asarray(anomalous, np.float64)[None, :]
    return float((np.abs(a - b) <= relative * (a + b)).mean()) + rounding(a.size + b.size, torch.float64)


def _inexact(metric: Metric, size: float, source: torch.Generator) -> Metric:
    def per_sample(output: Tensor, target: Tensor, exact: Callable[..., Tensor] = metric.per_sample) -> Tensor:
        values = exact(output, target)
        return values * (1 + size * (2 * torch.randint(0, 2, values.shape, generator=source) - 1))

    return dataclasses.replace(metric, per_sample=per_sample)


def assert_within(found: object, expected: object, allowed: object) -> None:
    """Hold each number of `found` to `expected` up to its own `allowed`; NaN equals NaN, an infinity itself."""
    a, b, limit = (np.asarray(x, np.float64) for x in (found, expected, allowed))
    with np.errstate(invalid="ignore"):
        good: np.ndarray = (np.abs(a - b) <= limit) | (a == b) | (np.isnan(a) & np.isnan(b))
    worst = np.argwhere(~good)[:5].tolist()
    limits = np.broadcast_to(limit, good.shape)[~good][:5]
    assert good.all(), f"at {worst}: {a[~good][:5]} is not {b[~good][:5]} within {limits}"

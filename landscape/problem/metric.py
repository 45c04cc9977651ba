"""`Metric`: one number of a model at some weights, with its standard error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from training.runtime.command import InputError

Values = np.ndarray
FIRST_SET = ""  # stands for the problem's first set until the metric is resolved


@dataclass(frozen=True)
class Metric:
    """A number of the model at some weights, with its standard error.

    per_sample: (output, target) of consecutive samples -> one value for each `group` of them (the last may be ragged);
    both are nested as the model and the samples have them.
    over: the sets whose values `reduce` takes, in this order, as arrays; sizes are the samples behind each value.
    transform: "log" or "none", for plots and interpolation. targets: the kind of targets it takes, a key of
    :data:`landscape.problem.logits.TARGETS`. by_call: the model is called on each group by itself, for outputs that
    depend on what else is in the batch; a number that it returns for the whole batch is then one value.
    """

    name: str
    definition: str
    per_sample: Callable[[Any, Any], Tensor]
    over: tuple[str, ...] = (FIRST_SET,)
    group: int = 1
    reduce: Callable[[Sequence[Values], Sequence[Values]], tuple[float, float]] | None = None
    transform: str = "log"
    targets: str = "any"
    by_call: bool = False

    def measured(self, output: Any, target: Any) -> Tensor:
        """`per_sample` of them; InputError unless that is a tensor."""
        values = self.per_sample(output, target)
        if isinstance(values, Tensor):
            return values
        of = "sample" if self.group == 1 else f"{self.group} samples"
        raise InputError(
            f"{self.name}: expected a tensor with one value for each {of}, found {type(values).__name__}; leave out "
            "means, .item() and .numpy()"
        )

    def value(self, values: Sequence[Values], sizes: Sequence[Values]) -> tuple[float, float]:
        """The metric and its standard error from the values of its sets; InputError if `reduce` gives others."""
        found = (self.reduce or weighted_mean)(values, sizes)
        try:
            value, error = (float(number) for number in found)
        except (TypeError, ValueError):
            raise InputError(
                f"{self.name}: expected two numbers of its `reduce`, the value and its standard error (or NaN), found "
                f"{found!r:.80}"
            ) from None
        return value, error


def weighted_mean(values: Sequence[Values], sizes: Sequence[Values]) -> tuple[float, float]:
    """Mean over samples, and its standard error over the groups of samples that `values` are of; NaN from one group."""
    (x,), (n,) = values, sizes
    weights = n / n.sum()
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(weights @ x)
        if len(x) < 2:
            return mean, float("nan")
        spread = float((weights * weights) @ (x - mean) ** 2) * len(x) / (len(x) - 1)
        return mean, spread**0.5


def group_sizes(count: int, group: int) -> np.ndarray:
    """Samples in each of the consecutive groups of `group` out of `count`; the last may be smaller."""
    full, rest = divmod(count, group)
    return np.array([group] * full + [rest] * (rest > 0), np.float64)

"""The metrics that can be named: of any problem (losses, scores, and those of logits), of checkpoints (with `own`)."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape.engine.extremes import extremes_metric, is_extremes
from landscape.problem.logits import GENERAL_METRICS, TARGETS
from landscape.problem.metric import FIRST_SET, Metric, Values
from landscape.problem.problem import Problem
from training.data.config import RunConfig
from training.data.score import anomaly_score, auroc
from training.models.losses import BASES, FIXED_LAMP, LOSSES, per_sample_loss, training_batch_losses
from training.runtime.command import InputError

Z99 = 2.5758293035489004  # two-sided 99% of the standard normal
WINDOWED = ("ssim",)  # bases that look at a pixel's neighbours, so at images alone


def auroc_of_scores(values: Sequence[Values], sizes: Sequence[Values]) -> tuple[float, float]:
    """AUROC of the scores of normal and anomalous samples, with DeLong's standard error."""
    result = auroc(*values)
    return result.value, result.stderr


def gap_of_scores(values: Sequence[Values], sizes: Sequence[Values]) -> tuple[float, float]:
    """Median score of anomalous samples minus that of normal ones, and its standard error from both medians'."""
    normal, anomalous = values
    error = math.hypot(median_error(normal), median_error(anomalous))
    return float(np.median(anomalous) - np.median(normal)), error


def median_error(values: Values) -> float:
    """Standard error of the median of independent values, from their order statistics; NaN from one value.

    Half the width of a 99% interval of the median, over its normal quantile (McKean and Schrader, Communications in
    Statistics 13, 1984).
    """
    count = len(values)
    if count < 2:
        return math.nan
    ordered = np.sort(values)
    depth = max(1, round((count + 1) / 2 - Z99 * math.sqrt(count / 4)))
    with np.errstate(invalid="ignore"):
        return float(ordered[count - depth] - ordered[depth - 1]) / (2 * Z99)


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """`-Σ_c target_c · log output_c` of probabilities (B, classes) -> (B,).

    Where single precision has no logarithm of a probability the smallest normal number stands in for it, so a class
    costs at most 87.3; NaN stays NaN.
    """
    return -(target * output.clamp_min(torch.finfo(torch.float32).tiny).log()).sum(1)


def is_right(output: Tensor, target: Tensor) -> Tensor:
    """1 where the most probable class of `output` (B, classes) is that of the one-hot `target`, else 0; (B,)."""
    return (output.argmax(1) == target.argmax(1)).to(output.dtype)


def loss_metric(name: str, summed_over: str) -> Metric:
    """The fixed loss `name` of :mod:`training.models.losses`, its definition saying what a sample's values are."""
    base, amplified = name.removesuffix("-lamp"), name.endswith("-lamp")
    how = f", amplified by LAMP with scale=none, eps={FIXED_LAMP.eps:g}" if amplified else ""
    return Metric(
        name,
        f"{base.upper()} loss{how}, summed over {summed_over}, mean over samples; standard error over samples",
        per_sample_loss(name, FIXED_LAMP),
        targets="images" if base in WINDOWED else "numbers",
    )


METRICS: dict[str, Metric] = {
    **{name: loss_metric(name, "pixels") for base in BASES for name in (base, f"{base}-lamp")},
    "auroc": Metric(
        "auroc",
        "AUROC of the mean L2 per sample, test-anomalous against test-normal; DeLong standard error",
        anomaly_score,
        over=("test-normal", "test-anomalous"),
        reduce=auroc_of_scores,
        transform="none",
        targets="numbers",
    ),
    "gap": Metric(
        "gap",
        "median of the mean L2 per sample of test-anomalous minus that of test-normal; standard error of the medians",
        anomaly_score,
        over=("test-normal", "test-anomalous"),
        reduce=gap_of_scores,
        transform="none",
        targets="numbers",
    ),
    **GENERAL_METRICS,
}

#: of probabilities against one-hot labels; the accuracy is over the set `test`
CLASSIFIER_METRICS: dict[str, Metric] = {
    **{name: loss_metric(name, "classes") for name in METRICS if name in LOSSES and METRICS[name].targets != "images"},
    "cross-entropy": Metric(
        "cross-entropy",
        "cross-entropy of the softmax outputs, mean over samples; standard error over samples",
        cross_entropy,
    ),
    "accuracy": Metric(
        "accuracy",
        "share of the test samples whose most probable class is theirs; standard error over samples",
        is_right,
        over=("test",),
        transform="none",
    ),
}


def own_metric(config: RunConfig, over: str) -> Metric:
    """The loss as the model was trained: over consecutive batches of the training batch size, batch max included."""
    scaled = "" if config.loss_factor == 1 else f" times {config.loss_factor:g}"
    scaled += "" if config.reduction == "mean" else f", reduction {config.reduction},"
    return Metric(
        "own",
        f"training loss {config.loss}{scaled} (scale={config.lamp_scale}, eps={config.lamp_eps:g}) over consecutive "
        f"batches of {config.batch_size} in one seeded order, mean over samples; standard error over batches",
        training_batch_losses(config, config.batch_size),
        over=(over,),
        group=config.batch_size,
    )


def resolve_metrics(problem: Problem, names: Sequence[str]) -> list[Metric]:
    """The metrics named, such as `l2`, `l2@test-anomalous`, `own`, `auroc`; InputError for an unknown name or set."""
    if len(set(names)) != len(names) or not names:
        raise InputError(f"--metrics: expected different names, found {','.join(names) or 'none'}")
    return [_resolve(problem, name) for name in names]


def _resolve(problem: Problem, name: str) -> Metric:
    if is_extremes(name):
        kind, _, loss = name.partition(":")
        return extremes_metric(name, kind, _resolve(problem, loss or default_loss(problem)))
    known = {**METRICS, **problem.metrics}
    base, _, over = name.partition("@")
    if base not in known:
        raise InputError(f"--metrics: expected names among {', '.join(usable(problem))}, found {base!r}")
    metric = known[base]
    if over and metric.over != (FIRST_SET,):
        raise InputError(f"--metrics: expected {base!r} without @set: it is over {' and '.join(metric.over)}")
    sets = (over,) if over else sets_of(metric, problem)
    for which in sets:
        if which not in problem.sets:
            raise InputError(
                f"--metrics: expected sets among {', '.join(problem.sets)}, found {which!r} for {name!r}; "
                f"these sets have {', '.join(usable(problem))}"
            )
        if not fits(metric, problem, which):
            raise InputError(
                f"--metrics: expected metrics among {', '.join(usable(problem))}, found {name!r}: "
                f"the targets in {which!r} are {TARGETS[metric.targets][1]}"
            )
    return replace(metric, name=name, over=sets)


def default_loss(problem: Problem) -> str:
    """The loss whose Hessian is meant where none is named: `l2`, or the first of the problem's own means."""
    names = usable(problem)
    means = [name for name in names if {**METRICS, **problem.metrics}[name].reduce is None]
    return next((name for name in ("l2", *problem.metrics, *means) if name in means), "l2")


def sets_of(metric: Metric, problem: Problem) -> tuple[str, ...]:
    """The names of the sets that `metric` is over, with the problem's first set in its place."""
    return tuple(which or next(iter(problem.sets)) for which in metric.over)


def fits(metric: Metric, problem: Problem, which: str) -> bool:
    """Whether the targets in set `which` are of the kind that `metric` takes."""
    return TARGETS[metric.targets][0](problem.sets[which].targets)


def usable(problem: Problem) -> list[str]:
    """The names of the metrics that `problem` has the samples for."""
    return [
        name
        for name, metric in {**METRICS, **problem.metrics}.items()
        if all(which in problem.sets and fits(metric, problem, which) for which in sets_of(metric, problem))
    ]

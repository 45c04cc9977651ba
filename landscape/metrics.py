"""The metrics that can be named: losses and AUROC of any problem, `own` of a checkpoint's."""

from collections.abc import Sequence
from dataclasses import replace

from landscape.metric import FIRST_SET, Metric, Values
from landscape.problem import Problem
from training.command import InputError
from training.config import RunConfig
from training.losses import BASES, FIXED_LAMP, per_sample_loss, training_batch_losses
from training.score import anomaly_score, auroc


def auroc_of_scores(values: Sequence[Values], sizes: Sequence[Values]) -> tuple[float, float]:
    """AUROC of the scores of normal and anomalous samples, with DeLong's standard error."""
    result = auroc(*values)
    return result.value, result.stderr


def _loss_metric(name: str) -> Metric:
    base, amplified = name.removesuffix("-lamp"), name.endswith("-lamp")
    how = f", amplified by LAMP with scale=none, eps={FIXED_LAMP.eps:g}" if amplified else ""
    return Metric(
        name,
        f"{base.upper()} loss{how}, summed over pixels, mean over samples; standard error over samples",
        per_sample_loss(name, FIXED_LAMP),
    )


METRICS: dict[str, Metric] = {
    **{name: _loss_metric(name) for base in BASES for name in (base, f"{base}-lamp")},
    "auroc": Metric(
        "auroc",
        "AUROC of the mean L2 per sample, test-anomalous against test-normal; DeLong standard error",
        anomaly_score,
        over=("test-normal", "test-anomalous"),
        reduce=auroc_of_scores,
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
    known = {**METRICS, **problem.metrics}
    base, _, over = name.partition("@")
    if base not in known:
        raise InputError(f"--metrics: expected names among {', '.join(known)}, found {base!r}")
    metric = known[base]
    if over and metric.over != (FIRST_SET,):
        raise InputError(f"--metrics: expected {base!r} without @set: it is over {' and '.join(metric.over)}")
    sets = (over,) if over else tuple(which or next(iter(problem.sets)) for which in metric.over)
    for which in sets:
        if which not in problem.sets:
            raise InputError(f"--metrics: expected sets among {', '.join(problem.sets)}, found {which!r} for {name!r}")
    return replace(metric, name=name, over=sets)

"""Metrics of models whose users bring them: classifiers by their logits, regressors, models that return their loss.

Each function takes `(output, target)` of consecutive samples and gives one value a sample.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from landscape.problem.metric import Metric
from landscape.problem.nested import Nested, kind_of, leaves
from training.runtime.command import InputError

IGNORED = -100  # the target that torch's cross-entropy leaves out


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Squared error (y - ŷ)², mean over the entries of each sample; (B, …) against the same shape -> (B,)."""
    check_output("mse", output)
    if output.shape != target.shape:
        raise InputError(
            f"mse: expected outputs of the targets' shape {tuple(target.shape)}, found {tuple(output.shape)}"
        )
    return (output - target).square().flatten(1).mean(1) if output.ndim > 1 else (output - target).square()


def cross_entropy_of_logits(output: Tensor, target: Tensor, classes: int | None = None) -> Tensor:
    """`-Σ_c t_c log softmax(output)_c`, mean over the positions of each sample that has several; (B,).

    `classes` is the dimension of `output` that counts the classes. It is found from the shapes: (B, C) in any case,
    torch's (B, C, …) or a language model's (B, …, C). Targets are classes (B, …), of which -100 is left out, or one-hot
    rows or probabilities of the shape of `output`, with C in the second place.
    """
    output, target = with_classes_second("cross-entropy", output, target, classes)
    losses = F.cross_entropy(output, target, reduction="none", ignore_index=IGNORED)
    return mean_over_positions(losses, target if target.shape == losses.shape else None)


def is_right_of_logits(output: Tensor, target: Tensor, classes: int | None = None) -> Tensor:
    """Share of the positions of each sample whose largest logit is its target's; (B,). Shapes as in cross-entropy."""
    output, target = with_classes_second("accuracy", output, target, classes)
    wanted = target.argmax(1) if target.shape == output.shape else target
    right = (output.argmax(1) == wanted).to(output.dtype)
    return mean_over_positions(right, target if target.shape == right.shape else None)


def mean_over_positions(values: Tensor, target: Tensor | None) -> Tensor:
    """Mean over all but the first dimension, without positions whose target is ignored; 0 where all of them are."""
    counted = torch.ones_like(values) if target is None else (target != IGNORED).to(values.dtype)
    if values.ndim == 1:
        return values * counted
    return (values * counted).flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)


def with_classes_second(name: str, output: Any, target: Tensor, classes: int | None) -> tuple[Tensor, Tensor]:
    """Logits (B, C, …) and targets as torch takes them; InputError if the shapes do not say which dimension is C."""
    check_output(name, output)
    shapes = f"outputs {tuple(output.shape)}, targets {tuple(target.shape)}"
    if target.shape == output.shape and output.ndim > 1 and target.is_floating_point():
        return output.movedim(classes if classes is not None else 1, 1), target.to(output.dtype)
    fitting = [d for d in range(1, output.ndim) if output.shape[:d] + output.shape[d + 1 :] == target.shape]
    if classes is not None:
        fitting = [d for d in fitting if d == classes % output.ndim]
    fitting = [d for d in fitting if d in (1, output.ndim - 1) or classes is not None]
    if not fitting:
        raise InputError(
            f"{name}: expected logits (B, C), (B, C, …) or (B, …, C) for targets (B, …) or the like, found {shapes}"
        )
    if len(fitting) > 1:
        raise InputError(
            f"{name}: expected shapes that say which dimension counts the classes, found {shapes}; give the problem a "
            f"metric of its own with functools.partial(landscape.problem.logits.cross_entropy_of_logits, classes=…)"
        )
    return output.movedim(fitting[0], 1), target.long()


def check_output(name: str, output: Nested) -> None:
    """Raise InputError unless the model's output is one tensor with a row a sample."""
    if not isinstance(output, Tensor) or output.ndim == 0:
        raise InputError(
            f"{name}: expected one tensor of outputs with a row a sample, found {kind_of(output)}; "
            "pick one with Problem(call=…), or give the problem a metric of its own"
        )


def loss_in(output: Nested) -> Tensor:
    """The loss among what a model returned: the tensor itself, `loss` of a dict or object, or a tuple's first entry."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict) and "loss" in output:
        return output["loss"]
    if isinstance(getattr(output, "loss", None), Tensor):
        return output.loss
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        return output[0]
    raise InputError(f"loss: expected a model that returns its loss, found {kind_of(output)}; see Problem(call=…)")


def returned_loss(batch_size: int = 0) -> Metric:
    """The metric `loss` of a model that returns its loss, to be given in `Problem.metrics`.

    With 0 the model returns a value for each sample. Otherwise it returns one number for a batch, the mean over its
    samples, and is called on consecutive batches of `batch_size` in the order of the samples, the last of which may be
    smaller: whatever the device, the ranks and the other metrics, the same batches. The metric is then the mean over
    samples (each batch weighted by its size), its standard error over batches.
    """
    if batch_size < 0:
        raise InputError(f"returned_loss: expected a batch size, or 0 for a loss per sample, found {batch_size}")
    over = f"over consecutive batches of {batch_size}, mean over samples; standard error over batches"
    return Metric(
        "loss",
        f"the loss that the model returns, {over if batch_size else 'mean over samples; standard error over samples'}",
        lambda output, _: loss_in(output).reshape(-1),
        group=batch_size or 1,
        by_call=batch_size > 0,
    )


def are_numbers(targets: Nested) -> bool:
    return isinstance(targets, Tensor) and (targets.is_floating_point() or targets.dtype == torch.uint8)


def are_images(targets: Nested) -> bool:
    return isinstance(targets, Tensor) and targets.ndim == 4


def are_classes(targets: Nested) -> bool:
    """Whether a tensor holds integers, or rows of two or more probabilities, one-hot ones among them."""
    if not isinstance(targets, Tensor) or targets.dtype == torch.bool or targets.is_complex():
        return False
    if not targets.is_floating_point():
        return True
    if targets.ndim < 2 or targets.shape[1] < 2 or bool((targets < 0).any()):
        return False
    return bool(torch.isclose(targets.sum(1), targets.new_ones(()), atol=1e-4).all())


#: kind of targets -> whether targets are of it, and what is said of those that are not
TARGETS: dict[str, tuple[Callable[[Nested], bool], str]] = {
    "any": (lambda targets: bool(leaves(targets)), "none"),
    "numbers": (are_numbers, "no tensor of floating-point numbers"),
    "images": (are_images, "no images"),
    "classes": (are_classes, "neither classes, as integers, nor rows of probabilities"),
}

#: the metrics of classifiers and regressors that any problem has
GENERAL_METRICS: dict[str, Metric] = {
    "mse": Metric(
        "mse",
        "squared error, mean over the entries of a sample, mean over samples; standard error over samples",
        mean_squared_error,
        targets="numbers",
    ),
    "cross-entropy": Metric(
        "cross-entropy",
        "cross-entropy of the softmax of the logits, mean over a sample's positions, mean over samples; standard error "
        "over samples",
        cross_entropy_of_logits,
        targets="classes",
    ),
    "accuracy": Metric(
        "accuracy",
        "share of positions whose largest logit is their class's, mean over samples; standard error over samples",
        is_right_of_logits,
        transform="none",
        targets="classes",
    ),
}

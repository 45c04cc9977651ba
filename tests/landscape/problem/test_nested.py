"""Models of every shape: what their inputs, outputs and parameters look like does not change the numbers."""

import copy
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics, usable
from landscape.engine.precision import PRECISIONS
from landscape.hessian.objective import Objective
from landscape.problem.logits import (
    cross_entropy_of_logits,
    is_right_of_logits,
    loss_in,
    mean_squared_error,
    returned_loss,
)
from landscape.problem.metric import Metric
from landscape.problem.nested import call_unpacked, chunk, joined, map_leaves, named_leaves, split, unstacked
from landscape.problem.params import params_of
from landscape.problem.problem import Problem, Samples, check_problem, digest_of_sets, subsample, to_device
from tests.tolerance import ELEMENTWISE, rounding
from training.runtime.command import InputError

CPU = torch.device("cpu")
POINTS = [(0.0, 0.0), (1.0, -0.5), (-0.25, 0.75)]
COUNT = 23


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Plain(nn.Module):
    """Two inputs and an output: the truth that the others are held against."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3, bias=False, dtype=torch.float64)
        self.second = nn.Linear(2, 3, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.first.weight.copy_(random(3, 4, seed=1))
            self.second.weight.copy_(random(3, 2, seed=2))

    def value(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.tanh(self.first(a)) + self.second(b)

    def forward(self, both: Tensor) -> Any:
        return self.value(both[:, :4], both[:, 4:])


class OfDict(Plain):
    def forward(self, batch: dict[str, Any]) -> Any:
        return {"y": self.value(batch["a"], batch["rest"][0]), "norm": batch["a"].square().sum(1)}


class OfTuple(Plain):
    def forward(self, batch: tuple[Tensor, Tensor]) -> Any:
        return self.value(*batch), None


class OfKeywords(Plain):
    def forward(self, a: Tensor, b: Tensor) -> Any:  # type: ignore[override]
        return self.value(a, b)


class OfLosses(Plain):
    def forward(self, batch: dict[str, Tensor]) -> Any:
        return (self.value(batch["a"], batch["b"]) - batch["t"]).square().sum(1)


class OfMeanLoss(OfLosses):
    """A number a batch, and one that depends on which samples are in it."""

    def forward(self, batch: dict[str, Tensor]) -> Any:
        losses = super().forward(batch)
        return {"loss": losses.mean() + losses.max()}


A, B, T = random(COUNT, 4, seed=3), random(COUNT, 2, seed=4), random(COUNT, 3, seed=5)


def plain() -> Problem:
    return Problem(Plain(), {"train": Samples(torch.cat([A, B], 1), T)})


def of_dict() -> Problem:
    metric = Metric("l2", "", lambda output, target: (output["y"] - target["t"]).square().sum(1))
    return Problem(OfDict(), {"train": Samples({"a": A, "rest": [B]}, {"t": T})}, {"l2": metric})


def of_tuple() -> Problem:
    metric = Metric("l2", "", lambda output, target: (output[0] - target).square().sum(1))
    return Problem(OfTuple(), {"train": Samples((A, B), T)}, {"l2": metric})


def of_keywords() -> Problem:
    return Problem(OfKeywords(), {"train": Samples({"a": A, "b": B}, T)}, call=call_unpacked)


def of_losses() -> Problem:
    batch = {"a": A, "b": B, "t": T}
    return Problem(OfLosses(), {"train": Samples(batch, batch)}, {"l2": returned_loss()})


def points(problem: Problem, at_once: int = 1, metric: str = "l2", **options: Any) -> np.ndarray:
    plane = random_directions(problem.model, seed=2)
    evaluator = Evaluator(problem, resolve_metrics(problem, [metric]), [plane], CPU, **options)
    evaluator.points_per_call = at_once
    return evaluator.at_many(0, POINTS)


@pytest.mark.parametrize("make", [of_dict, of_tuple, of_keywords, of_losses])
@pytest.mark.parametrize("batch", [250, 5])
@pytest.mark.parametrize("at_once", [1, 2])
def test_structures_do_not_change_the_numbers(
    make: Callable[[], Problem], batch: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = points(plain())
    assert expected[0, 0, 0] == pytest.approx(
        float((Plain()(torch.cat([A, B], 1)) - T).detach().square().sum(1).mean())
    )
    monkeypatch.setattr("landscape.engine.forward.BATCH", batch)
    np.testing.assert_allclose(points(make(), at_once), expected, rtol=1e-12)


@pytest.mark.parametrize("make", [of_dict, of_tuple, of_keywords, of_losses])
def test_gradients_too(make: Callable[[], Problem]) -> None:
    problem, truth = make(), plain()
    value, gradient = Objective(problem, resolve_metrics(problem, ["l2"])[0]).gradient()
    expected, slope = Objective(truth, resolve_metrics(truth, ["l2"])[0]).gradient()
    assert value == pytest.approx(expected)
    torch.testing.assert_close(gradient, slope)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("blocks", [250, 3])
def test_a_loss_a_batch_is_over_fixed_batches(at_once: int, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow loop over batches of 5 and a last of 3, whatever else is measured beside it and however data are cut."""
    monkeypatch.setattr("landscape.engine.forward.BATCH", blocks)
    batch = {"a": A, "b": B, "t": T}
    others = {"counted": Metric("counted", "", lambda _, target: target["t"][:, 0] * 0 + 1, group=1)}
    problem = Problem(OfMeanLoss(), {"train": Samples(batch, batch)}, {"loss": returned_loss(5), **others})
    evaluator = Evaluator(
        problem, resolve_metrics(problem, ["loss", "counted"]), [random_directions(problem.model, 2)], CPU
    )
    evaluator.points_per_call = at_once
    found = evaluator.at_many(0, POINTS)
    np.testing.assert_allclose(found[:, 0, 1], 1, rtol=1e-14)
    for (alpha, beta), result in zip(POINTS, found, strict=True):
        model = copy.deepcopy(problem.model)
        x, y = random_directions(model, seed=2)
        for name, parameter in model.named_parameters():
            parameter.data += alpha * x.params[name] + beta * y.params[name]
        total = 0.0
        for start in range(0, COUNT, 5):
            part = {name: tensor[start : start + 5] for name, tensor in batch.items()}
            total += len(part["a"]) * float(model(part)["loss"])
        assert result[0, 0] == pytest.approx(total / COUNT, rel=1e-12)
    loss = resolve_metrics(problem, ["loss"])[0]
    assert Objective(problem, loss).value() == pytest.approx(found[0, 0, 0], rel=1e-12)


def test_two_batch_sizes_cannot_share_calls() -> None:
    batch = {"a": A, "b": B, "t": T}
    problem = Problem(
        OfMeanLoss(), {"train": Samples(batch, batch)}, {"five": returned_loss(5), "six": returned_loss(6)}
    )
    with pytest.raises(InputError, match="on batches of one size, found five with 5, six with 6"):
        Evaluator(problem, resolve_metrics(problem, ["five", "six"]), [()], CPU)


def test_metrics_of_different_groups_are_each_over_their_own() -> None:
    """Groups of 4 and of 6 in one pass: the means over groups of a slow loop."""
    problem = plain()

    def largest(group: int) -> Metric:
        def values(output: Tensor, target: Tensor) -> Tensor:
            return torch.stack([part.max() for part in (output - target).abs().split(group)])

        return Metric(f"of{group}", "", values, over=("train",), group=group)

    residual = (problem.model(problem.sets["train"].inputs) - T).abs().detach()
    found = Evaluator(problem, [largest(4), largest(6)], [()], CPU).at(0, [])[0]
    for group, value in zip((4, 6), found, strict=True):
        expected = sum(len(part) * float(part.max()) for part in residual.split(group)) / COUNT
        assert value == pytest.approx(expected, rel=1e-12)


class Tied(nn.Module):
    """A table read twice, an integer parameter, a counter and a mask as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.table.weight
        self.order = nn.Parameter(torch.tensor([1, 0, 2, 3]), requires_grad=False)
        self.register_buffer("mask", torch.tensor([True, True, False, True]))
        self.register_buffer("steps", torch.tensor(3))
        self.mask: Tensor
        self.steps: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids)[..., self.order] * self.mask / self.steps
        return self.head(torch.tanh(hidden))


def tied() -> Problem:
    torch.manual_seed(0)
    ids = torch.randint(7, (COUNT, 6))
    return Problem(Tied(), {"train": Samples(ids[:, :-1], ids[:, 1:])})


@pytest.mark.parametrize("at_once", [1, 2])
def test_tied_weights_move_once_and_what_is_no_float_stays(at_once: int) -> None:
    problem = tied()
    assert set(params_of(problem.model)) == {"table.weight", "order"}
    x, y = random_directions(problem.model, seed=2)
    found = points(problem, at_once, "cross-entropy", precision=PRECISIONS["float64"])
    ids, targets = problem.sets["train"]
    name = "table.weight"
    base, first, second = problem.model.table.weight.detach().double(), x.params[name].double(), y.params[name].double()
    for (alpha, beta), result in zip(POINTS, found, strict=True):
        table = base + alpha * first + beta * second
        hidden = table[ids][..., [1, 0, 2, 3]] * torch.tensor([1, 1, 0, 1]) / 3
        losses = -torch.log_softmax(torch.tanh(hidden) @ table.T, -1)
        expected = losses.gather(-1, targets[..., None]).mean()
        assert result[0, 0] == pytest.approx(float(expected), rel=1e-12)
    assert problem.model.order.tolist() == [1, 0, 2, 3]
    objective = Objective(problem, resolve_metrics(problem, ["cross-entropy"])[0])
    assert objective.size == 28


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_integer_inputs_and_targets_keep_their_type_at_other_precisions(precision: str) -> None:
    expected = points(tied(), metric="cross-entropy")[:, 0]
    found = points(tied(), metric="cross-entropy", precision=PRECISIONS[precision])[:, 0]
    # In single precision sums of 4, 7 and 160; in bfloat16 six roundings from the table to the logarithm.
    rtol = rounding(4 + 7 + 160 + ELEMENTWISE) if precision == "float64" else rounding(6, torch.bfloat16)
    np.testing.assert_allclose(found, expected, rtol=rtol)


Pair = namedtuple("Pair", "left right")


def test_permuting_cutting_and_joining() -> None:
    row = torch.arange(10.0)
    nested = {"a": row, "b": Pair(row * 2, [row[:, None] * 3])}
    parts = split(nested, 4)
    assert [len(part["a"]) for part in parts] == [4, 4, 2]
    assert isinstance(parts[0]["b"], Pair)
    back = joined(parts)
    assert isinstance(back["b"], Pair)
    torch.testing.assert_close(back["b"].right[0], nested["b"].right[0])
    for count in (1, 3, 7):
        for found, expected in zip(chunk(nested, count), row.chunk(count), strict=True):
            torch.testing.assert_close(found["a"], expected)
    torch.testing.assert_close(joined([torch.tensor(1.0), torch.tensor(2.0)]), torch.tensor([1.0, 2.0]))
    one, two = unstacked({"a": torch.tensor([[1.0], [2.0]]), "n": None}, 2)
    assert one == {"a": torch.tensor([1.0]), "n": None}
    assert two["a"].item() == 2
    shuffled = subsample(Samples(nested, (row, nested)), 5)
    torch.testing.assert_close(shuffled.inputs["b"].left, 2 * shuffled.inputs["a"])
    torch.testing.assert_close(shuffled.targets[0], subsample(Samples(row, row), 5).inputs)
    assert shuffled.targets[1]["a"] is shuffled.inputs["a"]


def test_a_tensor_in_two_places_is_moved_once() -> None:
    moved = to_device(Samples((A, B), {"first": A}), CPU, torch.float32)
    assert moved.targets["first"] is moved.inputs[0]
    assert map_leaves(torch.clone, (A, A))[0] is not A
    batch = {"a": A}
    both = to_device(Samples(batch, batch), CPU, torch.float32)
    assert both.targets is both.inputs


def test_digests_see_every_leaf_and_its_place() -> None:
    digests = [
        digest_of_sets({"train": Samples(inputs, T)})
        for inputs in (A, {"a": A}, {"b": A}, (A,), [A, A], {"a": A + 1e-9}, {"a": {"a": A}})
    ]
    assert len(set(digests)) == len(digests)
    assert digests[1] == digest_of_sets({"train": Samples({"a": A.clone()}, T.clone())})
    assert [name for name, _ in named_leaves("x", Pair(A, (B,)))] == ["x.left", "x.right.0"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (Samples({"a": A, "b": B[:-1]}, T), r"as many inputs as targets in set 'train', found \{'inputs.a': 23"),
        (Samples({"a": A, "name": "x"}, T), "found str as inputs.name; what is the same for all samples"),
        (Samples(A, ()), "one or more tensors as targets in set 'train', found none"),
        (Samples((A, torch.tensor(1.0)), T), r"found float32 of shape \(\) as inputs.1"),
        (Samples(A[:0], T[:0]), "found 0 and 0"),
    ],
)
def test_unusable_samples_are_named(samples: Samples, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_problem(Problem(Plain(), {"train": samples}), "problem")


def test_metrics_of_logits_are_those_of_torch_and_numpy() -> None:
    logits, classes = random(9, 4), torch.arange(9) % 4
    one_hot = F.one_hot(classes, 4).double()
    expected = F.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(cross_entropy_of_logits(logits, classes), expected)
    torch.testing.assert_close(cross_entropy_of_logits(logits, one_hot), expected)
    right = (logits.argmax(1) == classes).double()
    torch.testing.assert_close(is_right_of_logits(logits, classes), right)
    torch.testing.assert_close(is_right_of_logits(logits, one_hot), right)
    difference = random(9, 2, 3, seed=1) - random(9, 2, 3, seed=2)
    found = mean_squared_error(random(9, 2, 3, seed=1), random(9, 2, 3, seed=2))
    np.testing.assert_allclose(found.numpy(), (difference.numpy() ** 2).mean((1, 2)))
    np.testing.assert_allclose(mean_squared_error(random(9), random(9, seed=1)), (random(9) - random(9, seed=1)) ** 2)


def test_positions_with_their_classes_first_or_last_and_some_ignored() -> None:
    logits, classes = random(3, 5, 4), torch.arange(15).view(3, 5) % 4
    classes[0, :2] = -100
    classes[2] = -100
    expected = []
    for row, wanted in zip(logits, classes, strict=True):
        losses = [float(-row[i].log_softmax(0)[c]) for i, c in enumerate(wanted.tolist()) if c >= 0]
        expected.append(sum(losses) / max(1, len(losses)))
    for output in (logits, logits.movedim(2, 1)):
        np.testing.assert_allclose(cross_entropy_of_logits(output, classes), expected)
    kept = [[i for i in range(5) if classes[0, i] >= 0], range(5)]
    shares = [np.mean([float(logits[n, i].argmax() == classes[n, i]) for i in places]) for n, places in enumerate(kept)]
    np.testing.assert_allclose(is_right_of_logits(logits, classes), [*shares, 0])
    with pytest.raises(InputError, match="expected shapes that say which dimension counts the classes"):
        cross_entropy_of_logits(random(3, 5, 5), torch.zeros(3, 5, dtype=torch.long))
    last = cross_entropy_of_logits(random(3, 5, 5), torch.zeros(3, 5, dtype=torch.long), classes=-1)
    torch.testing.assert_close(last, -random(3, 5, 5).log_softmax(2)[..., 0].mean(1))
    with pytest.raises(InputError, match=r"expected logits .*, found outputs \(3, 5\), targets \(4,\)"):
        is_right_of_logits(random(3, 5), torch.zeros(4, dtype=torch.long))
    with pytest.raises(InputError, match="expected one tensor of outputs with a row a sample, found tuple"):
        cross_entropy_of_logits((logits,), classes)  # type: ignore[arg-type]


def test_metrics_that_do_not_fit_a_problem_are_refused_with_those_that_do() -> None:
    assert usable(tied()) == ["cross-entropy", "accuracy"]
    assert "cross-entropy" not in usable(plain())
    assert {"l2", "l1", "mse"} <= set(usable(plain()))
    with pytest.raises(
        InputError, match="among cross-entropy, accuracy, found 'l2': the targets in 'train' are no ten"
    ):
        resolve_metrics(tied(), ["l2"])
    with pytest.raises(InputError, match="found 'accuracy': the targets in 'train' are neither classes"):
        resolve_metrics(plain(), ["accuracy"])
    probabilities = torch.softmax(random(COUNT, 3), 1)
    soft = Problem(Plain(), {"train": Samples(torch.cat([A, B], 1), probabilities)})
    assert {"mse", "cross-entropy"} <= set(usable(soft))


def test_a_metric_gives_a_value_for_each_sample_or_is_named() -> None:
    for value, shape in ((lambda o, _: o.mean(), r"\(\)"), (lambda o, _: o, r"\(23, 3\)")):
        problem = plain()
        problem.metrics = {"mine": Metric("mine", "", value)}
        with pytest.raises(InputError, match=rf"mine: expected one value for each sample, 23 in all, found .* {shape}"):
            points(problem, metric="mine")


def test_where_the_loss_is_looked_for() -> None:
    loss = torch.tensor(2.0)
    holder = namedtuple("holder", "logits loss")(A, loss)
    assert all(loss_in(output) is loss for output in (loss, {"loss": loss}, (loss, A), holder))
    with pytest.raises(InputError, match="expected a model that returns its loss, found dict"):
        loss_in({"logits": A})
    with pytest.raises(InputError, match="expected a batch size, or 0"):
        returned_loss(-1)

"""Code that a user brings: its errors keep their frames, and it changes nothing but what it returns."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem, Samples
from landscape.surface import main as surface_main
from tests.problems import quadratic
from training.runtime.command import InputError, command


def squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).square().sum(1)


def in_place(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return output.sub_(target).square_().sum(1)


def with_metrics(**functions: Callable[..., Any]) -> Problem:
    metrics = {name: Metric(name, name, function) for name, function in functions.items()}
    return replace(quadratic(), metrics=metrics)


def read_a_file(*_: object) -> Any:
    return open("/no/such/file.csv")


def leave(*_: object) -> Any:
    sys.exit(7)


def metric_reads() -> Problem:
    return with_metrics(reads=read_a_file)


def metric_leaves() -> Problem:
    return with_metrics(leaves=leave)


def takes_one(size: int) -> Problem:
    return quadratic()


RUN = ("--x=-1:1:3", "--threads", "1")


@pytest.mark.parametrize(
    ("factory", "metric", "frames"),
    [
        ("read_a_file", "l2", ("in read_a_file", "/no/such/file.csv")),
        ("leave", "l2", ("in leave", "SystemExit: 7")),
        ("metric_reads", "reads", ("in read_a_file", "/no/such/file.csv")),
        ("metric_leaves", "leaves", ("in leave", "SystemExit: 7")),
    ],
)
def test_errors_of_a_users_code_show_where_they_came_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], factory: str, metric: str, frames: tuple[str, ...]
) -> None:
    name = f"{__name__}:{factory}"
    out = str(tmp_path / "a.h5")
    assert command(surface_main)(["--problem", name, "--metrics", metric, *RUN, "--out", out]) == 1
    said = capfd.readouterr().err
    assert "Traceback" in said
    assert all(frame in said for frame in frames)
    assert not list(tmp_path.iterdir())


def test_a_file_of_ours_that_cannot_be_read_is_still_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> None:
        read_a_file()

    assert command(main)([]) == 2
    assert capfd.readouterr().err == "error: /no/such/file.csv: No such file or directory\n"


def test_a_factory_with_an_argument_gets_its_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--problem", f"{__name__}:takes_one", *RUN, "--out", str(tmp_path / "a.h5")]
    assert command(surface_main)(words) == 2
    assert "called without arguments, found missing a required argument: 'size'" in capfd.readouterr().err


def test_a_metric_that_computes_in_place_does_not_change_the_next() -> None:
    alone = landscape.compute(with_metrics(b=squares), "-1:1:3", metrics="b")
    both = landscape.compute(with_metrics(a=in_place, b=squares), "-1:1:3", metrics="a,b")
    np.testing.assert_array_equal(both.values["b"], alone.values["b"])
    np.testing.assert_array_equal(both.values["a"], alone.values["b"])


class InPlace(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.clamp_(-10, 10))


def changing_targets(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target.clamp_(-10, 10)).square().sum(1)


@pytest.mark.parametrize("kind", ["model", "metric"])
def test_inputs_and_targets_are_the_users_own(kind: str) -> None:
    """Clamping twice is clamping once, so two evaluations agree; the user's tensors are changed all the same."""
    problem = with_metrics(a=changing_targets if kind == "metric" else squares)
    if kind == "model":
        problem.model = InPlace(problem.model.weight.shape[1], problem.model.weight.shape[0], dtype=torch.float64)
    with pytest.raises(InputError, match="set 'train': expected a model and metrics that leave inputs and targets"):
        landscape.compute(problem, "-1:1:3", metrics="a")


@pytest.mark.parametrize(
    ("result", "found"),
    [(1.0, "found float"), (np.ones(4), "found ndarray"), (None, "found NoneType"), ([1.0], "found list")],
)
def test_a_metric_that_gives_no_tensor_gets_its_line(result: object, found: str) -> None:
    with pytest.raises(InputError, match=f"a: expected a tensor with one value for each sample, {found}"):
        landscape.compute(with_metrics(a=lambda output, target: result), "-1:1:3", metrics="a")


def test_a_metric_whose_reduction_gives_one_number_gets_its_line() -> None:
    problem = with_metrics(a=squares)
    problem.metrics = {"a": replace(problem.metrics["a"], reduce=lambda values, sizes: float(np.mean(values)))}
    with pytest.raises(InputError, match="a: expected two numbers of its `reduce`"):
        landscape.compute(problem, "-1:1:3", metrics="a")


def never() -> Problem:
    return with_metrics(a=lambda output, target: torch.full((len(target),), torch.nan), b=squares)


def test_a_metric_without_any_value_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--problem", f"{__name__}:never", "--metrics", "a,b", *RUN, "--out", str(tmp_path / "a.h5")]
    assert command(surface_main)(words) == 0
    said = capfd.readouterr().out
    assert "a has no finite value anywhere" in said
    assert "b has no" not in said


def test_what_cannot_be_a_problem_gets_its_line() -> None:
    nan, integers = quadratic(), quadratic()
    with torch.no_grad():
        nan.model.weight[0, 0] = torch.nan
    integers.model = nn.ParameterList([nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)])
    sparse = replace(quadratic(), sets={"train": Samples(torch.eye(3).to_sparse(), torch.eye(3))})
    for problem, message in (
        (nan, "quadratic: expected weights with values, found NaN in weight"),
        (integers, "expected a model with floating-point parameters"),
        (sparse, "expected dense tensors in set 'train', found a sparse one as inputs"),
        (replace(quadratic(), metrics=None), "expected landscape.Metric by name as metrics"),
        (replace(quadratic(), metrics={"a": squares}), "expected landscape.Metric by name as metrics"),
    ):
        with pytest.raises(InputError, match=message):
            landscape.compute(problem, "-1:1:3")

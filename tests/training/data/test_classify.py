"""Classifiers of digits: their sets and metrics, against slow computations from their outputs."""

import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.directions.normalization import random_directions
from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import cross_entropy, is_right, resolve_metrics
from landscape.files.grid import read_grid
from landscape.problem.metric import Metric
from landscape.problem.problem import Problem
from landscape.sources import from_checkpoint
from landscape.surface import main as surface
from tests.conftest import SMALL, train_small
from tests.project.test_commands import refused
from tests.tolerance import assert_within, metrics_rounding, outputs_rounding, rounding
from training.data.images import RawSplit
from training.data.splits import as_split, load_split
from training.fitting.checkpoint import load_checkpoint, save_checkpoint
from training.models.autoencoder import build_model
from training.runtime.command import InputError

CPU = torch.device("cpu")
FIXED = ("l2", "l1", "l4", "l2-lamp", "l1-lamp", "l4-lamp", "cross-entropy")
CLASSIFY = ("--task", "classify", "--max-train", "500")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small classifier trained with L2-LAMP on 500 digits; 48 does not divide their number."""
    return train_small(tmp_path_factory.mktemp("run"), "l2-lamp", *CLASSIFY, "--batch-size", "48")


def outputs_of(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Probabilities and one-hot digits of the training and test images, by the model's own forward pass."""
    found = load_checkpoint(path)
    split = load_split(found.config, None)
    model = build_model(found.config)
    model.load_state_dict({**found.params, **found.buffers})
    assert split.targets is not None
    with torch.inference_mode():
        outputs = [model.eval()(images).double().numpy() for images in (split.train, split.test)]
    return dict(zip(("train", "test"), zip(outputs, (t.numpy() for t in split.targets), strict=True), strict=True))


def slow_metrics(path: Path) -> dict[str, float]:
    """The metrics at the checkpoint's weights, from their formulas, in NumPy and double precision."""
    outputs = outputs_of(path)
    p, t = outputs["train"]
    q, digits = outputs["test"]
    maps = {"l2": (t - p) ** 2, "l1": np.abs(t - p), "l4": (t - p) ** 4}
    own = 0.0
    for batch in torch.randperm(len(p), generator=torch.Generator().manual_seed(0)).split(48):
        values = maps["l2"][batch.numpy()]
        own -= np.log(1 - values / values.max() * (1 - 1e-3)).sum()
    return {
        **{name: float(values.sum(1).mean()) for name, values in maps.items()},
        **{f"{name}-lamp": float(-np.log(1 - 0.999 * values).sum(1).mean()) for name, values in maps.items()},
        "l2@test": float(((digits - q) ** 2).sum(1).mean()),
        "cross-entropy": float(-np.log(p[t == 1]).mean()),
        "accuracy": float((q.argmax(1) == digits.argmax(1)).mean()),
        "own": own / len(p),
    }


def test_metrics_at_the_model_are_those_of_slow_computations(classifier: Path, tmp_path: Path) -> None:
    expected = slow_metrics(classifier)
    out = tmp_path / "s.h5"
    surface(["--ckpt", str(classifier), "--x=0:0:1", "--metrics", ",".join(expected), "--out", str(out)])
    grid = read_grid(out)
    problem = from_checkpoint(classifier, None, 50)  # they tell how the network rounds
    exact, one = metrics_rounding(problem, resolve_metrics(problem, list(expected)), (), [[]])
    allowed = {name: 2 * rel * expected[name] for name, rel in zip(expected, (one / exact)[0, 0], strict=True)}
    # digits whose two likeliest are as close as rounding of the outputs may tell them by
    _, limits = outputs_rounding(problem.model.double().eval(), problem.sets["test"].inputs)
    likeliest = np.sort(outputs_of(classifier)["test"][0], 1)
    allowed["accuracy"] = (likeliest[:, -1] - likeliest[:, -2] <= 4 * float(limits.max())).mean() + 1e-12
    for name, value in expected.items():
        assert grid.values[name][0, 0, 0] == pytest.approx(value, abs=allowed[name]), name
    scores, n = grid.meta["checkpoint_metrics"], len(outputs_of(classifier)["test"][0])
    assert scores["accuracy"] == pytest.approx(expected["accuracy"], abs=allowed["accuracy"])
    assert scores["train_l2"] == pytest.approx(expected["l2"], abs=allowed["l2"])
    assert scores["n_test"] == n
    accuracy = grid.values["accuracy"][0, 0, 0]
    assert grid.stderr["accuracy"][0, 0, 0] == pytest.approx((accuracy * (1 - accuracy) / (n - 1)) ** 0.5)
    assert grid.meta["metrics"]["accuracy"]["transform"] == "none"
    assert all("summed over classes" in grid.meta["metrics"][name]["definition"] for name in ("l2", "l4-lamp"))


def test_the_training_images_are_the_first_set_and_keep_their_digits(classifier: Path) -> None:
    problem = from_checkpoint(classifier, None)
    assert list(problem.sets) == ["train", "test"]
    split = load_split(load_checkpoint(classifier).config, None)
    assert split.targets is not None
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(problem.sets["train"], (split.train, split.targets[0]), strict=True):
        torch.testing.assert_close(found, expected[order], rtol=0, atol=0)
    assert set(from_checkpoint(classifier, None, 50).sets["test"].targets.sum(1).tolist()) == {1.0}
    assert len(from_checkpoint(classifier, None, 50).sets["train"].inputs) == 50


def test_outputs_are_probabilities_wherever_the_weights_move(classifier: Path) -> None:
    problem = from_checkpoint(classifier, None, 20)
    total = Metric("sum", "sum of the outputs", lambda output, _: output.sum(1), over=("train",))
    plane = random_directions(problem.model, seed=0)
    assert {name.split(".")[0] for name, step in plane[0].params.items() if step.any()} == {"encoder", "head"}
    evaluator = Evaluator(problem, [total], [plane], CPU)
    for steps in ([0.0, 0.0], [1.0, -0.7], [-0.3, 2.0]):
        np.testing.assert_allclose(evaluator.at(0, steps)[0], 1, rtol=rounding(2 * 10))  # ten digits, summed twice


def relabelled(path: Path, folder: Path, **changes: object) -> Path:
    """The checkpoint's weights as those of another configuration."""
    found = load_checkpoint(path)
    config = dataclasses.replace(found.config, **changes)
    save_checkpoint(dataclasses.replace(found, config=config), folder / "other.pt")
    return folder / "other.pt"


def test_fixed_metrics_depend_on_the_weights_alone(classifier: Path, tmp_path: Path) -> None:
    paths = classifier, relabelled(classifier, tmp_path, loss="l2", batch_size=128)
    results = []
    for path in paths:
        problem = from_checkpoint(path, None, 300)
        metrics = resolve_metrics(problem, [*FIXED, "accuracy", "own"])
        evaluator = Evaluator(problem, metrics, [random_directions(problem.model, seed=3)], CPU)
        results.append((evaluator.at(0, [0.5, -0.2])[0], [metric.definition for metric in metrics]))
    (first, definitions), (second, other_definitions) = results
    # `own` decides on how many images the model is called at a time, and so in which order is added.
    _, allowed = metrics_rounding(problem, metrics[:-1], random_directions(problem.model, seed=3), [[0.5, -0.2]])
    assert_within(first[:-1], second[:-1], 2 * allowed[0, 0])
    assert definitions[:-1] == other_definitions[:-1]
    assert definitions[-1] != other_definitions[-1]
    assert first[-1] > 2 * second[-1]  # each its own loss


def test_the_rewritten_pass_and_points_computed_together_equal_plain_single_ones(classifier: Path) -> None:
    problem = from_checkpoint(classifier, None, 60)
    metrics = resolve_metrics(problem, [*FIXED, "own", "accuracy"])
    plane = random_directions(problem.model, seed=0)
    plain, fast = (Evaluator(problem, metrics, [plane], CPU, allow_rewrite=allow) for allow in (False, True))
    points = [[0.0, 0.0], [1.0, -0.7], [-0.3, 2.0]]
    truth, allowed = metrics_rounding(problem, metrics, plane, points)
    assert_within(plain.at_many(0, points), truth, allowed)
    assert_within(fast.at_many(0, points), truth, allowed)
    plain.points_per_call = 2
    assert_within(plain.at_many(0, points), truth, allowed)


def test_batch_norm_of_a_classifier_is_recalibrated_over_its_training_images(classifier: Path) -> None:
    problem = from_checkpoint(classifier, None)
    metrics = resolve_metrics(problem, ["l2"])
    frozen, fresh = (
        Evaluator(problem, metrics, [random_directions(problem.model, seed=0)], CPU, batch_norm=how).at(0, [0.0, 0.0])
        for how in ("frozen", "recalibrate")
    )
    assert frozen[0, 0] != fresh[0, 0]


def test_metrics_of_images_are_refused_in_one_line_that_names_what_there_is(classifier: Path, tmp_path: Path) -> None:
    there = "l2, l2-lamp, l1, l1-lamp, l4, l4-lamp, focal, focal-lamp, mse, cross-entropy, accuracy, own"
    for name, message in {
        "auroc": f"expected sets among train, test, found 'test-normal' for 'auroc'; these sets have {there}",
        "ssim": f"expected metrics among {there}, found 'ssim': the targets in 'train' are no images",
        "ssim-lamp": "the targets in 'train' are no images",
        "accuracy@train": "expected 'accuracy' without @set: it is over test",
        "hinge": f"expected names among {there}, found 'hinge'",
    }.items():
        options = ("--ckpt", classifier, "--metrics", name, "--out", tmp_path / "a.h5")
        assert message in refused("landscape.surface", *options)
    assert list(tmp_path.iterdir()) == []


def test_cross_entropy_has_a_bound_and_keeps_what_is_no_number() -> None:
    output = torch.tensor([[0.25, 0.75], [0.0, 1.0], [float("nan"), 0.5]])
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    values = cross_entropy(output, target)
    assert values[0] == pytest.approx(np.log(4))
    assert values[1] == pytest.approx(87.34, abs=0.01)
    assert values[2].isnan()
    assert is_right(output[:2], target[:2].flip(1)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["l4", "l4-lamp", "l4@test-anomalous"])
def test_l4_is_a_metric_of_autoencoders_too(checkpoint: Path, name: str) -> None:
    problem = from_checkpoint(checkpoint, None, 100)
    images, _ = problem.sets[name.partition("@")[2] or "train-normal"]
    with torch.inference_mode():
        values = (copy.deepcopy(problem.model).double()(images.double()) - images).numpy() ** 4
    values = -np.log(1 - 0.999 * values) if name == "l4-lamp" else values
    metrics = resolve_metrics(problem, [name])
    found = Evaluator(problem, metrics, [()], CPU).at(0, [])[0, 0]
    _, allowed = metrics_rounding(problem, metrics, (), [[]])
    assert found == pytest.approx(values.sum((1, 2, 3)).mean(), abs=allowed[0, 0, 0])


def test_images_that_were_held_out_are_in_no_set(tmp_path: Path) -> None:
    path = train_small(tmp_path, "l2", "--validation", "0.2", "--epochs", "1")
    split = load_split(load_checkpoint(path).config, None)
    assert split.validation is not None
    assert (len(split.train), len(split.validation)) == (800, 200)
    problem = from_checkpoint(path, None)
    held_out = rows(split.validation)
    assert len(problem.sets["train-normal"].inputs) == 800
    assert not held_out & rows(problem.sets["train-normal"].inputs)


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_digits_read_from_a_file_are_taken_without_a_warning() -> None:
    images = np.zeros((2, 1, 28, 28), np.uint8)
    digits = np.frombuffer(bytes([3, 9]), np.uint8)
    raw = RawSplit(images, images, np.zeros(2, bool), ["0", "1"], ["3", "9"], digits=(digits, digits))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = as_split(raw)
    assert split.targets is not None
    assert split.targets[0].argmax(1).tolist() == [3, 9]


def test_a_problem_says_what_it_is_of(classifier: Path) -> None:
    problem = from_checkpoint(classifier, None)
    found = load_checkpoint(classifier)
    assert isinstance(problem, Problem)
    assert (problem.name, problem.weights_digest, problem.data_digest) == ("l2-lamp", found.digest, found.data_digest)
    assert problem.meta["config"]["task"] == "classify"
    with pytest.raises(InputError, match="expected one without windows with --task classify"):
        train_small(Path("nowhere"), "ssim", *CLASSIFY)
    assert "--normal" in SMALL  # has no meaning for a classifier, and is stored as 0
    assert found.config.normal == 0

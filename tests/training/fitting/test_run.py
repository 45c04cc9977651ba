"""Runs: the order of batches, evaluation points, what is held out, and several runs beside one another."""

import dataclasses
import functools
import operator
from typing import Any

import pytest
import torch

from tests.tolerance import ELEMENTWISE, rounding, steps_rounding
from tests.training.fitting.test_training import CPU, tiny_config, tiny_split, weights_after
from training.data.config import RunConfig, resolve
from training.data.splits import load_split, subset
from training.fitting.fit import train, train_together
from training.fitting.run import Run, flipped, is_eighth_of_decade
from training.models.losses import loss_weight, training_batch_losses, training_loss
from training.runtime.command import RunError


def updates_evaluated(**settings: Any) -> list[int]:
    return [evaluation.row["updates"] for evaluation in train(tiny_config(**settings), tiny_split(10), CPU)]


def test_a_run_is_evaluated_after_each_epoch_or_at_powers_of_two() -> None:
    assert updates_evaluated(batch_size=4, epochs=3) == [3, 6, 9]
    # 1, 2, 4, 8 updates; epochs 1, 2, 4 of three updates; the end
    assert updates_evaluated(batch_size=4, epochs=5, evaluate="log") == [1, 2, 3, 4, 6, 8, 12, 15]
    # 10^(k/8) rounded is 1, 2, 3, 4, 6, 7, 10, 13, 18, 24, …; the last five of seven epochs of five updates; the end
    expected = [1, 2, 3, 4, 6, 7, 10, 13, 15, 18, 20, 24, 25, 30, 32, 35]
    assert updates_evaluated(batch_size=2, epochs=7, evaluate="decade") == expected
    eighths = [number for number in range(1, 10**5) if is_eighth_of_decade(number)]
    assert eighths == sorted({round(10 ** (k / 8)) for k in range(40)})


def test_evaluations_do_not_change_the_training() -> None:
    often, seldom = (weights_after(tiny_config(epochs=2, evaluate=evaluate)) for evaluate in ("log", "epoch"))
    for name, tensor in often.items():
        torch.testing.assert_close(tensor, seldom[name], rtol=0, atol=0)


def test_an_epochs_batches_are_all_units_once_in_the_seeds_order() -> None:
    config = tiny_config(batch_size=4, epochs=2)
    split = dataclasses.replace(tiny_split(10), train=torch.arange(10.0).view(10, 1, 1, 1).expand(10, 1, 16, 16) / 10)

    def order() -> list[list[float]]:
        run, taken = Run(config, split, CPU), []
        while not run.finished:
            taken.append(run.take().inputs[:, 0, 0, 0].tolist())
        return taken

    batches = order()
    assert [len(batch) for batch in batches] == [4, 4, 2] * 2
    for epoch in (batches[:3], batches[3:]):
        assert sorted(functools.reduce(operator.iadd, epoch, [])) == sorted(split.train[:, 0, 0, 0].tolist())
    assert batches[:3] != batches[3:]
    assert order() == batches


def test_held_out_images_are_the_same_for_every_seed_and_not_trained_on() -> None:
    split = tiny_split(20)
    first, second = (subset(split, tiny_config(validation=0.25, seed=seed, max_train=10)) for seed in (0, 1))
    assert first.validation is not None
    assert second.validation is not None
    assert (len(first.validation), len(first.train)) == (5, 10)
    assert torch.equal(first.validation, second.validation)
    assert torch.equal(first.train, second.train)
    used = torch.cat([first.validation, first.train]).flatten(1)
    assert len(used.unique(dim=0)) == 15


@pytest.mark.usefixtures("double")
def test_validation_loss_is_over_what_was_held_out() -> None:
    config = tiny_config(validation=0.3)
    split = subset(tiny_split(10), config)
    *_, last = train(config, split, CPU)
    assert split.validation is not None
    other = dataclasses.replace(split, train=split.validation, validation=None)
    from training.fitting.evaluation import evaluate
    from training.models.autoencoder import build_model

    model = build_model(config)
    model.load_state_dict({**last.checkpoint.params, **last.checkpoint.buffers})
    metrics, _ = evaluate(model, config, other)
    assert last.row["validation_l2"] == pytest.approx(metrics["train_l2"], rel=1e-12)


@pytest.mark.usefixtures("double")
def test_reconstruction_variance_is_its_definition() -> None:
    config = tiny_config()
    split = tiny_split(10)
    *_, last = train(config, split, CPU)
    from training.models.autoencoder import build_model

    model = build_model(config)
    model.load_state_dict({**last.checkpoint.params, **last.checkpoint.buffers})
    with torch.no_grad():
        output = model.eval()(split.train).double()
    expected = output.var(0, correction=0).mean() / split.train.double().var(0, correction=0).mean()
    assert last.row["recon_variance"] == pytest.approx(float(expected), rel=1e-9)


def test_flips_are_one_of_four_mirrored_images() -> None:
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = flipped(images, torch.Generator().manual_seed(1))
    kinds = set()
    for image, original in zip(found, images, strict=True):
        candidates = [original, original.flip(2), original.flip(1), original.flip(1, 2)]
        (kind,) = [number for number, candidate in enumerate(candidates) if torch.equal(image, candidate)]
        kinds.add(kind)
    assert kinds == {0, 1, 2, 3}
    plain, mirrored = (weights_after(tiny_config(augment=augment)) for augment in ("none", "flips"))
    assert any(not torch.equal(plain[name], mirrored[name]) for name in plain)


@pytest.mark.usefixtures("double")
def test_under_plain_descent_a_larger_constant_is_a_larger_learning_rate() -> None:
    sgd = {"optimizer": "sgd", "epochs": 2}
    larger = weights_after(tiny_config(lr=1e-4, loss_factor=8.0, **sgd))
    faster = weights_after(tiny_config(lr=8e-4, **sgd))
    averaged = weights_after(tiny_config(lr=8e-4 * 256, reduction="pixel-mean", **sgd))
    for name, tensor in faster.items():
        torch.testing.assert_close(tensor, larger[name], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(tensor, averaged[name], rtol=1e-9, atol=1e-12)


def test_reductions_weigh_a_batch() -> None:
    config = tiny_config(loss_factor=3.0)
    assert loss_weight(config, 4, 256) == 3
    assert loss_weight(dataclasses.replace(config, reduction="sum"), 4, 256) == 12
    assert loss_weight(dataclasses.replace(config, reduction="pixel-mean"), 4, 256) == 3 / 256


@pytest.mark.parametrize("reduction", ["mean", "sum", "pixel-mean"])
def test_the_own_metric_is_the_training_loss_of_each_batch(reduction: str) -> None:
    config = tiny_config(loss="l2-lamp", loss_factor=2.0, reduction=reduction, batch_size=4)
    source = torch.Generator().manual_seed(0)
    output, target = torch.rand(2, 10, 1, 16, 16, generator=source, dtype=torch.float64)
    loss = training_loss(config)
    expected = [loss(a, b).mean() for a, b in zip(output.split(4), target.split(4), strict=True)]
    rtol = rounding(4 * 256 + ELEMENTWISE, torch.float64, 1 / config.lamp_eps)
    torch.testing.assert_close(
        training_batch_losses(config, 4)(output, target), torch.stack(expected), rtol=rtol, atol=0
    )


@pytest.mark.usefixtures("double")
def test_runs_beside_one_another_are_the_runs_alone() -> None:
    configs = [tiny_config(seed=seed, loss=loss, epochs=2) for seed in (0, 1) for loss in ("l2", "l2-lamp")]
    splits = [tiny_split(count) for count in (10, 10, 13, 9)]
    last: dict[int, Any] = dict(train_together(configs, splits, CPU))
    allowed = steps_rounding(configs[0].lr, 2 * 4, terms=4 * 256)
    for number, (config, split) in enumerate(zip(configs, splits, strict=True)):
        *_, alone = train(config, split, CPU)
        assert last[number].row["updates"] == alone.row["updates"]
        assert last[number].row["train_l2"] == pytest.approx(alone.row["train_l2"], rel=allowed)
        for name, tensor in alone.checkpoint.params.items():
            torch.testing.assert_close(last[number].checkpoint.params[name], tensor, rtol=0, atol=allowed)


@pytest.mark.usefixtures("double")
def test_a_run_that_diverges_leaves_the_others_alone() -> None:
    settings = {"optimizer": "sgd", "lr": 1e-3, "epochs": 2}
    configs = [tiny_config(loss_factor=factor, **settings) for factor in (1.0, 1e300)]
    events = list(train_together(configs, [tiny_split(), tiny_split()], CPU))
    (error,) = [event for number, event in events if number == 1]
    assert isinstance(error, RunError)
    *_, (_, last) = [event for event in events if event[0] == 0]
    alone = weights_after(configs[0])
    assert isinstance(last.checkpoint.params, dict)
    for name, tensor in last.checkpoint.params.items():
        torch.testing.assert_close(tensor, alone[name], rtol=1e-9, atol=1e-12)


def test_a_classifier_learns_digits() -> None:
    config = resolve(RunConfig(task="classify", width=4, epochs=3, batch_size=32, max_train=1000))
    split = load_split(config, None)
    assert split.targets is not None
    assert split.targets[0].shape == (1000, 10)
    *_, last = train(config, split, CPU)
    assert last.row["accuracy"] > 0.7
    assert last.row["train_l2"] < 0.5
    assert set(last.scores.int().tolist()) <= set(range(10))

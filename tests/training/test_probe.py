"""Linear probes: the encoder stays, the head learns, and the result is a classifier's checkpoint."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch

from landscape.engine.evaluate import Evaluator
from landscape.engine.metrics import resolve_metrics
from landscape.sources import from_checkpoint
from tests.conftest import train_small
from tests.project.test_commands import refused
from tests.tolerance import ELEMENTWISE, metrics_rounding, rounding
from training import probe
from training.data.config import RunConfig
from training.data.splits import load_split
from training.fitting.checkpoint import Checkpoint, load_checkpoint
from training.models.autoencoder import build_model, seeded_model
from training.runtime.command import InputError

CPU = torch.device("cpu")
OPTIONS = ("--max-train", "300", "--epochs", "3", "--threads", "1")


def run(parent: Path, out: Path, *options: str) -> Path:
    probe.main(["--ckpt", str(parent), "--out", str(out), *OPTIONS, *options])
    return out / "checkpoint.pt"


@pytest.fixture(scope="module")
def probed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(checkpoint, tmp_path_factory.mktemp("probe"), "--batch-size", "32")


def test_the_encoder_is_the_autoencoders_bit_for_bit(checkpoint: Path, probed: Path) -> None:
    parent, found = load_checkpoint(checkpoint), load_checkpoint(probed)
    for of_parent, of_probe in ((parent.params, found.params), (parent.buffers, found.buffers)):
        encoder = {name: tensor for name, tensor in of_parent.items() if name.startswith("encoder.")}
        assert encoder
        for name, tensor in encoder.items():
            assert torch.equal(of_probe[name], tensor), name
        rest = set(of_probe) - set(encoder)
        assert all(name.startswith("head.") for name in rest)
    initial = dict(seeded_model(found.config).named_parameters())
    assert not torch.equal(found.params["head.1.weight"], initial["head.1.weight"])


def test_it_is_a_classifier_with_the_autoencoders_settings(checkpoint: Path, probed: Path) -> None:
    parent, found = load_checkpoint(checkpoint), load_checkpoint(probed)
    expected = dataclasses.replace(
        parent.config, task="classify", normal=0, batch_size=32, epochs=3, max_train=300, evaluate="epoch"
    )
    assert found.config == expected
    about = {"digest": parent.digest, "normal": 3, "loss": "l2-lamp", "batch_size": 128, "epochs": 2, "seed": 0}
    assert found.metrics["probe"] == about
    assert found.metrics["n_test"] == 2000
    metrics = json.loads((probed.parent / "metrics.json").read_text())
    assert metrics["probe"] == about
    assert metrics["digest"] == found.digest
    with (probed.parent / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["updates"] for row in rows] == ["10", "20", "30"]
    assert float(rows[-1]["train_l2"]) < float(rows[0]["train_l2"])
    with (probed.parent / "scores.csv").open() as file:
        right = [row["digit"] == row["predicted"] for row in csv.DictReader(file)]
    assert sum(right) / len(right) == found.metrics["accuracy"]


def test_its_metrics_are_those_of_the_whole_model(probed: Path) -> None:
    found = load_checkpoint(probed)
    problem = from_checkpoint(probed, None)
    metrics = resolve_metrics(problem, ["l2", "accuracy"])
    l2, accuracy = Evaluator(problem, metrics, [()], CPU).at(0, [])[0]
    few = from_checkpoint(probed, None, 100)  # they tell how the network rounds
    exact, allowed = metrics_rounding(few, metrics, (), [[]])
    for_l2, for_accuracy = 2 * (allowed / exact)[0, 0]
    assert l2 == pytest.approx(found.metrics["train_l2"], rel=for_l2)
    assert accuracy == pytest.approx(found.metrics["accuracy"], rel=for_accuracy, abs=1 / 2000)
    assert problem.meta["checkpoint_metrics"]["probe"]["loss"] == "l2-lamp"


def test_the_head_takes_the_steps_of_its_definition(checkpoint: Path) -> None:
    """Plain SGD on the features, an epoch by hand; the last batch is incomplete."""
    found = load_checkpoint(checkpoint)
    parent = Checkpoint(dataclasses.replace(found.config, optimizer="sgd"), 2, found.params, found.buffers)
    arguments = probe.Arguments(checkpoint, Path("out"), loss="l2", epochs=1, lr=0.05, batch_size=8, max_train=20)
    config = probe.probe_config(parent.config, arguments)
    split = load_split(config, None)
    assert split.targets is not None
    autoencoder = build_model(found.config)
    autoencoder.load_state_dict({**found.params, **found.buffers})
    with torch.no_grad():
        features = autoencoder.eval().get_submodule("encoder")(split.train).flatten(1)
    start = dict(seeded_model(config).named_parameters())
    weight, bias = (start[f"head.1.{name}"].detach().clone().requires_grad_() for name in ("weight", "bias"))
    for indices in torch.randperm(20, generator=torch.Generator().manual_seed(config.seed)).split(8):
        output = torch.softmax(features[indices] @ weight.T + bias, 1)
        loss = (output - split.targets[0][indices]).square().sum() / len(indices)
        steps = torch.autograd.grad(loss, [weight, bias])
        with torch.no_grad():
            weight -= 0.05 * steps[0]
            bias -= 0.05 * steps[1]
    (last,) = probe.probe(parent, config, split, CPU)
    # Three steps of 0.05; a logit is a sum over the features, a gradient one over 8 images.
    allowed = 3 * 0.05 * rounding(features.shape[1] + 8 + ELEMENTWISE) * float(features.abs().sum(1).max())
    torch.testing.assert_close(last.checkpoint.params["head.1.weight"], weight.detach(), rtol=rounding(3), atol=allowed)
    torch.testing.assert_close(last.checkpoint.params["head.1.bias"], bias.detach(), rtol=rounding(3), atol=allowed)


def test_again_does_nothing_and_another_model_or_config_is_refused(
    checkpoint: Path, probed: Path, tmp_path: Path
) -> None:
    before = probed.stat().st_mtime_ns
    run(checkpoint, probed.parent, "--batch-size", "32")
    assert probed.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"found one of lr 0\.001; choose another --out"):
        run(checkpoint, probed.parent, "--batch-size", "32", "--lr", "0.1")
    other = train_small(tmp_path, "l2-lamp", "--epochs", "1")
    with pytest.raises(InputError, match="expected no other model's probe, found one; choose another --out"):
        run(other, probed.parent, "--batch-size", "32")


def test_models_without_an_encoder_of_digits_are_named(probed: Path, tmp_path: Path) -> None:
    arguments = probe.Arguments(Path("a.pt"), Path("out"))
    for config, message in {
        RunConfig(task="classify"): "a.pt: expected an autoencoder, found a classifier",
        RunConfig(dataset="mvtec"): "a.pt: expected an autoencoder of MNIST's digits, found one of mvtec",
        RunConfig(patches=4): "a.pt: expected an autoencoder of whole images, found one of 4 patches",
        RunConfig(loss="ssim"): "--loss: expected one without windows",
    }.items():
        with pytest.raises(InputError, match=message):
            probe.probe_config(config, arguments)
    assert probe.probe_config(RunConfig(loss="ssim"), dataclasses.replace(arguments, loss="l2")).loss == "l2"
    line = refused("training.probe", "--ckpt", probed, "--out", tmp_path / "x")
    assert line == f"error: {probed}: expected an autoencoder, found a classifier; name another checkpoint\n"
    assert list(tmp_path.iterdir()) == []

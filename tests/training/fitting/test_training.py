"""The autoencoder, patches, optimizers and the training loop on real digits."""

import csv
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import SMALL, train_small
from tests.tolerance import scores_rounding
from training.data import splits as data
from training.data.config import RunConfig, resolve
from training.data.patches import Patched, from_patches, to_patches
from training.data.splits import Split, load_split
from training.fitting import fit
from training.fitting.checkpoint import load_checkpoint, save_checkpoint
from training.fitting.run import Run
from training.models.autoencoder import Autoencoder, build_model
from training.runtime.command import InputError, RunError, command
from training.train import main

CPU = torch.device("cpu")


def tiny_split(count: int = 10, size: int = 16, channels: int = 1) -> Split:
    source = torch.Generator().manual_seed(0)
    train, test = (torch.rand(n, channels, size, size, generator=source) for n in (count, 8))
    labels = np.arange(8) % 2 == 1
    return Split(train, test, labels, [str(i) for i in range(8)], ["x"] * 8, "digest")


def tiny_config(**changes: object) -> RunConfig:
    values = {"dataset": "folder", "train_dir": "a", "test_normal_dir": "b", "test_anomalous_dir": "c"}
    sizes = {"image_size": 16, "channels": 1, "depth": 2, "width": 2, "epochs": 1, "batch_size": 4}
    return resolve(dataclasses.replace(RunConfig(), **{**values, **sizes, **changes}))


def weights_after(config: RunConfig, split: Split | None = None) -> dict[str, torch.Tensor]:
    *_, last = fit.train(config, split or tiny_split(channels=config.channels), CPU)
    return {**last.checkpoint.params, **last.checkpoint.buffers}


def test_default_autoencoder_has_the_papers_shape() -> None:
    model = build_model(resolve(RunConfig()))
    assert sum(p.numel() for p in model.parameters()) == 194_881
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [16, 32, 64, 128, 64, 32, 16, 1]
    output = model(torch.rand(2, 1, 32, 32))
    assert output.shape == (2, 1, 32, 32)
    assert 0 < output.min() < output.max() < 1


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_six_layers_stop_doubling_at_512_channels(kernel: int) -> None:
    model = Autoencoder(channels=3, width=16, depth=6, kernel=kernel)
    assert [m.out_channels for m in model.encoder.modules() if isinstance(m, nn.Conv2d)] == [16, 32, 64, 128, 256, 512]
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 3, 64, 128)).shape == (1, 3, 64, 128)


def test_patches_are_cut_row_by_row_and_stitched_again() -> None:
    images = torch.arange(2 * 3 * 6 * 12.0).view(2, 3, 6, 12)
    patches = to_patches(images, 3)
    assert patches.shape == (18, 3, 2, 4)
    torch.testing.assert_close(patches[9 + 4], images[1, :, 2:4, 4:8])
    torch.testing.assert_close(from_patches(patches, 3), images)
    torch.testing.assert_close(Patched(nn.Identity(), 3, 12)(images), images)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_same_seed_same_weights_other_seed_others(optimizer: str) -> None:
    config = tiny_config(optimizer=optimizer, epochs=2)
    first, second = weights_after(config), weights_after(config)
    other = weights_after(dataclasses.replace(config, seed=1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.0.0.weight"], other["encoder.0.0.weight"])


@pytest.mark.usefixtures("double")
def test_plain_sgd_takes_the_steps_of_its_definition() -> None:
    """One epoch against hand-written updates, a last incomplete batch included."""
    config, split = tiny_config(optimizer="sgd", lr=1e-4), tiny_split()
    torch.manual_seed(config.seed)
    model = build_model(config)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(config.seed))
    for indices in (order[:4], order[4:8], order[8:]):
        batch = split.train[indices]
        loss = ((model(batch) - batch) ** 2).sum() / len(batch)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 1e-4 * gradient
    trained = weights_after(config, split)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 1024])
def test_all_batch_sizes_and_last_batches(batch_size: int) -> None:
    *_, last = fit.train(tiny_config(batch_size=batch_size), tiny_split(), CPU)
    assert last.row["updates"] == -(-10 // batch_size)
    assert np.isfinite(last.row["loss"])


def test_patches_are_the_unit_of_a_batch() -> None:
    *_, last = fit.train(tiny_config(patches=4, batch_size=8, loss="l2-lamp"), tiny_split(), CPU)
    assert last.row["updates"] == 10 * 4 // 8
    assert last.scores.shape == (8,)


def test_a_batch_of_one_value_a_channel_is_refused() -> None:
    for changes in ({"batch_size": 1}, {"batch_size": 3}):
        with pytest.raises(InputError, match="batch norm needs two values"):
            weights_after(tiny_config(depth=4, **changes))
    weights_after(tiny_config(depth=4, batch_size=5))


def test_training_lowers_the_loss_on_digits(tmp_path: Path) -> None:
    path = train_small(tmp_path, "l2", "--epochs", "6")
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["train_l2"]) < 0.7 * float(rows[0]["train_l2"])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["auroc_low"] < metrics["auroc"] < metrics["auroc_high"]
    assert metrics["auroc_n_normal"] + metrics["auroc_n_anomalous"] == 2000
    assert load_checkpoint(path).metrics["auroc"] == metrics["auroc"] == float(rows[-1]["auroc"])


def test_scores_and_auroc_are_those_of_the_saved_weights(checkpoint: Path) -> None:
    found = load_checkpoint(checkpoint)
    split = load_split(found.config, None)
    model = build_model(found.config)
    model.load_state_dict({**found.params, **found.buffers})
    with torch.no_grad():
        images = split.test
        scores = ((model.eval()(images) - images) ** 2).mean((1, 2, 3))
    with (checkpoint.parent / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    rtol = scores_rounding(model, images[:50])
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores.numpy(), rtol=rtol)
    assert [row["label"] == "1" for row in rows] == split.labels.tolist()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Run.record

    def record(self: Run, loss: torch.Tensor, *rest: Any) -> None:
        real(self, loss * float("nan") if self.updates == self.steps + 1 else loss, *rest)

    monkeypatch.setattr(Run, "record", record)
    status = command(main)([*SMALL, "--out", str(tmp_path)])
    assert status == 1
    assert "loss nan at epoch 2, step 2" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "checkpoint.pt").epoch == 1


def test_a_learning_rate_that_is_too_large_is_such_a_run() -> None:
    with pytest.raises(RunError, match="epoch 1, step"):
        weights_after(tiny_config(optimizer="sgd", lr=1e30, batch_size=2))


def test_a_model_that_diverges_in_the_last_step_is_not_saved(tmp_path: Path) -> None:
    options = ["--batch-size", "1024", "--optimizer", "sgd", "--lr", "1e30"]
    with pytest.raises(RunError, match="the model diverged in the last step of epoch 1"):
        main([*SMALL, *options, "--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_other_data_than_the_checkpoints_are_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = data.load_split
    monkeypatch.setattr(data, "load_split", lambda *a: dataclasses.replace(real(*a), digest="0" * 64))
    with pytest.raises(InputError, match="found one of other data"):
        main([*SMALL, "--loss", "l2-lamp", "--out", str(checkpoint.parent)])


def test_training_again_does_nothing_and_another_config_is_refused(checkpoint: Path) -> None:
    before = checkpoint.stat().st_mtime_ns
    main([*SMALL, "--loss", "l2-lamp", "--out", str(checkpoint.parent)])
    assert checkpoint.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"found one of loss l2-lamp; choose another --out"):
        main([*SMALL, "--loss", "l2", "--out", str(checkpoint.parent)])


def test_checkpoint_round_trip_and_digest(checkpoint: Path, tmp_path: Path) -> None:
    found = load_checkpoint(checkpoint)
    save_checkpoint(found, tmp_path / "copy.pt")
    copy = load_checkpoint(tmp_path / "copy.pt")
    assert copy.config == found.config
    assert copy.digest == found.digest
    assert torch.load(checkpoint, weights_only=True)["format"] == "landscape-checkpoint"
    content = torch.load(checkpoint, weights_only=True)
    content["params"]["encoder.0.0.weight"][0] += 1
    torch.save(content, tmp_path / "copy.pt")
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "copy.pt")


class Evil:
    """A pickle that would run a command."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (Path.write_text, (Path(self.path), "run"))


def test_a_pickle_with_code_is_refused_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"format": "landscape-checkpoint", "config": Evil(str(trace))}, tmp_path / "evil.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Evil(str(trace))))
    for name in ("evil.pt", "plain.pkl"):
        with pytest.raises(InputError, match=f"{name}: expected"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(InputError, match="pickled code, which is not run"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not trace.exists()


def test_unusable_checkpoints_are_named(tmp_path: Path, checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    whole = checkpoint.read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({"a": 1}, tmp_path / "foreign.pt")
    torch.save({**content, "version": 99}, tmp_path / "newer.pt")
    torch.save({**content, "params": [1]}, tmp_path / "partial.pt")
    for name, message in {
        "absent.pt": "found none; make one with",
        "cut.pt": "damaged or foreign",
        "empty.pt": "damaged or foreign",
        "foreign.pt": "another kind of torch file",
        "partial.pt": "expected a checkpoint as training.train writes it",
        "newer.pt": "use a newer release",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            load_checkpoint(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normal": 10}, "--normal: expected a digit from 0 to 9, found 10"),
        ({"batch_size": 0}, "--batch-size: expected at least 1, found 0"),
        ({"kernel": 4}, "--kernel: expected an odd size"),
        ({"lamp_eps": 0.0}, "--lamp-eps"),
        ({"lr": -1.0}, "--lr: expected a positive"),
        ({"patches": 3}, "--patches: expected a square number"),
        ({"image_size": 40, "depth": 4}, "patches of a multiple of 16 pixels for depth 4, found 40"),
        ({"patches": 9}, "--image-size: expected a multiple of 3 for 9 patches, found 32"),
        ({"dataset": "folder"}, "--train-dir: expected a folder of images"),
        ({"channels": 3}, "--channels: expected 1 for MNIST"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**70}, "--seed"),
        ({"patches": -4}, "--patches: expected a square number"),
        ({"depth": 20_000}, "--depth: expected at most 16"),
        ({"width": 10**9}, "--width: expected at most 4096"),
    ],
)
def test_bad_options_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(dataclasses.replace(RunConfig(), **changes))


@pytest.mark.slow
def test_mvtec_autoencoder_trains_on_a_category(tmp_path: Path, data_dir: str) -> None:
    main(
        [
            "--dataset",
            "mvtec",
            "--category",
            "bottle",
            "--image-size",
            "128",
            "--patches",
            "4",
            "--width",
            "8",
            "--epochs",
            "1",
            "--batch-size",
            "16",
            "--data-dir",
            data_dir,
            "--out",
            str(tmp_path),
        ]
    )
    assert load_checkpoint(tmp_path / "checkpoint.pt").config.depth == 6
    assert json.loads((tmp_path / "metrics.json").read_text())["auroc_n_anomalous"] == 63

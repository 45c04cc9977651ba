"""Saved trajectories: what lies at each update is the model that training had then."""

from pathlib import Path
from typing import Any

import pytest
import torch

from training.data.config import RunConfig, resolve
from training.data.splits import Split, load_split
from training.fitting import fit
from training.fitting.checkpoint import load_checkpoint
from training.fitting.engine import make_engine
from training.fitting.run import Run
from training.fitting.trajectory import file_of, files_of
from training.models.autoencoder import seeded_model
from training.runtime.command import InputError
from training.train import main

#: 100 images in batches of 32: four updates an epoch
SMALL = ("--max-train", "100", "--width", "2", "--epochs", "2", "--batch-size", "32", "--threads", "1")


def weights(path: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(path)
    return {**checkpoint.params, **checkpoint.buffers}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in b)


def after_updates(config: RunConfig, split: Split, count: int) -> dict[str, torch.Tensor]:
    """Parameters after so many updates, by an engine that is given the run's batches by hand."""
    engine, run = make_engine([config], torch.device("cpu")), Run(config, split, torch.device("cpu"))
    for _ in range(count):
        engine.step_one(0, run.take())
    return dict(engine.model(0).named_parameters())


@pytest.mark.parametrize("task", ["reconstruct", "classify"])
def test_every_third_update_and_both_ends(task: str, tmp_path: Path) -> None:
    options = (*SMALL, "--task", task)
    main([*options, "--save-every", "3", "--out", str(tmp_path / "a")])
    main([*options, "--out", str(tmp_path / "b")])
    assert [path.name for path in files_of(tmp_path / "a")] == ["000000.pt", "000003.pt", "000006.pt", "000008.pt"]
    config = resolve(RunConfig(task=task, max_train=100, width=2, epochs=2, batch_size=32))
    assert same(weights(file_of(tmp_path / "a", 0)), dict(seeded_model(config).named_parameters()))
    assert same(weights(file_of(tmp_path / "a", 8)), weights(tmp_path / "b" / "checkpoint.pt"))
    at_three = load_checkpoint(file_of(tmp_path / "a", 3))
    assert (at_three.config, at_three.epoch, at_three.metrics["updates"]) == (config, 0, 3)
    split = load_split(config, None)
    assert at_three.data_digest == split.digest
    assert same(after_updates(config, split, 3), at_three.params)


def test_a_run_that_stops_at_its_fit_has_its_end(tmp_path: Path) -> None:
    main([*SMALL, "--save-every", "5", "--until-l2", "1000", "--out", str(tmp_path)])
    assert [path.stem for path in files_of(tmp_path)] == ["000000", "000001"]
    assert same(weights(file_of(tmp_path, 1)), weights(tmp_path / "checkpoint.pt"))


def test_a_killed_run_goes_on_with_its_trajectory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.fitting.resume import keep_state

    monkeypatch.setattr(fit, "KEEP_SECONDS", -1.0)
    options = (*SMALL, "--save-every", "2")
    main([*options, "--out", str(tmp_path / "whole")])

    def stop(folder: Path, *rest: Any) -> None:
        keep_state(folder, *rest)
        if rest[2]["run"]["updates"] == 5:
            raise KeyboardInterrupt

    for name, first in (("killed", options), ("without", SMALL)):
        monkeypatch.setattr("training.fitting.resume.keep_state", stop)
        with pytest.raises(KeyboardInterrupt):
            main([*first, "--out", str(tmp_path / name)])
        monkeypatch.setattr("training.fitting.resume.keep_state", keep_state)
    main([*options, "--out", str(tmp_path / "killed")])
    files = files_of(tmp_path / "whole")
    assert [path.stem for path in files] == ["000000", "000002", "000004", "000006", "000008"]
    assert [path.stem for path in files_of(tmp_path / "killed")] == [path.stem for path in files]
    for path in files:
        assert same(weights(tmp_path / "killed" / "trajectory" / path.name), weights(path))
    with pytest.raises(InputError, match="expected a run that has saved its trajectory from its beginning"):
        main([*options, "--out", str(tmp_path / "without")])


def test_a_finished_run_is_not_trained_again_and_says_if_it_lacks_a_trajectory(tmp_path: Path) -> None:
    main([*SMALL, "--save-every", "4", "--out", str(tmp_path)])
    before = {path: path.stat().st_mtime_ns for path in files_of(tmp_path)}
    for every in ("4", "8"):
        main([*SMALL, "--save-every", every, "--out", str(tmp_path)])
    assert {path: path.stat().st_mtime_ns for path in files_of(tmp_path)} == before
    with pytest.raises(InputError, match="--save-every: expected a checkpoint every 3 updates of the finished run"):
        main([*SMALL, "--save-every", "3", "--out", str(tmp_path)])


def test_a_run_that_begins_again_removes_what_an_earlier_beginning_left(tmp_path: Path) -> None:
    left = file_of(tmp_path, 1)
    left.parent.mkdir()
    left.write_text("of a run that was killed")
    (left.parent / "notes.txt").write_text("not a checkpoint")
    main([*SMALL, "--save-every", "8", "--out", str(tmp_path)])
    assert sorted(path.name for path in left.parent.iterdir()) == ["000000.pt", "000008.pt", "notes.txt"]


def test_a_negative_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--save-every: expected a number of updates"):
        main([*SMALL, "--save-every=-1", "--out", str(tmp_path)])

"""Runs that were stopped in their middle go on as if they had not been."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.fitting.test_training import CPU, tiny_config, tiny_split
from training.data.config import RunConfig
from training.data.splits import Split
from training.fitting import fit
from training.fitting.engine import Snapshot
from training.fitting.fit import train, train_together
from training.fitting.resume import NAME, forget_state, keep_state, kept_state
from training.fitting.run import Evaluation
from training.models.autoencoder import build_model


@pytest.fixture(autouse=True)
def _keep_after_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "KEEP_SECONDS", -1.0)


def interrupted(config: RunConfig, split: Split, folder: Path, after: int) -> list[Evaluation]:
    """The evaluations of a run that is killed after so many updates, and goes on from its file."""
    history: list[dict[str, Any]] = []
    found = []

    def keep(_: int, state: Snapshot) -> None:
        if state["run"]["updates"] == after:
            keep_state(folder, config, split, state, history)
            raise KeyboardInterrupt

    def until_killed() -> None:
        for evaluation in train(config, split, CPU, None, keep):
            history.append(evaluation.row)
            found.append(evaluation)

    with pytest.raises(KeyboardInterrupt):
        until_killed()
    start, before = kept_state(folder, config, split)
    assert start is not None
    assert before == [evaluation.row for evaluation in found]
    return [*found, *train(config, split, CPU, start)]


@pytest.mark.parametrize("after", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "loss": "l2-lamp", "augment": "flips"},
        {"optimizer": "rmsprop"},
        {"optimizer": "sgd", "lr": 1e-3, "evaluate": "log"},
    ],
    ids=lambda settings: settings["optimizer"],
)
def test_a_run_that_goes_on_is_the_run(settings: dict[str, Any], after: int, tmp_path: Path) -> None:
    config, split = tiny_config(epochs=3, **settings), tiny_split(10)
    whole, parts = list(train(config, split, CPU)), interrupted(config, split, tmp_path, after)
    assert [evaluation.row for evaluation in parts] == [evaluation.row for evaluation in whole]
    for name, tensor in whole[-1].checkpoint.buffers.items():
        torch.testing.assert_close(parts[-1].checkpoint.buffers[name], tensor, rtol=0, atol=0)
    assert parts[-1].checkpoint.digest == whole[-1].checkpoint.digest


def test_models_trained_one_after_the_other_go_on_too() -> None:
    # Two batch sizes do not fit into one stack.
    configs = [tiny_config(epochs=3, batch_size=size, seed=size) for size in (4, 5)]
    splits = [tiny_split(10), tiny_split(10)]
    states: dict[int, Snapshot] = {}
    whole = dict(train_together(configs, splits, CPU))

    def keep(number: int, state: Snapshot) -> None:
        states[number] = state
        if number == 1 and state["run"]["updates"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(train_together(configs, splits, CPU, (), keep))
    assert "optimizer" in states[0]["engine"]
    last = dict(train_together(configs, splits, CPU, [states[0], states[1]]))
    for number, expected in whole.items():
        assert isinstance(expected, Evaluation)
        assert isinstance(last[number], Evaluation)
        assert last[number].checkpoint.digest == expected.checkpoint.digest


def test_states_of_other_runs_and_damaged_files_are_left_alone(tmp_path: Path) -> None:
    config, split = tiny_config(), tiny_split()
    model = build_model(config)
    keep_state(tmp_path, config, split, {"engine": model.state_dict(), "run": {}}, [{"epoch": 1}])
    assert kept_state(tmp_path, config, split)[1] == [{"epoch": 1}]
    assert kept_state(tmp_path, tiny_config(seed=1), split) == (None, [])
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:1000])
    assert kept_state(tmp_path, config, split) == (None, [])
    forget_state(tmp_path)
    assert kept_state(tmp_path, config, split) == (None, [])
    assert list(tmp_path.iterdir()) == []


def test_commands_go_on_and_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.train import main

    options = ["--max-train", "100", "--width", "2", "--epochs", "3", "--threads", "1"]
    main([*options, "--out", str(tmp_path / "whole")])
    seen = []

    def stop(folder: Path, *rest: Any) -> None:
        keep_state(folder, *rest)
        seen.append(rest)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("training.fitting.resume.keep_state", stop)
    with pytest.raises(KeyboardInterrupt):
        main([*options, "--out", str(tmp_path / "killed")])
    monkeypatch.undo()
    assert (tmp_path / "killed" / NAME).is_file()
    main([*options, "--out", str(tmp_path / "killed")])
    assert not (tmp_path / "killed" / NAME).exists()
    names = ("history.csv", "scores.csv")
    assert all((tmp_path / "killed" / n).read_text() == (tmp_path / "whole" / n).read_text() for n in names)

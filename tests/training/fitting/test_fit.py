"""Runs that stop at a fit, and those that never reach it: in the loop, in files, in a sweep."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tolerance import steps_rounding
from tests.training.fitting.test_resume import interrupted
from tests.training.fitting.test_training import CPU, tiny_config, tiny_split
from training.data.config import LATER_FIELDS, RunConfig, resolve, told_apart_by, with_later_fields
from training.fitting import fit
from training.fitting.evaluation import mean_l2, train_l2
from training.fitting.fit import train, train_together
from training.fitting.results import is_complete, write_results
from training.fitting.run import LOOKS, Evaluation, Run
from training.models.autoencoder import build_model
from training.runtime.command import InputError
from training.sweeps.plan import PlannedRun, run_name
from training.sweeps.record import Records, State

#: 9 images in batches of 4: three updates an epoch, the last one ragged
PLAIN, SPLIT = tiny_config(epochs=4, lr=1e-2), tiny_split(9)


def curve(config: RunConfig) -> list[float]:
    """The common training L2 after each update, from trainings of the first updates anew."""
    values = []

    def visit(run: Run, model: Any) -> None:
        if run.updates:
            values.append(mean_l2(model().eval(), SPLIT.train))

    list(train(config, SPLIT, CPU, visit=visit))
    return values


def middle(config: RunConfig) -> tuple[float, int]:
    """A fit that is crossed in the middle of an epoch, and after how many updates."""
    values = curve(config)
    crossed = [i for i in range(1, len(values)) if values[i] < min(values[:i]) and (i + 1) % 3]
    return values[crossed[-1]], crossed[-1] + 1


@pytest.mark.parametrize("evaluate", ["epoch", "log"])
@pytest.mark.parametrize("rho", [0.0, 0.1, -0.1])
def test_a_run_stops_at_the_first_look_that_has_the_fit(rho: float, evaluate: Any) -> None:
    config = dataclasses.replace(PLAIN, sam_rho=rho, evaluate=evaluate)
    target, updates = middle(config)
    whole = list(train(config, SPLIT, CPU))
    stopped = list(train(dataclasses.replace(config, until_l2=target), SPLIT, CPU))
    last = stopped[-1]
    assert (last.row["updates"], last.row["epoch"]) == (updates, updates // 3)
    assert last.row["train_l2"] <= target
    assert last.checkpoint.metrics["stopped_at_fit"]
    assert not any(evaluation.checkpoint.metrics["stopped_at_fit"] for evaluation in (*whole, *stopped[:-1]))
    assert [e.row for e in stopped[:-1]] == [e.row for e in whole if e.row["updates"] < updates]


def test_a_run_that_never_has_the_fit_ends_as_usual() -> None:
    config = dataclasses.replace(PLAIN, until_l2=1e-9)
    *_, whole = train(PLAIN, SPLIT, CPU)
    *_, last = train(config, SPLIT, CPU)
    assert last.row == whole.row
    assert not last.checkpoint.metrics["stopped_at_fit"]
    assert is_complete(config, last.checkpoint.metrics)


@pytest.mark.usefixtures("double")
def test_a_model_of_a_stack_that_stops_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    split = tiny_split(9)
    monkeypatch.setattr("tests.training.fitting.test_fit.SPLIT", split)
    allowed = steps_rounding(PLAIN.lr, 12, terms=4 * 256)
    configs = [dataclasses.replace(PLAIN, seed=seed, sam_rho=rho) for seed, rho in enumerate((0.0, 0.1, -0.1))]
    target, updates = middle(configs[1])
    configs[1] = dataclasses.replace(configs[1], until_l2=target * (1 + 2 * allowed))
    together = dict(train_together(configs, [split] * 3, CPU))
    for number, config in enumerate(configs):
        *_, alone = train(config, split, CPU)
        found = together[number]
        assert isinstance(found, Evaluation)
        assert found.row["updates"] == alone.row["updates"] == (updates if number == 1 else 12)
        assert found.row["train_l2"] == pytest.approx(alone.row["train_l2"], rel=allowed)


@pytest.mark.parametrize(("count", "looks"), [(9, 3), (40, 10), (100, 10), (4 * 33 - 1, 10)])
def test_looks_are_ten_an_epoch_and_the_last_at_its_end(count: int, looks: int) -> None:
    run = Run(tiny_config(epochs=2, until_l2=1e-9), tiny_split(count), CPU)
    at = []
    model = build_model(run.config)
    for update in range(1, 2 * run.steps + 1):
        run.updates = update
        run.look(lambda update=update: at.append(update) or model)
    assert LOOKS == 10
    assert len(at) == 2 * looks
    assert run.steps in at
    assert 2 * run.steps in at
    assert max(b - a for a, b in itertools.pairwise(at)) <= -(-run.steps // LOOKS)


def test_the_fit_of_a_classifier_is_that_of_its_evaluation() -> None:
    from training.data.splits import load_split

    config = resolve(RunConfig(task="classify", max_train=200, width=2, epochs=2))
    split = load_split(config, None)
    *_, whole = train(config, split, CPU)
    model = build_model(config)
    model.load_state_dict({**whole.checkpoint.params, **whole.checkpoint.buffers})
    assert train_l2(model, config, split) == whole.row["train_l2"]
    *_, last = train(dataclasses.replace(config, until_l2=10.0), split, CPU)
    assert (last.row["updates"], last.checkpoint.metrics["stopped_at_fit"]) == (1, True)


@pytest.mark.parametrize("after", [1, 4])
def test_a_run_stopped_in_its_middle_stops_at_the_same_fit(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "KEEP_SECONDS", -1.0)
    target, updates = middle(PLAIN)
    assert updates > after
    config = dataclasses.replace(PLAIN, until_l2=target)
    *_, whole = train(config, SPLIT, CPU)
    parts = interrupted(config, SPLIT, tmp_path, after)
    assert parts[-1].checkpoint.digest == whole.checkpoint.digest
    assert parts[-1].checkpoint.metrics["stopped_at_fit"]


def test_records_and_trained_folders_know_a_run_that_stopped(tmp_path: Path) -> None:
    from training.train import already_trained

    target, _ = middle(PLAIN)
    config = dataclasses.replace(PLAIN, until_l2=target)
    run = PlannedRun(run_name(config), config)
    history = []
    for evaluation in train(config, SPLIT, CPU):
        history.append(evaluation.row)
        (tmp_path / run.name).mkdir(exist_ok=True)
        write_results(tmp_path / run.name, evaluation, history, SPLIT)
        done = evaluation.checkpoint.metrics["stopped_at_fit"]
        assert Records(tmp_path, [run]).state(run) is (State.DONE if done else State.LEFT)
        assert already_trained(tmp_path / run.name / "checkpoint.pt", config, SPLIT) == done
    assert done
    assert json.loads((tmp_path / run.name / "metrics.json").read_text())["stopped_at_fit"] is True


def test_a_sweep_ends_its_runs_at_their_fit(tmp_path: Path) -> None:
    import csv

    from training.sweep import main

    plan = (
        "max_train = 100",
        "width = 2",
        "epochs = 2",
        "batch_size = 20",
        "sam_rho = [0, 0.1, -0.1]",
        "until_l2 = 1e3",
    )
    (tmp_path / "plan.toml").write_text("\n".join(["[all]", *plan]))
    for _ in range(2):  # the second time all are done
        main([str(tmp_path / "plan.toml"), "--out", str(tmp_path / "out")])
        with (tmp_path / "out" / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["sam_rho"], row["status"], row["updates"]) for row in rows] == [
            (rho, "done", "1") for rho in ("0.0", "0.1", "-0.1")
        ]
        assert all(float(row["train_l2"]) <= 1000 for row in rows)
    assert "sam_rho=-0.1" in rows[2]["run"]


def test_configs_from_before_these_fields_keep_their_digest_and_name() -> None:
    config = resolve(RunConfig(loss="l2-lamp"))
    old = {name: value for name, value in vars(config).items() if name not in LATER_FIELDS}
    assert told_apart_by(config) == old
    assert with_later_fields(old) == vars(config)
    assert not set(LATER_FIELDS) & {part.split("=")[0] for part in run_name(config).split(",")}
    other = dataclasses.replace(config, sam_rho=-0.1)
    assert told_apart_by(other) == {**old, "sam_rho": -0.1}


@pytest.mark.parametrize("change", [{"until_l2": -1.0}, {"until_l2": float("inf")}, {"sam_rho": float("nan")}])
def test_values_that_cannot_be_trained_with_are_refused(change: dict[str, float]) -> None:
    name = "--" + next(iter(change)).replace("_", "-")
    with pytest.raises(InputError, match=f"{name}: expected"):
        resolve(RunConfig(**change))


@pytest.mark.parametrize("batch_size", [4, 48])
def test_a_run_is_the_same_to_the_bit_with_any_number_of_threads(batch_size: int) -> None:
    threads, digests = torch.get_num_threads(), set()
    config = tiny_config(batch_size=batch_size, epochs=2, loss="l2-lamp", width=8)
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            *_, last = train(config, tiny_split(100), CPU)
            digests.add((last.checkpoint.digest, last.row["auroc"], last.row["train_l2"]))
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1

"""Sweeps' files: products, names, and what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from training.data.config import RunConfig, resolve
from training.runtime.command import InputError
from training.sweeps.plan import plan, read_plan, run_name, stacks


def grid(**settings: Any) -> dict[str, Any]:
    return {"all": {"epochs": 2}, "grid": [settings]}


def test_a_grid_is_the_product_of_its_lists_in_order() -> None:
    runs = plan(grid(normal=[3, 4], loss=["l2", "l2-lamp"], lr=1), "x")
    assert [(run.config.normal, run.config.loss) for run in runs] == [
        (3, "l2"),
        (3, "l2-lamp"),
        (4, "l2"),
        (4, "l2-lamp"),
    ]
    assert all(run.config.epochs == 2 and run.config.lr == 1.0 and type(run.config.lr) is float for run in runs)
    assert all(run.config == resolve(run.config) for run in runs)


def test_grids_add_up_and_override_what_is_common() -> None:
    runs = plan({"all": {"epochs": 2, "seed": 1}, "grid": [{"normal": 1}, {"normal": 2, "epochs": 3}]}, "x")
    assert [(run.config.normal, run.config.epochs, run.config.seed) for run in runs] == [(1, 2, 1), (2, 3, 1)]


def test_names_do_not_depend_on_the_rest_of_the_sweep() -> None:
    small, large = plan(grid(normal=3), "x"), plan(grid(normal=[3, 4], seed=[0, 1]), "x")
    assert small[0].name == large[0].name
    assert len({run.name for run in large}) == 4


def test_names_hold_what_tells_runs_apart() -> None:
    config = resolve(RunConfig(dataset="mnist", loss="l2-lamp", lamp_scale="sample", lr=3e-4))
    assert "lamp_scale=sample" in run_name(config)
    assert "lr=0.0003" in run_name(config)
    assert "/" not in run_name(
        resolve(RunConfig(dataset="folder", train_dir="/a/b", test_normal_dir="c", test_anomalous_dir="d"))
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grids": []}, r"expected the tables \[all\] and \[\[grid\]\], found grids"),
        (grid(colour=1), "grid 1: expected settings among dataset, .*, found 'colour'"),
        (grid(epochs="many"), "expected a whole number for epochs, found 'many'"),
        (grid(lr=True), "expected a number for lr, found True"),
        (grid(lamp_detach=1), "expected true or false for lamp_detach, found 1"),
        (grid(loss=["l2", "l3"]), "expected one of l2, .* for loss, found 'l3'"),
        (grid(seed=[]), "expected one or more values of seed, found an empty list"),
        (grid(normal=[1, 1]), "expected each run once, found .*normal=1.* again"),
        (grid(normal=11), "grid 1: --normal: expected a digit from 0 to 9, found 11"),
        ({"grid": [3]}, r"expected a table \[\[grid\]\], found 3"),
    ],
)
def test_what_is_wrong_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(content, "x")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a sweep's TOML file, found none"):
        read_plan(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match="expected TOML, found an error"):
        read_plan(tmp_path / "bad.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").rglob("*.toml")), ids=lambda path: path.name)
def test_the_shipped_sweeps_can_be_read(path: Path) -> None:
    assert read_plan(path)


def test_stacks_keep_the_order_and_their_size() -> None:
    runs = plan(grid(normal=list(range(7))), "x")
    keys = ["a", "b", "a", None, "a", "b", None]
    numbers = [[run.config.normal for run in group] for group in stacks(runs, keys, 2)]
    assert numbers == [[0, 2], [1, 5], [3], [4], [6]]


def test_settings_given_beside_the_file_take_the_place_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[all]\ndataset = "mnist-mini"\nepochs = 2\n[[grid]]\nseed = [0, 1]\nloss = ["l2", "l2-lamp"]\n')
    runs = read_plan(path, ["seed=[4, 5, 6]", "epochs=7", "loss=l1", "normal = 3"])
    assert [(run.config.seed, run.config.epochs, run.config.loss) for run in runs] == [(s, 7, "l1") for s in (4, 5, 6)]
    assert {run.config.normal for run in runs} == {3}
    for change in ("epoch=2", "epochs"):
        with pytest.raises(InputError, match=f"--set {change}: expected name=value with a setting"):
            read_plan(path, [change])
    with pytest.raises(InputError, match=r"epochs.*'many'"):
        read_plan(path, ["epochs=many"])

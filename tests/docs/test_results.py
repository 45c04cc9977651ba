"""The committed results: tables are what their files give, and a cheap row of each is what training gives again."""

import csv
import dataclasses
import importlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.sweeps.cost import estimated_seconds
from training.sweeps.plan import config_from_text

RESULTS = ROOT / "results"
#: Other machines round otherwise, and training amplifies that to less than what another seed does, which begins
#: elsewhere: two seeds are √2 SD apart, twice that at most in 19 of 20, and half of all SD of two are below 0.67 of it.
SPREADS = 2 * 2**0.5 / 0.67


def sweeps() -> list[Path]:
    """The results files that are a row a run."""
    return [path for path in sorted(RESULTS.glob("*.csv")) if "status" in header(path) and "digest" in header(path)]


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def done_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["status"] == "done"]


def spread_over_seeds(path: Path, name: str, relative: bool) -> float:
    """Median over the settings of a sweep of the standard deviation of `name` over seeds; NaN if each has one seed."""
    groups: dict[RunConfig, list[float]] = {}
    for row in done_rows(path):
        if row.get(name):
            settings = dataclasses.replace(config_from_text(row), seed=0)
            groups.setdefault(settings, []).append(float(row[name]))
    several = [np.array(values) for values in groups.values() if len(values) > 1]
    return float(np.median([v.std(ddof=1) / (v.mean() if relative else 1) for v in several] or [np.nan]))


def allowed(path: Path, name: str, relative: bool = True) -> float:
    """How far a row may be from what training gives again; of a sweep with one seed, as of the others."""
    own = spread_over_seeds(path, name, relative)
    others = [spread_over_seeds(other, name, relative) for other in sweeps()]
    return SPREADS * (float(np.nanmedian(others)) if np.isnan(own) else own)


def commands() -> list[str]:
    """The commands of results/README.md that make tables from the files there."""
    blocks = re.findall(r"```sh\n(.*?)```", (RESULTS / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python -m ")]


def test_there_are_results_to_check() -> None:
    assert sweeps()
    assert commands()


def test_rows_hold_configs_that_can_be_trained() -> None:
    for path in sweeps():
        for row in done_rows(path):
            config = config_from_text(row)
            assert resolve(config) == config
            assert 0 <= float(row["auroc"] or row["accuracy"]) <= 1


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.split("--out ")[-1])
def test_tables_are_made_again(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shutil.copytree(RESULTS, tmp_path / "results")
    _, _, name, *arguments = shlex.split(command)  # python -m name …
    out = arguments[arguments.index("--out") + 1]
    (tmp_path / out).unlink()
    arguments = [str(tmp_path / word) if word.startswith("results/") else word for word in arguments]
    importlib.import_module(name).main(arguments)
    assert (tmp_path / out).read_text() == (ROOT / out).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", sweeps(), ids=lambda path: path.name)
def test_a_cheap_row_is_trained_again(path: Path, data_dir: str) -> None:
    import torch

    from training.fitting.fit import train

    torch.set_num_threads(2)
    row = min(done_rows(path), key=lambda row: estimated_seconds(config_from_text(row)))
    config = config_from_text(row)
    *_, last = train(config, load_split(config, data_dir), torch.device("cpu"))
    measured = last.checkpoint.metrics
    assert measured["train_l2"] == pytest.approx(float(row["train_l2"]), rel=allowed(path, "train_l2"))
    name = "auroc" if row["auroc"] else "accuracy"
    assert measured[name] == pytest.approx(float(row[name]), abs=allowed(path, name, relative=False))
    assert last.checkpoint.data_digest == row["data_digest"]


@pytest.mark.slow
def test_the_sharpness_of_a_cheap_row_is_measured_again(tmp_path: Path, data_dir: str) -> None:
    import torch

    from analysis.measures.measuring import measure
    from analysis.measures.settings import Settings
    from landscape.sources import from_checkpoint
    from training.fitting.checkpoint import save_checkpoint
    from training.fitting.fit import train

    torch.set_num_threads(2)
    path = RESULTS / "twins.csv"
    row = min(done_rows(path), key=lambda row: estimated_seconds(config_from_text(row)))
    config, settings = config_from_text(row), Settings()
    *_, last = train(config, load_split(config, data_dir), torch.device("cpu"))
    save_checkpoint(last.checkpoint, tmp_path / "checkpoint.pt")
    problem = from_checkpoint(tmp_path / "checkpoint.pt", data_dir, max(settings.images, settings.test_images))
    measures = measure(problem, settings, torch.device("cpu")).measures
    for name in ("half_curvature@l2", "delta_large@l2", "ratio_large@l2", "trace@l2"):
        assert measures[name] == pytest.approx(float(row[name]), rel=allowed(path, name)), name


def test_a_config_is_read_back_from_its_text() -> None:
    config = resolve(RunConfig(loss="l2-lamp", lamp_detach=True, lr=3e-4, validation=0.1))
    assert config_from_text({name: str(value) for name, value in vars(config).items()}) == config
    assert {field.name for field in dataclasses.fields(RunConfig)} == set(vars(config))

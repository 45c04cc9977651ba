"""docs/extending.md: its examples run as they stand, and what they add is used where the page says."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

import analysis.measures.catalogue
import analysis.measures.measuring
import landscape.directions.normalization
import landscape.directions.planes
import landscape.engine.metrics
import training.data.config
import training.data.splits
import training.models.autoencoder
import training.models.losses
from analysis.measures.settings import Settings
from landscape.api import compute
from landscape.directions.options import PlaneOptions
from tests.conftest import ROOT
from tests.problems import quadratic, quadratic_form
from training.data.config import RunConfig, resolve
from training.data.splits import load_split
from training.fitting.engine import Separate, make_engine
from training.fitting.run import Batch
from training.models.losses import Lamp, per_sample_loss
from training.runtime.device import choose_device

PAGE = (ROOT / "docs" / "extending.md").read_text()
EXAMPLES = dict(re.findall(r"^```python (\w+)\n(.*?)^```", PAGE, re.M | re.S))
DICTS = (
    (training.models.losses, "BASES"),
    (training.models.losses, "LOSSES"),
    (training.models.autoencoder, "MODELS"),
    (training.data.splits, "DATASETS"),
    (landscape.engine.metrics, "METRICS"),
    (landscape.directions.normalization, "NORMALIZATIONS"),
    (landscape.directions.planes, "PLANES"),
    (analysis.measures.catalogue, "MEASURES"),
    (analysis.measures.measuring, "GROUPS"),
)


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example adds to a dict is taken out again: the dicts are copies while a test runs."""
    for module, name in DICTS:
        monkeypatch.setattr(module, name, dict(getattr(module, name)))


def example(name: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": f"example_{name}"}
    exec(compile(EXAMPLES[name], f"{name}.py", "exec"), space)
    return space


def test_every_dict_and_name_of_the_table_is_where_it_says() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (`.*?`) \| `(.*?)` \|(.*)\|$", PAGE, re.M)
    assert len(rows) == 8
    for _, names, path, also in rows:
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for name in re.findall(r"`(\w+)`", names):
            assert isinstance(getattr(module, name), dict), name
        for listed, where in re.findall(r"`(\w+Name)`, `([\w/]+\.py)`", also):
            assert f"{listed} = Literal" in (ROOT / where).read_text()
        assert all((ROOT / where).is_file() for where in re.findall(r"`([\w/]+\.py)`", also))


def test_the_literals_list_the_dicts() -> None:
    for literal, choices in (
        (training.data.config.LossName, training.models.losses.LOSSES),
        (training.data.config.ModelName, training.models.autoencoder.MODELS),
        (training.data.config.DatasetName, training.data.splits.DATASETS),
    ):
        assert set(get_args(literal)) == set(choices)


def test_a_loss() -> None:
    example("loss")
    output, target = torch.rand(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    expected = (np.sqrt(1 + (target - output).numpy() ** 2) - 1).sum((1, 2, 3))
    np.testing.assert_allclose(per_sample_loss("huber", Lamp())(output, target).numpy(), expected, rtol=1e-12)
    assert per_sample_loss("huber-lamp", Lamp())(output, target).shape == (3,)


def test_a_model_that_is_trained_beside_others() -> None:
    example("model")
    config = resolve(RunConfig(model="dense", width=3))  # type: ignore[arg-type]
    engine = make_engine([config, config], torch.device("cpu"))
    assert isinstance(engine, Separate)
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    before = [parameter.clone() for parameter in engine.model(0).parameters()]
    engine.step(2 * [Batch(images, images)])
    assert all(not torch.equal(a, b) for a, b in zip(before, engine.model(0).parameters(), strict=True))
    assert engine.model(0)(images).shape == images.shape


def test_a_data_set() -> None:
    example("dataset")
    config = RunConfig(dataset="stripes", image_size=16, channels=1, depth=4)  # type: ignore[arg-type]
    split = load_split(config, None)
    assert split.train.shape == (8, 1, 16, 16)
    assert split.labels.tolist() == [False, True]
    torch.testing.assert_close(split.test[1, 0], split.test[0, 0].T)


def test_a_metric() -> None:
    example("metric")
    problem = quadratic()
    grid = compute(problem, x="-1:1:3", metrics="worst,l2", threads=1)
    x, t = (part.numpy() for part in problem.sets["train"])
    errors = np.abs(x @ problem.model.weight.detach().numpy().T - t).max(1)
    assert grid.values["worst"][0, 0, 1] == pytest.approx(errors.mean())
    assert grid.stderr["worst"][0, 0, 1] == pytest.approx(errors.std(ddof=1) / len(errors) ** 0.5)


def test_a_normalization() -> None:
    example("normalization")
    grid = compute(quadratic(), x="-1:1:3", normalization="unit", threads=1)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.linalg.norm(grid.directions["0/x/weight"], axis=1), 1)


def test_a_kind_of_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    example("plane")
    monkeypatch.setattr(PlaneOptions, "kind", "steepest")
    monkeypatch.setattr("landscape.directions.options.DEFAULT_AXES", {"steepest": ("-1:1:51", "")})
    problem = quadratic()
    grid = compute(problem, x="-0.001:0.001:3", threads=1)
    left, _, right = grid.values["l2"][0, 0]
    direction = grid.directions["0/x/weight"]
    _, slope, _ = quadratic_form(problem, direction)
    assert (right - left) / 0.002 == pytest.approx(slope)
    steps = np.random.default_rng(0).normal(size=(100, *direction.shape))
    slopes = [quadratic_form(problem, step / np.linalg.norm(step))[1] for step in steps]
    assert slope > max(slopes)
    assert grid.meta["plane"]["kind"] == "steepest"


def test_a_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    space = example("measure")
    monkeypatch.setattr(analysis.measures.measuring, "GROUPS", {"gradient": space["GROUPS"]["gradient"]})
    problem = quadratic()
    found = analysis.measures.measuring.measure(problem, Settings(losses=("l2",)), choose_device("cpu"))
    entries = [np.eye(1, 15, i).reshape(3, 5) for i in range(15)]
    gradient = [quadratic_form(problem, entry)[1] for entry in entries]
    assert found.measures["gradient_norm@l2"] == pytest.approx(np.linalg.norm(gradient))


def test_examples_are_typed_as_they_claim() -> None:
    """Each function of an example has annotations, as the code base's own have."""
    assert len(EXAMPLES) == 7
    for text in EXAMPLES.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.returns is not None
                assert all(argument.annotation for argument in node.args.args)


def test_the_page_links_to_files_that_exist() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert Path(ROOT / "CONTRIBUTING.md").is_file()

"""Figures from analysis.sharpness' JSON files: bands over directions and spectral densities."""

import json
from pathlib import Path

import numpy as np
import pytest

from figures import bands, density
from figures.parts.curves import Bands, Density, read_bands, read_density
from training.runtime.command import InputError, command

pytestmark = pytest.mark.filterwarnings("error")


def write_model(path: Path, name: str = "model", curvature: float = 2.0, **parts: object) -> Path:
    """Growth curvature·(1 + 0.1·k)·r² along direction k; a density with a peak at 0 and one at 100·curvature."""
    radii = [0.0, 0.5, 1.0]
    delta = [[curvature * (1 + 0.1 * k) * r * r for r in radii] for k in range(5)]
    grid = np.linspace(-20, 300 * curvature, 400)
    heights = np.exp(-((grid / 5) ** 2)) + 1e-4 * np.exp(-(((grid - 100 * curvature) / 5) ** 2))
    content = {
        "name": name,
        "directional": {"l2": {"radii": radii, "delta": delta, "base": 4.0}},
        "density": {"l2": {"grid": grid.tolist(), "density": heights.tolist(), "nodes": [[0]], "weights": [[1]]}},
    }
    path.write_text(json.dumps(content | parts))
    return path


def test_lines_are_means_and_bands_quantiles_over_directions(tmp_path: Path) -> None:
    models = [read_bands(write_model(tmp_path / f"{c}.json", f"m{c}", c), "l2") for c in (2.0, 3.0)]
    figure = bands.draw(models, share=0.5)
    left, right = figure.axes
    for line, ratio, model in zip(left.get_lines(), right.get_lines(), models, strict=True):
        np.testing.assert_allclose(line.get_ydata(), model.delta.mean(axis=0))
        np.testing.assert_allclose(ratio.get_ydata(), 1 + model.delta.mean(axis=0) / 4)
    edges = left.collections[0].get_paths()[0].vertices
    at_one = edges[edges[:, 0] == 1.0, 1]
    low, high = np.quantile(models[0].delta[:, 2], (0.25, 0.75))
    assert (at_one.min(), at_one.max()) == pytest.approx((low, high))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["m2.0 (5 directions)", "m3.0 (5 directions)"]
    assert left.get_ylabel() == "growth ΔL of the L2 loss"


def test_radii_are_put_in_order_and_diverged_directions_left_out() -> None:
    delta = np.array([[9.0, 1.0, np.inf], [7.0, 3.0, np.nan]])
    left, _ = bands.draw([Bands("m", np.array([1.0, 0.5, 2.0]), delta, 1.0)]).axes
    x, y = left.get_lines()[0].get_data()
    np.testing.assert_array_equal(x, [0.5, 1, 2])
    np.testing.assert_array_equal(y, [2, 8, np.nan])


def test_a_log_axis_begins_at_the_least_growth() -> None:
    """ΔL of 0 at the model, or below 0 beside it, is outside."""
    delta = np.array([[-0.5, 0.0, 2.0], [0.1, 0.0, 4.0]])
    left, right = bands.draw([Bands("m", np.array([0.0, 0.5, 1.0]), delta, 1.0)], scale="log").axes
    assert left.get_yscale() == right.get_yscale() == "log"
    assert left.get_ylim()[0] == 1.5  # half of the mean that is positive


def test_densities_are_drawn_on_a_log_axis_where_they_are_seen(tmp_path: Path) -> None:
    models = [read_density(write_model(tmp_path / f"{c}.json", f"m{c}", c), "l2") for c in (2.0, 3.0)]
    (ax,) = density.draw(models, decades=8).axes
    assert ax.get_yscale() == "log"
    for line, model in zip(ax.get_lines(), models, strict=False):
        np.testing.assert_array_equal(line.get_xdata(), model.grid)
        shown = line.get_ydata()
        np.testing.assert_array_equal(shown, np.where(model.density > 0, model.density, np.nan))
    low, high = ax.get_xlim()
    assert low < -10
    assert 300 < high < 400  # to the last peak, not to the end of the grid at 900
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["m2.0", "m3.0"]
    with pytest.raises(InputError, match="expected a density that is positive somewhere"):
        density.draw([Density("m", np.arange(3.0), np.zeros(3))])


@pytest.mark.parametrize("module", [bands, density])
def test_commands(module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(write_model(tmp_path / f"{c}.json", "", c)) for c in (1, 2, 3, 4, 5)]
    out = tmp_path / "deep" / "f.png"
    module.main([*files, "--names", *"abcde", "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n"
    assert out.stat().st_size > 5000


@pytest.mark.parametrize("module", [bands, density])
def test_bad_input_is_one_line(module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, out = write_model(tmp_path / "good.json"), tmp_path / "f.png"
    (tmp_path / "text.json").write_text("no JSON")
    (tmp_path / "empty.json").write_text("{}")
    broken = write_model(
        tmp_path / "broken.json",
        directional={"l2": {"radii": [0, 1], "delta": [[0, 1, 2]], "base": 1}},
        density={"l2": {"grid": [0, 1], "density": [1, 2, 3]}},
    )
    ragged = write_model(
        tmp_path / "ragged.json",
        directional={"l2": {"radii": [0, 1], "delta": [[0, 1], [0]], "base": 1}},
        density={"l2": {"grid": "none", "density": [1, 2, 3]}},
    )
    name = "directional" if module is bands else "density"
    cases = {
        (tmp_path / "absent.json",): "absent.json: expected what analysis.sharpness writes as JSON",
        (tmp_path / "text.json",): "text.json: expected what analysis.sharpness writes as JSON",
        (tmp_path / "empty.json",): f"expected a part '{name}', found none",
        (good, "--loss", "own"): f"expected {name} of a loss among l2, found no own",
        (good, "--names", "a", "b"): "--names: expected a name for each of 1 files, found 2",
        (broken,): "found 3",
        (ragged,): "expected delta as numbers in 2" if module is bands else "expected grid as numbers in 1",
        (good,) * 13: "files: expected 1 to 12",
        (good, *(("--share", "2") if module is bands else ("--decades", "0"))): "above 0, at most",
    }
    for words, message in cases.items():
        assert command(module.main)([*map(str, words), "--out", str(out)]) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert len(shown.err.splitlines()) == 1
    assert not out.exists()

"""Figures of the relation: what is drawn is what was computed; what is refused."""

from pathlib import Path

import numpy as np
import pytest

from analysis import compare, relate
from analysis.relation.measured import read_checkpoints
from analysis.relation.relations import read_relations
from figures.parts.forest import Effect, draw_forest, read_effects, sharper_up, within_reach
from figures.parts.heatmap import draw_heatmap, excludes_zero, read_cells
from figures.relation import draw_scatter, main
from tests.made_measures import MEASURES, design, write_measures
from training.runtime.command import InputError, command

NAN = float("nan")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_measures(tmp_path / "s.csv", MEASURES, design(digits=range(5)))


def points(ax) -> np.ndarray:
    """All points of the error bars on `ax`, sorted."""
    lines = [container.lines[0] for container in ax.containers]
    return np.array(sorted((x, y) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)))


def test_scatter_shows_every_checkpoint_as_it_is_and_centred(results: Path) -> None:
    data = read_checkpoints(results)
    figure = draw_scatter(data, "half_curvature@l2", resamples=200)
    left, right = figure.axes
    x, y = data.values["half_curvature@l2"], data.values["auroc"]
    np.testing.assert_allclose(points(left), sorted(zip(x, y, strict=True)))
    assert left.get_xscale() == "log"
    tasks = data.task_codes()
    centre = np.array([[np.log10(x)[tasks == task].mean(), y[tasks == task].mean()] for task in range(5)])[tasks]
    truth = np.array(sorted(np.stack([np.log10(x), y], axis=1) - centre, key=tuple))
    np.testing.assert_allclose(points(right), truth, atol=1e-12)
    assert len(left.containers) == 2 * 3  # losses × batch sizes
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["L2", "L2-LAMP", "batch 32", "batch 128", "batch 512"]


def test_scatter_has_the_bars_and_the_coefficients_of_relate(results: Path) -> None:
    figure = draw_scatter(read_checkpoints(results), "half_curvature@l2", resamples=200)
    out = results.with_name("r.csv")
    relate.main([str(results), "--resamples", "200", "--permutations", "99", "--out", str(out)])
    found = {(row.measure, row.statistic): row for row in read_relations(out)}
    for ax, statistic in zip(figure.axes, ("spearman", "spearman_within"), strict=True):
        row = found["half_curvature@l2", statistic]
        text = f"Spearman {row.value:+.2f} [{row.low:+.2f}, {row.high:+.2f}]".replace("-", "−")
        assert ax.get_title().endswith(text)
    left, right = figure.axes
    lines, _, bars = left.containers[0].lines
    for x, y, across, along in zip(*lines.get_data(), *(bar.get_segments() for bar in bars), strict=True):
        np.testing.assert_allclose(across, [[x - 0.5, y], [x + 0.5, y]])  # the standard error
        np.testing.assert_allclose(along, [[x, y - 0.01], [x, y + 0.01]])  # the interval of AUROC
    assert not right.containers[0].has_xerr


def test_scatter_leaves_out_infinite_values_and_says_how_many(tmp_path: Path) -> None:
    measures = {
        "radius@l2": lambda cell, g: np.inf if cell["quality"] > 1 else np.exp(cell["quality"] + g.normal()),
        "radius@l2:stderr": lambda cell, g: "" if cell["quality"] > 1 else 0.1,
    }
    path = write_measures(tmp_path / "r.csv", measures, design(digits=range(5)))
    data, out = read_checkpoints(path), tmp_path / "long.csv"
    endless = int(np.isinf(data.values["radius@l2"]).sum())
    assert endless > 3
    figure = draw_scatter(data, "radius@l2", resamples=200)
    assert len(points(figure.axes[0])) == len(points(figure.axes[1])) == 90 - endless
    assert figure.legends[0].get_title().get_text().startswith(f"{endless} infinite not drawn")
    relate.main([str(path), "--resamples", "200", "--permutations", "99", "--out", str(out)])
    pooled = next(row for row in read_relations(out) if row.statistic == "spearman")
    assert (
        figure.axes[0]
        .get_title()
        .endswith(f"Spearman {pooled.value:+.2f} [{pooled.low:+.2f}, {pooled.high:+.2f}]".replace("-", "−"))
    )
    figure.savefig(tmp_path / "f.png")
    assert draw_heatmap(*read_cells(out, [])).axes[0].images[0].get_array().shape[0] == 1


def test_scatter_of_a_measure_that_is_negative_somewhere_is_linear(results: Path) -> None:
    figure = draw_scatter(read_checkpoints(results), "lambda_min@l2", resamples=100)
    assert figure.axes[0].get_xscale() == "linear"
    with pytest.raises(InputError, match="expected a measure with different values, found that it is the same for all"):
        draw_scatter(read_checkpoints(results), "constant@l2")


def test_heatmap_prints_every_value_and_marks_those_apart_from_zero(results: Path) -> None:
    out = results.with_name("r.csv")
    relate.main([str(results), "--resamples", "100", "--permutations", "99", "--out", str(out)])
    measures, statistics, cells = read_cells(out, ["trace@l2", "half_curvature@l2", "constant@l2"], up=False)
    assert measures == ["half_curvature@l2", "trace@l2", "constant@l2"]
    ax = draw_heatmap(measures, statistics, cells).axes[0]
    image = ax.images[0]
    assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
    np.testing.assert_array_equal(image.get_array().filled(NAN), cells[..., 0])
    texts = np.array([text.get_text() for text in ax.texts]).reshape(cells.shape[:2])
    found = {(row.measure, row.statistic): row for row in read_relations(out)}
    for i, measure in enumerate(measures):
        for j, statistic in enumerate(statistics):
            row = found[measure, statistic]
            if np.isnan(row.value):
                assert texts[i, j] == "—"
            else:
                assert float(texts[i, j].rstrip("*").replace("−", "-")) == pytest.approx(row.value, abs=0.0051)
                assert texts[i, j].endswith("*") == (row.low > 0 or row.high < 0)
    assert texts[0, statistics.index("spearman_within")].endswith("*")
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert columns[statistics.index("spearman_within_loss")] == "Spearman\ndigit, loss"
    assert set(texts[2]) == {"—"}
    assert [label.get_text() for label in ax.get_yticklabels()] == measures


def test_up_means_sharper_in_the_heat_map(results: Path) -> None:
    out = results.with_name("r.csv")
    relate.main([str(results), "--resamples", "100", "--permutations", "99", "--out", str(out)])
    kept, turned = read_cells(out, ["lambda_min", "trace"], up=False), read_cells(out, ["lambda_min", "trace"])
    assert kept[0] == ["trace@l2", "lambda_min@l2"]
    assert turned[0] == ["trace@l2", "−lambda_min@l2"]
    np.testing.assert_array_equal(turned[2][0], kept[2][0])
    np.testing.assert_array_equal(turned[2][1], -kept[2][1][:, [0, 2, 1]])
    bar = draw_heatmap(*turned).axes[1]
    assert bar.get_ylabel() == "correlation with AUROC, up: sharper detects better"


def test_the_forest_turns_signs_and_keeps_wide_bounds_from_the_axis() -> None:
    effect = Effect("radius_double@l2", (2.0, 1.5, 4.0), (1.0, 0.5, 2.0))
    assert sharper_up(effect) == Effect("−radius_double@l2", (0.5, 0.25, 1 / 1.5), (-1.0, -2.0, -0.5))
    wide = [Effect("a@l2", (2, 1e-9, 1e9), (1, -5, 7)), Effect("b@l2", (1.5, 1.2, np.inf), (1, 0, 2))]
    assert within_reach([one.ratio for one in wide]) == [2, 1.5, 1.2]
    left = draw_forest(wide).axes[0]
    assert 0.5 < left.get_xlim()[0] < left.get_xlim()[1] < 3


def test_intervals_that_exclude_zero() -> None:
    cells = np.array([[0.3, 0.1, 0.5], [0.3, -0.1, 0.5], [-0.3, -0.5, -0.1], [0.3, NAN, NAN]])
    np.testing.assert_array_equal(excludes_zero(cells), [True, False, True, False])


def test_forest_draws_a_line_a_measure() -> None:
    nothing = (NAN, NAN, NAN)
    effects = [Effect("a@l2", (2, 1.5, 3), (1, 0.5, 2)), Effect("b@l2", nothing, (0.1, -0.3, 0.5))]
    left, right = draw_forest(effects, ("plain", "SAM")).axes
    assert left.get_xscale() == "log"
    assert left.get_xlabel() == "ratio of geometric means, SAM / plain"
    assert [text.get_text() for text in left.texts] == ["none"]
    spans = [line for line in right.get_lines() if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.2]
    assert [tuple(line.get_xdata()) for line in spans] == [(0.5, 2), (-0.3, 0.5)]
    assert [tuple(line.get_ydata()) for line in spans] == [(0, 0), (1, 1)]
    assert spans[0].get_color() != spans[1].get_color()  # one excludes 0
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first measure is above


def test_commands_and_bad_input(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relations, differences, out = (results.with_name(name) for name in ("r.csv", "c.csv", "f.png"))
    relate.main([str(results), "--resamples", "100", "--permutations", "99", "--out", str(relations)])
    compare.main([str(results), "--a", "loss=l2", "--b", "loss=l2-lamp", "--out", str(differences)])
    assert [effect.measure for effect in read_effects(differences, ["trace@l2"])] == ["trace@l2"]
    for words in (
        ("scatter", results, "--measure", "trace@l2", "--where", "normal!=1", "--resamples", "100"),
        ("heatmap", relations),
        ("pairs", differences, "--names", "plain", "LAMP"),
    ):
        capsys.readouterr()
        main([*map(str, words), "--out", str(out)])
        assert capsys.readouterr().out == f"{out}\n"
        assert out.stat().st_size > 5000
        out.unlink()
    cases = {
        ("scatter", results, "--measure", "half_curvature"): "expected the name of one measure, found several",
        ("scatter", results, "--measure", "area"): "area: expected names among",
        ("scatter", results, "--measure", "trace@l2", "--resamples", "1"): "--resamples: expected at least 100",
        ("heatmap", differences): "expected what analysis.relate writes with --out x.csv, found no column statistic",
        ("heatmap", relations, "--measures", "area"): "--measures area: expected names among",
        ("pairs", relations): "expected what analysis.compare writes with --out x.csv, found no column pairs",
        ("pairs", differences, "--measures", "area"): "--measures area: expected names among",
    }
    for words, message in cases.items():
        assert command(main)([*map(str, words), "--out", str(out)]) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert len(shown.err.splitlines()) == 1
    assert not out.exists()

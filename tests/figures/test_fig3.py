"""Figure 3: models in the cells of their own loss and batch size, levels shared or not, scores under the panels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from PIL import Image

from figures import fig1, fig3
from figures.parts.captions import score_text
from landscape.files.grid import Grid, empty_grid, parse_axis, write_new
from training.runtime.command import InputError

CLASSIFIER = {"accuracy": 0.9, "n_test": 100}
AUTOENCODER = {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.93}
PROBE = {**CLASSIFIER, "probe": {"digest": "abc", "normal": 3, "loss": "l2-lamp", "batch_size": 4}}


def bowl(
    scale: float, loss: str = "l2", batch_size: int = 128, scores: dict[str, Any] = CLASSIFIER, x: str = "-1:1:11"
) -> Grid:
    classify = "accuracy" in scores
    over = "classes" if classify else "pixels"
    meta = {
        "identity": {},
        "metrics": {
            "l2": {"transform": "log", "definition": f"L2 loss, summed over {over}, mean over samples"},
            "own": {"transform": "log", "definition": f"as trained with {loss}, {batch_size}"},
            "accuracy": {"transform": "none", "definition": "same"},
        },
        "config": {
            "dataset": "mnist",
            "task": "classify" if classify else "reconstruct",
            "normal": 0 if classify else 3,
            "loss": loss,
            "batch_size": batch_size,
        },
        "checkpoint_metrics": scores,
    }
    grid = empty_grid(parse_axis("x", x), parse_axis("y", "-1:1:9"), ["l2", "own", "accuracy"], 2, meta)
    xs, ys = np.meshgrid(grid.x.values, grid.y.values)
    for name in grid.values:
        grid.values[name][:] = scale * np.exp(xs**2 + 2 * ys**2)
    grid.done[:] = True
    return grid


def whole(scores: dict[str, Any] = CLASSIFIER) -> list[tuple[str, Grid]]:
    """Two losses at three batch sizes, in no order."""
    cells = [(loss, size) for size in (16, 128, 4) for loss in ("l2-lamp", "l2")]
    return [(f"{loss}-{size}.h5", bowl(k + 1, loss, size, scores)) for k, (loss, size) in enumerate(cells)]


def panels(figure: Figure) -> list[list[Axes]]:
    """The panels by row and column, colour bars left out."""
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    columns = sum(bool(ax.get_title()) for ax in axes)
    return [axes[start : start + columns] for start in range(0, len(axes), columns)]


def filled(ax: Axes) -> QuadContourSet:
    return next(c for c in ax.collections if isinstance(c, QuadContourSet) and c.filled)


def centre_of(ax: Axes) -> float:
    return float(ax.get_xlabel().rsplit(" ", 1)[1])


def test_models_are_placed_by_their_own_configuration() -> None:
    for grids in (whole(), whole()[::-1]):
        rows = panels(fig3.draw(grids, "l2"))
        assert [ax.get_title() for ax in rows[0]] == ["batch size 128", "batch size 16", "batch size 4"]
        assert [ax.get_title() for ax in rows[1]] == ["", "", ""]
        assert [row[0].get_ylabel().splitlines()[0] for row in rows] == ["L2", "L2-LAMP"]
        assert [[centre_of(ax) for ax in row] for row in rows] == [[4, 2, 6], [3, 1, 5]]


def test_a_common_metric_has_shared_levels_and_one_colour_bar() -> None:
    figure = fig3.draw(whole(), "l2")
    sets = [filled(ax) for row in panels(figure) for ax in row]
    assert len(sets) == 6
    for one in sets[1:]:
        np.testing.assert_array_equal(one.levels, sets[0].levels)
    assert sets[0].levels[[0, -1]] == pytest.approx([0, np.log10(6 * np.exp(3))])
    (bar,) = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    assert bar.get_ylabel() == "L2 loss (sum over classes), log-spaced levels"
    assert figure.get_suptitle() == "Classifiers, mnist, all digits"


def test_own_losses_keep_their_own_levels_and_say_so() -> None:
    figure = fig3.draw(whole(), "own")
    lowest = {round(float(filled(ax).levels[0]), 6) for row in panels(figure) for ax in row}
    assert len(lowest) == 6
    assert len([ax for ax in figure.axes if ax.get_label() == "<colorbar>"]) == 6
    assert figure.get_suptitle().endswith("own training loss, each with its own levels")


def test_under_a_panel_stand_accuracy_or_auroc_and_the_value_at_the_model() -> None:
    classifier, autoencoder = (panels(fig3.draw(whole(scores), "l2"))[0][0] for scores in (CLASSIFIER, AUTOENCODER))
    assert classifier.get_xlabel().splitlines()[1:] == ["accuracy 0.900 [0.826, 0.945]", "at the model 4"]
    assert autoencoder.get_xlabel().splitlines()[1:] == ["AUROC 0.900 [0.850, 0.930]", "at the model 4"]
    assert score_text(bowl(1, scores={"accuracy": 0.9})) == "accuracy 0.900"
    beside = fig3.draw([("a", bowl(1, x="0.5:1:11")), ("b", bowl(1, "l2-lamp"))], "l2")
    assert ["at the model" in ax.get_xlabel() for (ax,) in panels(beside)] == [False, True]


def test_figure_1_says_accuracy_and_classes_too() -> None:
    figure = fig1.draw([("a", bowl(1)), ("b", bowl(2))], "l2")
    assert figure.texts[0].get_text() == (
        "trained with L2  |  batch 128  |  accuracy 0.900 [0.826, 0.945]  |  L2 at the model 1"
    )
    assert "L2 loss (sum over classes), log-spaced levels" in {ax.get_ylabel() for ax in figure.axes}


def test_a_cell_without_a_surface_is_blank_and_says_so() -> None:
    rows = panels(fig3.draw(whole()[:-2], "own"))  # batch size 4 is missing altogether, so is its column
    assert [len(row) for row in rows] == [2, 2]
    rows = panels(fig3.draw(whole()[:-1], "l2"))
    (text,) = [text.get_text() for text in rows[0][2].texts]
    assert text == "no surface of\nL2,\nbatch size 4"
    assert not rows[0][2].collections


def test_files_that_cannot_share_a_figure_are_named() -> None:
    with pytest.raises(InputError, match=r"found a\.h5 and b\.h5, both of l2 at batch size 128; name one of them"):
        fig3.draw([("a.h5", bowl(1)), ("b.h5", bowl(2))], "l2")
    mixed = [("a.h5", bowl(1)), ("b.h5", bowl(2, "l2-lamp", scores=AUTOENCODER))]
    with pytest.raises(
        InputError, match=r"found classifiers \(a\.h5\) and autoencoders \(b\.h5\); draw a figure of each"
    ):
        fig3.draw(mixed, "l2")
    stranger = bowl(1)
    stranger.meta["config"] = {"task": "classify"}
    with pytest.raises(InputError, match=r"a\.h5: expected the surface of a checkpoint, with loss and batch size"):
        fig3.draw([("a.h5", stranger), ("b.h5", bowl(2))], "l2")
    with pytest.raises(InputError, match="expected metric 'l1', found l2, own, accuracy"):
        fig3.draw(whole(), "l1")
    with pytest.raises(InputError, match="expected --plane from 0 to 1, found 2"):
        fig3.draw(whole(), "l2", plane=2)


def test_models_that_cannot_be_compared_are_drawn_with_a_note() -> None:
    assert fig3.draw(whole(AUTOENCODER), "l2").get_supxlabel() == ""
    grids = whole(AUTOENCODER)
    grids[0][1].meta["identity"] = {"seed": 9}
    grids[1][1].meta["config"]["normal"] = 8
    assert fig3.draw(grids, "l2").get_supxlabel() == "Not comparable as they stand: different seed, normal"


def test_a_probe_stands_where_its_autoencoder_would() -> None:
    other = {**PROBE, "probe": {**PROBE["probe"], "batch_size": 128, "loss": "l2"}}
    figure = fig3.draw([("a", bowl(1, "l2", 16, PROBE)), ("b", bowl(2, "l2", 16, other))], "l2")
    rows = panels(figure)
    assert [[bool(ax.collections) for ax in row] for row in rows] == [[True, False], [False, True]]
    assert [ax.get_title() for ax in rows[0]] == ["batch size 128", "batch size 4"]
    title = "Linear probes on the encoders of autoencoders, mnist, all digits, encoders of normal: 3"
    assert figure.get_suptitle() == title


def test_planes_and_heights_can_be_chosen() -> None:
    grids = whole()
    grids[1][1].values["l2"][1] *= 10
    assert [centre_of(panels(fig3.draw(grids, "l2", plane=plane))[0][1]) for plane in (0, 1)] == [2, 20]
    linear = filled(panels(fig3.draw(grids, "l2", "linear"))[0][0])
    assert linear.levels[-1] == pytest.approx(6 * np.exp(3))
    flat = filled(panels(fig3.draw(grids, "accuracy"))[0][0])
    assert flat.levels[-1] == pytest.approx(6 * np.exp(3))  # never by its logarithm


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_every_format_is_written(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, grid in whole(AUTOENCODER):
        write_new(tmp_path / name, grid, {})
    out = tmp_path / f"fig3.{suffix}"
    fig3.main([*(str(tmp_path / name) for name, _ in whole()), "--metric", "own", "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n"
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert out.read_bytes().startswith(starts[suffix])
    if suffix == "png":
        assert np.asarray(Image.open(out).convert("L")).std() > 10

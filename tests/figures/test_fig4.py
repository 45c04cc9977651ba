"""Fig. 4: what is stored are the models' own outputs, of images drawn by the stated rule; one scale for all maps."""

import copy
import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from analysis import panels
from analysis.pictures.reconstructions import choose, fig4_panels, named
from figures import fig4
from tests.conftest import train_small
from tests.project.test_commands import refused
from tests.tolerance import assert_within, outputs_rounding, rounding, scores_rounding
from training.data.config import RunConfig, resolve
from training.data.splits import Split, load_split
from training.fitting.checkpoint import load_checkpoint, load_weights
from training.models.autoencoder import build_model
from training.runtime.command import InputError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> list[Path]:
    """Two models of the same digits, one of them of patches."""
    options = ("--epochs", "1", "--patches", "4", "--depth", "3")
    return [checkpoint, train_small(tmp_path_factory.mktemp("l2"), "l2", *options)]


@pytest.fixture(scope="module")
def digits() -> Split:
    return load_split(resolve(RunConfig(normal=3)), None)


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_panels_are_what_the_models_make_of_the_images(runs: list[Path], digits: Split, tmp_path: Path) -> None:
    out = tmp_path / "p.npz"
    panels.main(["fig4", *map(str, runs), "--threads", "1", "--out", str(out)])
    stored = fig4.read_panels(out)
    rows = [digits.ids.index(name) for name in stored["id"]]
    np.testing.assert_array_equal(stored["input"], digits.test[rows])
    assert stored["class"].tolist() == ["3", "3", "0", "1", "2", "4", "5", "6", "7", "8", "9"]
    np.testing.assert_array_equal(stored["label"], stored["class"] != "3")
    assert stored["loss"].tolist() == ["l2-lamp", "l2"]
    assert stored["run"].tolist() == [path.parent.name for path in runs]
    assert stored["auroc"].tolist() == [load_checkpoint(path).metrics["auroc"] for path in runs]

    model = build_model(load_checkpoint(runs[0]).config)
    load_weights(model, load_checkpoint(runs[0]), "")
    with torch.no_grad():
        alone = torch.cat([model.eval()(image[None]) for image in digits.test[rows]])
    truth, allowed = outputs_rounding(copy.deepcopy(model).double(), digits.test[rows])
    assert_within(alone, truth, allowed)
    assert_within(stored["reconstruction"][0], truth, allowed)
    difference = stored["input"] - stored["reconstruction"]
    np.testing.assert_allclose(stored["error"], (difference**2)[:, :, 0], atol=rounding(3))
    for model_scores, path in zip(stored["score"], runs, strict=True):
        model = build_model(load_checkpoint(path).config)
        load_weights(model, load_checkpoint(path), "")
        rtol = scores_rounding(model, digits.test[rows])
        lines = dict(line.split(",")[::2] for line in (path.parent / "scores.csv").read_text().splitlines())
        np.testing.assert_allclose(model_scores, [float(lines[name]) for name in stored["id"]], rtol=rtol)
    assert "mask" not in stored


def test_images_are_drawn_by_the_seed_and_one_of_each_class(digits: Split) -> None:
    drawn = choose(digits, 2, 0, seed=0)
    assert drawn == choose(digits, 2, 0, seed=0)
    assert drawn != choose(digits, 2, 0, seed=1)
    assert [digits.classes[i] for i in drawn] == ["3", "3", *"012456789"]
    assert set(drawn) < set(choose(digits, 5, 12, seed=0))  # more images are those and others
    twenty = [digits.classes[i] for i in choose(digits, 0, 20, seed=0)]
    assert sorted(Counter(twenty).values()) == [2] * 7 + [3] * 2
    assert twenty == sorted(twenty)
    few = [choose(digits, 0, 3, seed=seed) for seed in range(40)]
    assert {digits.classes[i] for drawn in few for i in drawn} == set("012456789")  # no class is always left out


def test_counts_and_ids_that_there_are_not(digits: Split) -> None:
    with pytest.raises(InputError, match=r"--normal-images: expected 0 to 200, .* found 201"):
        choose(digits, 201, 0, 0)
    with pytest.raises(InputError, match=r"--anomalous-images: expected 0 to 1800, .* found -1"):
        choose(digits, 1, -1, 0)
    with pytest.raises(InputError, match=r"--ids x: expected an id of scores.csv, such as .*, found no such image"):
        named(digits, [digits.ids[0], "x"])
    assert named(digits, [digits.ids[7], digits.ids[2]]) == [7, 2]
    assert named(dataclasses.replace(digits, ids=["a", "b", "a"]), ["a", "b"]) == [0, 2, 1]


def test_colour_images_with_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data" / "mvtec" / "nut"
    rng = np.random.default_rng(0)
    names = [f"{part}/{i}.png" for part in ("train/good", "test/good", "test/cut", "test/bent_lead") for i in range(4)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / name)
        if name.startswith("test/") and "good" not in name:
            mask = np.zeros((16, 16), np.uint8)
            mask[:5, 4:12] = 255
            path = root / name.replace("test", "ground_truth").replace(".png", "_mask.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    size = ("--image-size", "16", "--depth", "2")
    data = ("--data-dir", str(tmp_path / "data"))
    run = train_small(tmp_path / "run", "l2", "--dataset", "mvtec", "--category", "nut", *size, *data)
    out = tmp_path / "p.npz"
    panels.main(["fig4", str(run), *data, "--threads", "1", "--out", str(out)])
    stored = fig4.read_panels(out)
    assert stored["class"].tolist() == ["good", "good", "bent_lead", "cut"]
    assert stored["input"].shape == (4, 3, 16, 16)
    assert stored["error"].shape == (1, 4, 16, 16)
    np.testing.assert_array_equal(stored["mask"].sum((1, 2)), [0, 0, 40, 40])
    figure = fig4.draw(stored)
    assert pictures(figure)[0].get_array().shape == (16, 16, 3)
    outlined = [bool(ax.collections) for ax in figure.axes]
    assert outlined[:12] == [False, False, True, True] + [False] * 4 + [False, False, True, True]
    (vertices,) = figure.axes[2].collections[0].get_paths()
    # The border is between pixels, and closed where the defect reaches the edge of the image.
    assert vertices.vertices.min(0).tolist() == [3.5, -0.5]
    assert vertices.vertices.max(0).tolist() == [11.5, 4.5]
    ids = ["test/cut/3.png", "test/good/1.png"]
    panels.main(["fig4", str(run), *data, "--threads", "1", "--ids", *ids, "--out", str(out)])
    assert fig4.read_panels(out)["id"].tolist() == ids
    (root / "ground_truth/cut/0_mask.png").unlink()
    with pytest.raises(InputError, match=r"cut/0_mask.png: expected the mask of an anomalous image"):
        panels.main(["fig4", str(run), *data, "--threads", "1", "--out", str(out)])


# --- the figure ------------------------------------------------------------------------------------------------------


def pictures(figure: Figure) -> list:
    return [ax.images[0] for ax in figure.axes if ax.images]


def some_panels(models: int = 2, images: int = 3, channels: int = 1) -> fig4.Panels:
    rng = np.random.default_rng(0)
    given, made = rng.random((images, channels, 8, 8)), rng.random((models, images, channels, 8, 8))
    error = ((given - made) ** 2).mean(2) * 10.0 ** np.arange(models)[:, None, None, None]
    return {
        "input": given,
        "reconstruction": made,
        "error": error,
        "score": error.mean((2, 3)),
        "label": np.arange(images) > 0,
        "class": np.array([f"kind_{i}" for i in range(images)]),
        "id": np.array([f"test/kind/{i:03}.png" for i in range(images)]),
        "loss": np.array(["l2"] * models),
        "run": np.array([f"run{i}" for i in range(models)]),
        "auroc": np.array([0.75, *[np.nan] * (models - 1)]),
    }


def test_all_error_maps_have_one_scale_and_all_images_another() -> None:
    drawn = some_panels()
    figure = fig4.draw(drawn)
    shown = pictures(figure)
    assert len(shown) == 3 + 2 * 2 * 3
    errors = [image for image in shown if image.get_cmap().name == fig4.ERROR_MAP]
    assert len(errors) == 6
    top = np.percentile(drawn["error"], 99.5)
    assert {image.get_clim() for image in errors} == {(0.0, float(top))}
    assert {image.get_clim() for image in shown if image not in errors} == {(0, 1)}
    for image, error in zip(errors, drawn["error"].reshape(-1, 8, 8), strict=True):
        np.testing.assert_array_equal(image.get_array(), error)
    labels = [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    assert [float(text) for text in labels] == [pytest.approx(1000 * s, rel=5e-3) for s in drawn["score"].ravel()]
    assert [ax.get_title() for ax in figure.axes[:3]] == ["kind\n0\n000", "kind\n1\n001", "kind\n2\n002"]
    assert figure.axes[-1].get_ylabel() == "squared error"


def test_models_are_named_by_loss_run_and_auroc() -> None:
    assert fig4.model_names(some_panels()) == ["L2 (run0)\nAUROC 0.750", "L2 (run1)"]
    assert fig4.model_names({**some_panels(), "loss": np.array(["l2", "l2-lamp"])})[1] == "L2-LAMP"


def test_perfect_and_broken_reconstructions_have_a_scale_too() -> None:
    assert fig4.top_of_scale(np.zeros((1, 1, 2, 2))) == 1
    assert fig4.top_of_scale(np.full((1, 1, 2, 2), np.nan)) == 1
    assert fig4.top_of_scale(np.array([np.inf, 2, 2])) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_every_format(tmp_path: Path, channels: int, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "p.npz", **some_panels(3, 14, channels))
    for suffix, start in {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}.items():
        out = tmp_path / f"f.{suffix}"
        fig4.main([str(tmp_path / "p.npz"), "--out", str(out)])
        assert capsys.readouterr().out == f"{out}\n"
        assert out.read_bytes().startswith(start)
    with Image.open(tmp_path / "f.png") as image:
        assert image.width <= 7.2 * 150  # a page's two columns
    assert ("mean over channels" in (tmp_path / "f.svg").read_text()) == (channels == 3)


def test_files_that_are_no_panels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    good = some_panels()
    wrong = {
        "a score too few": {**good, "score": good["score"][:, 1:]},
        "two channels": {
            **good,
            "input": good["input"].repeat(2, 1),
            "reconstruction": good["reconstruction"].repeat(2, 2),
        },
        "masks of another size": {**good, "mask": np.zeros((3, 4, 8), bool)},
        "no model": {name: values[:0] if fig4.SHAPES[name][0] == "m" else values for name, values in good.items()},
        "an array too few": {name: values for name, values in good.items() if name != "auroc"},
    }
    for content in wrong.values():
        np.savez(path, **content)
        with pytest.raises(InputError, match=r"p.npz: expected an NPZ file written by analysis.panels fig4"):
            fig4.read_panels(path)
    np.savez(path, **some_panels(images=15))
    with pytest.raises(InputError, match=r"expected at most 14 images, found 15; choose fewer in analysis.panels"):
        fig4.read_panels(path)


def test_bad_input_to_the_commands(tmp_path: Path, runs: list[Path]) -> None:
    (tmp_path / "text.npz").write_text("no NPZ")
    other = train_small(tmp_path / "other", "l2", "--normal", "5", "--epochs", "1")
    out = ("--out", tmp_path / "p.npz")
    one = ("analysis.panels", "fig4", runs[0])
    cases: dict[tuple[object, ...], str] = {
        ("analysis.panels", "fig4", *out): "checkpoints: expected one or more that training.train wrote, found none",
        (*one, tmp_path / "absent.pt", *out): "absent.pt: expected a checkpoint file, found none",
        (*one, other, *out): f"{other}: expected the data of {runs[0]}",
        (*one, "--ids", "x", *out): "--ids x: expected an id of scores.csv",
        (*one, "--normal-images", "1000", *out): "--normal-images: expected 0 to 200",
        (*one, "--seed", "-1", *out): "--seed: expected at least 0, found -1",
        (*one, "--out", tmp_path): "expected the name of a file, found a folder",
        ("figures.fig4", tmp_path / "text.npz", "--out", tmp_path / "f.png"): "text.npz: expected an NPZ file",
        ("figures.fig4", tmp_path / "text.npz", "--out", tmp_path / "f.bmp"): "expected a name that ends in",
    }
    for options, message in cases.items():
        assert message in refused(*options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "text.npz"]


def test_data_that_have_changed_are_refused(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = dataclasses.replace(load_split(resolve(RunConfig(normal=3)), None), digest="0" * 64)
    monkeypatch.setattr("training.fitting.origin.load_split", lambda *_: changed)
    with pytest.raises(InputError, match=r"expected the data it was trained on .* found 000000000000"):
        fig4_panels(runs, None, (), 1, 0, 0)

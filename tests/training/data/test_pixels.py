"""Pixel AUROC against scikit-learn on flattened pixels; masks against files drawn by hand; errors by their messages."""

import copy
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.tolerance import ELEMENTWISE, outputs_rounding, rounding
from training.data.config import RunConfig, resolve
from training.data.pixels import (
    error_map,
    load_mask,
    load_masks,
    mask_name,
    masks_in,
    pixel_auroc,
    pixel_auroc_result,
    pixel_metrics,
)
from training.data.score import anomaly_score, auroc
from training.data.splits import Split, load_split
from training.fitting.fit import train
from training.models.autoencoder import build_model
from training.runtime.command import InputError

NUT = resolve(RunConfig(dataset="mvtec", category="nut", image_size=8, depth=2))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))


def draw(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_nut(folder: Path, masks: bool = True) -> Path:
    """A category of 16×16 images: 2 good ones, and a defect of rows 2 to 5 and columns 4 to 9, with its mask."""
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    root = folder / "mvtec" / "nut"
    for image, name in zip(
        images, ("train/good/0", "train/good/1", "test/good/0", "test/good/1", "test/cut/0"), strict=True
    ):
        draw(root / f"{name}.png", image)
    if masks:
        mask = np.zeros((16, 16), np.uint8)
        mask[2:6, 4:10] = 255
        draw(root / "ground_truth/cut/0_mask.png", mask)
    return root


# --- the AUROC -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(2, 7)),
    levels=st.sampled_from([2, 5, 10**6]),
    single=st.booleans(),
)
def test_pixel_auroc_is_that_of_scikit_learn_with_ties(
    seed: int, shape: tuple[int, int, int], levels: int, single: bool
):
    rng = np.random.default_rng(seed)
    maps = (rng.integers(0, levels, shape) / levels).astype(np.float32 if single else np.float64)
    masks = rng.random(shape) < 0.3
    masks.flat[:2] = [True, False]
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)


def test_pixel_auroc_at_the_size_of_a_real_category() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((83, 256, 256), bool)
    masks[20:, 100:140, 50:100] = True
    maps = (rng.random(masks.shape) + 0.3 * masks).astype(np.float32)
    # P(U + 0.3 > V) of two uniform numbers
    assert pixel_auroc(maps, masks) == pytest.approx(1 - 0.7**2 / 2, abs=1e-3)


def test_pixel_auroc_of_nan_of_one_class_and_of_other_shapes() -> None:
    masks = np.zeros((1, 2, 2), bool)
    with pytest.raises(ValueError, match="found 4 normal and 0 anomalous"):
        pixel_auroc(np.ones((1, 2, 2)), masks)
    with pytest.raises(ValueError, match=r"expected masks of shape \(1, 2, 3\), found \(1, 2, 2\)"):
        pixel_auroc(np.ones((1, 2, 3)), masks)
    masks[0, 0, 0] = True
    assert np.isnan(pixel_auroc(np.array([[[0, 1], [2, np.nan]]]), masks))


def test_the_standard_error_is_delongs_where_an_image_is_one_pixel() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((60, 1, 1)) < 0.4
    maps = rng.random(masks.shape) + 0.4 * masks
    result, delong = pixel_auroc_result(maps, masks), auroc(maps[~masks], maps[masks])
    assert (result.value, result.stderr) == pytest.approx((delong.value, delong.stderr))
    assert (result.low, result.high) == pytest.approx((delong.low, delong.high))


def test_copies_of_a_pixel_do_not_make_it_more_certain() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((30, 4, 4)) < 0.3
    maps = rng.integers(0, 9, masks.shape) + 2.0 * masks
    once = pixel_auroc_result(maps, masks)
    copied = pixel_auroc_result(maps.repeat(3, 1).repeat(2, 2), masks.repeat(3, 1).repeat(2, 2))
    assert (copied.value, copied.stderr) == pytest.approx((once.value, once.stderr))


def test_the_standard_error_is_the_spread_over_draws_of_images() -> None:
    rng = np.random.default_rng(1)

    def draw_images() -> tuple[np.ndarray, np.ndarray]:
        masks = np.zeros((40, 6, 6), bool)
        masks[10:, :2] = rng.random((30, 2, 6)) < 0.5
        # Pixels of an image go up and down together.
        return rng.normal(size=masks.shape) + masks + rng.normal(size=(40, 1, 1)), masks

    results = [pixel_auroc_result(*draw_images()) for _ in range(300)]
    spread = np.std([result.value for result in results])
    assert np.mean([result.stderr for result in results]) == pytest.approx(spread, rel=0.12)
    truth = np.mean([result.value for result in results])
    assert 0.9 < np.mean([result.low < truth < result.high for result in results]) < 0.99


def test_perfect_single_and_nan_maps_have_an_interval_or_none() -> None:
    masks = np.zeros((5, 2, 2), bool)
    masks[:3, 0] = True
    perfect = pixel_auroc_result(masks.astype(float), masks)
    assert (perfect.value, perfect.stderr, perfect.high) == (1, 0, 1)
    assert perfect.low < 0.9
    single = pixel_auroc_result(np.arange(4.0).reshape(1, 2, 2), masks[:1])
    assert single.value == 0
    assert np.isnan(single.stderr)
    assert single.high > 0.5
    assert np.isnan(pixel_auroc_result(np.full((5, 2, 2), np.nan), masks).low)


def test_the_mean_of_an_error_map_is_the_anomaly_score() -> None:
    torch.manual_seed(0)
    output, target = torch.rand(2, 3, 3, 4, 4, dtype=torch.float64)
    maps = error_map(output, target)
    assert maps.shape == (3, 4, 4)
    torch.testing.assert_close(maps.mean((1, 2)), anomaly_score(output, target))
    np.testing.assert_allclose(error_map(output.numpy(), target.numpy()), maps, rtol=1e-6)
    with pytest.raises(
        InputError, match=r"expected outputs of the targets' shape \(3, 3, 4, 4\), found \(3, 1, 4, 4\)"
    ):
        error_map(output[:, :1], target)


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_mask_lies_where_its_image_does(tmp_path: Path) -> None:
    write_nut(tmp_path)
    split = load_split(NUT, str(tmp_path))
    masks = split.masks
    assert masks is not None
    assert masks.shape == (3, 8, 8)
    expected = np.zeros((3, 8, 8), bool)
    expected[split.ids.index("test/cut/0.png"), 1:3, 2:5] = True
    np.testing.assert_array_equal(masks, expected)


def test_a_pixel_is_anomalous_from_half_of_its_area_on(tmp_path: Path) -> None:
    mask = np.zeros((6, 6), np.uint8)
    mask[:3, 1] = 1  # half of the first pixels of 2×2; any value above 0 counts
    mask[4, 4] = 255  # a quarter
    path = draw(tmp_path / "m.png", mask)
    np.testing.assert_array_equal(load_mask(path, 3), [[True, False, False], [False] * 3, [False] * 3])
    np.testing.assert_array_equal(load_mask(path, 6), mask > 0)
    np.testing.assert_array_equal(load_mask(path, 12), np.kron(mask > 0, np.ones((2, 2), bool)))
    # 7 pixels to 3: shares in thirds and sevenths, by sums over an exact refinement to 21 pixels
    mask = np.random.default_rng(1).integers(0, 2, (7, 7), dtype=np.uint8)
    share = np.kron(mask, np.ones((3, 3))).reshape(3, 7, 3, 7).mean((1, 3))
    np.testing.assert_array_equal(load_mask(draw(tmp_path / "n.png", mask), 3), share >= 0.5)


def test_a_missing_black_or_broken_mask_is_named(tmp_path: Path) -> None:
    root = write_nut(tmp_path)
    split = load_split(NUT, str(tmp_path))
    path = root / "ground_truth/cut/0_mask.png"
    path.unlink()
    fails(r"nut/ground_truth/cut/0_mask.png: expected the mask of an anomalous image, found none", split, tmp_path)
    draw(path, np.zeros((16, 16), np.uint8))
    fails(r"0_mask.png: expected a mask that marks the anomaly, found a black one", split, tmp_path)
    path.write_text("no image")
    fails(r"0_mask.png: expected a readable image", split, tmp_path)
    speck = np.zeros((16, 16), np.uint8)
    speck[0, 0] = 255
    draw(path, speck)
    fails(r"--image-size 8: expected anomalies of a pixel or more .* raise --image-size", split, tmp_path)


def fails(message: str, split: Split, folder: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_masks(split.ids, split.labels, 8, NUT, folder)
    assert "\n" not in str(caught.value)


def test_data_without_masks_have_no_pixel_metrics(tmp_path: Path) -> None:
    write_nut(tmp_path, masks=False)
    split = load_split(NUT, str(tmp_path))
    assert split.masks is None
    assert load_split(resolve(RunConfig()), None).masks is None
    *_, last = train(dataclasses.replace(NUT, epochs=1), split, torch.device("cpu"))
    assert "pixel_auroc" not in last.checkpoint.metrics


def test_a_run_ends_with_pixel_auroc(tmp_path: Path) -> None:
    write_nut(tmp_path)
    split = load_split(NUT, str(tmp_path))
    first, last = train(dataclasses.replace(NUT, epochs=2), split, torch.device("cpu"))
    model = build_model(NUT)
    model.load_state_dict({**last.checkpoint.params, **last.checkpoint.buffers})
    with torch.no_grad():
        maps = error_map(model.eval()(split.test), split.test).numpy()
    assert split.masks is not None
    truth, allowed = outputs_rounding(copy.deepcopy(model).double(), split.test)
    # r² is off by 2|r|δ + δ²: pairs of pixels as close as that may change places
    limit = 2 * float(((2 * (truth - split.test).abs() + allowed) * allowed).max()) + rounding(ELEMENTWISE)
    good, bad = (maps[split.masks == kind] for kind in (False, True))
    close = (np.abs(good[:, None] - bad[None, :]) <= 2 * limit).mean()
    found = last.checkpoint.metrics["pixel_auroc"]
    assert found == pytest.approx(pixel_auroc(maps, split.masks), abs=close + 1e-12)
    assert "pixel_auroc" not in first.checkpoint.metrics


def test_pixel_metrics_are_over_all_test_pixels(tmp_path: Path) -> None:
    write_nut(tmp_path)
    split = load_split(NUT, str(tmp_path))
    maps = np.random.default_rng(0).random((3, 8, 8))
    masks = split.masks
    assert masks is not None
    expected = roc_auc_score(masks.ravel(), maps.ravel())
    result = pixel_auroc_result(maps, masks)
    assert pixel_metrics(maps, masks, split.labels) == {
        "pixel_auroc": pytest.approx(expected),
        "pixel_auroc_stderr": pytest.approx(result.stderr, nan_ok=True),
        "pixel_auroc_low": result.low,
        "pixel_auroc_high": result.high,
        "pixel_anomalous": 6,
        "pixel_total": 192,
        "pixel_masks_lost": 0,
    }


def test_the_real_bottle_has_a_mask_for_each_anomalous_image(data_dir: str) -> None:
    folder = next((p for p in (Path(data_dir, "mvtec/bottle"), Path(data_dir, "bottle")) if p.is_dir()), None)
    if folder is None:
        pytest.skip("no bottle")
    ids = sorted(path.relative_to(folder).as_posix() for path in folder.glob("test/*/*.png"))
    labels = np.array(["/good/" not in name for name in ids])
    masks = masks_in(folder, ids, labels, 64)
    assert masks is not None
    np.testing.assert_array_equal(masks.any((1, 2)), labels)
    sizes = [(np.asarray(Image.open(folder / mask_name(ids[i]))) > 0).mean() for i in np.flatnonzero(labels)]
    # Kept to a pixel's precision: the border of a defect is a small part of it.
    np.testing.assert_allclose(masks[labels].mean((1, 2)), sizes, atol=0.005)
    assert os.path.dirname(mask_name(ids[0])) == "ground_truth/broken_large"

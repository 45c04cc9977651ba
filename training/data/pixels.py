"""Where in an image the anomaly is: error maps, the masks of MVTec AD, and the AUROC over pixels; imports no torch.

Pixel AUROC as in Bergmann et al. (CVPR 2019): all pixels of all test images are one set of scores, those inside a mask
being the anomalous ones.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.config import RunConfig
from training.data.folders import category_folder
from training.data.images import read_image
from training.data.score import AurocResult, _logit_interval, _score_interval, check_classes, placements
from training.runtime.command import InputError

SHARE = 0.5
PIXEL_DEFINITION = "AUROC of the squared error per pixel (mean over channels); Obuchowski standard error over images"
ROUNDING = 1e-9  # so that a pixel that is half covered does not fall on either side by rounding


def error_map(output: Any, target: Any) -> Any:
    """Score of each pixel, its squared error as the mean over channels: (B, C, H, W) -> (B, H, W).

    Its mean over an image is that image's anomaly score. Takes torch tensors or NumPy arrays, returns the same kind.
    """
    if output.shape != target.shape:
        raise InputError(
            f"error map: expected outputs of the targets' shape {tuple(target.shape)}, found {tuple(output.shape)}"
        )
    return ((target - output) ** 2).mean(1)


def pixel_auroc(error_maps: NDArray[Any], masks: NDArray[np.bool_]) -> float:
    """P(score of an anomalous pixel > of a normal one) + ½ P(equal), over all pixels of all images together; exact.

    error_maps, masks: (M, H, W), True = anomalous. The normal pixels are sorted once and the anomalous ones looked up
    in them; beside its inputs this takes about 40 bytes a pixel at most. A score that is NaN makes the result NaN.
    Raises ValueError for other shapes, or if there is no anomalous or no normal pixel.
    """
    normal, anomalous = by_class(error_maps, masks)
    if np.isnan(normal).any() or np.isnan(anomalous).any():
        return math.nan
    return float(placements(normal, anomalous).mean())


def by_class(error_maps: NDArray[Any], masks: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores of the normal and of the anomalous pixels, image by image; ValueError unless there are both."""
    if error_maps.shape != masks.shape:
        raise ValueError(f"pixel AUROC: expected masks of shape {error_maps.shape}, found {masks.shape}")
    normal, anomalous = error_maps[~masks], error_maps[masks]
    check_classes(normal, anomalous)
    return normal, anomalous


def pixel_auroc_result(error_maps: NDArray[Any], masks: NDArray[np.bool_]) -> AurocResult:
    """:func:`pixel_auroc` with a standard error and a 95% interval that take images, not pixels, for independent.

    Variance after Obuchowski (Biometrics 53, 1997): DeLong's placements are summed over each image, over its anomalous
    pixels (a) and its normal ones (b), as deviations from the AUROC θ. Of I images, I_a have anomalous pixels (m in
    all) and I_b normal ones (n in all):

        Var(θ) = I_a/(I_a - 1) Σa²/m² + I_b/(I_b - 1) Σb²/n² + 2 I/(I - 1) Σab/(m n)

    With one pixel an image this is DeLong's. The interval is symmetric on the logit scale; where the variance is zero
    or unknown it is the score interval for as many images as show each class. Errors and NaN as in pixel_auroc.
    """
    normal, anomalous = by_class(error_maps, masks)
    sizes = (len(normal), len(anomalous))
    if np.isnan(normal).any() or np.isnan(anomalous).any():
        return AurocResult(math.nan, math.nan, math.nan, math.nan, *sizes, PIXEL_DEFINITION)
    of_anomalous = placements(normal, anomalous)
    value = float(of_anomalous.mean())
    counts = masks.sum((1, 2))
    a = sums_of_images(of_anomalous - value, counts)
    b = sums_of_images(1 - value - placements(anomalous, normal), masks[0].size - counts)
    images, with_a, with_b = len(masks), int((counts > 0).sum()), int((counts < masks[0].size).sum())
    stderr = math.nan
    if min(images, with_a, with_b) > 1:
        variance = (
            with_a / (with_a - 1) * (a @ a) / sizes[1] ** 2
            + with_b / (with_b - 1) * (b @ b) / sizes[0] ** 2
            + 2 * images / (images - 1) * (a @ b) / (sizes[0] * sizes[1])
        )
        stderr = math.sqrt(max(float(variance), 0.0))
    usable = 0 < value < 1 and stderr > 0
    low, high = _logit_interval(value, stderr) if usable else _score_interval(value, with_b, with_a)
    return AurocResult(value, stderr, low, high, *sizes, PIXEL_DEFINITION)


def sums_of_images(values: NDArray[np.float64], counts: NDArray[np.int_]) -> NDArray[np.float64]:
    """Sums of consecutive `counts` of the values, a sum an image."""
    of_image = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(of_image, weights=values, minlength=len(counts)).astype(np.float64)


def mask_name(image: str) -> str:
    """The path of the mask of a test image, both relative to the category's folder.

    >>> mask_name("test/broken_large/000.png")
    'ground_truth/broken_large/000_mask.png'
    """
    _, kind, name = image.split("/")
    return f"ground_truth/{kind}/{Path(name).stem}_mask.png"


def load_mask(path: Path, size: int) -> NDArray[np.bool_]:
    """The mask at `path` at the image size: (size, size), True where anomalous.

    In the file any value above 0 marks a pixel. A pixel of the result is anomalous if at least half of the area that it
    covers in the file is marked, so that a defect keeps its area. Masks that are not square are squeezed as their
    images are.
    Raises InputError if there is no such file, it cannot be read, or it marks nothing.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected the mask of an anomalous image, found none; unpack the category again")
    marked = np.asarray(read_image(path, "L")) > 0
    if not marked.any():
        raise InputError(
            f"{path}: expected a mask that marks the anomaly, found a black one; unpack the category again"
        )
    height, width = marked.shape
    return overlaps(height, size) @ marked.astype(np.float64) @ overlaps(width, size).T >= SHARE - ROUNDING


def overlaps(count: int, size: int) -> NDArray[np.float64]:
    """How much of each of `size` equal cells each of `count` equal cells of the same length covers: (size, count)."""
    edges, inner = np.arange(size + 1)[:, None] / size, np.arange(count + 1) / count
    covered = np.minimum(edges[1:], inner[1:]) - np.maximum(edges[:-1], inner[:-1])
    return np.maximum(covered, 0) * size


def masks_in(root: Path, ids: Sequence[str], labels: NDArray[np.bool_], size: int) -> NDArray[np.bool_] | None:
    """The masks of test images under a category's folder `root`, (M, size, size); those of normal images are empty.

    None if the folder has no ground_truth. Raises InputError at the first anomalous image without a usable mask, or if
    no mask has a pixel left at this size.
    """
    if not (root / "ground_truth").is_dir():
        return None
    masks = np.zeros((len(ids), size, size), bool)
    for i in np.flatnonzero(labels):
        masks[i] = load_mask(root / mask_name(ids[int(i)]), size)
    if labels.any() and not masks.any():
        raise InputError(
            f"--image-size {size}: expected anomalies of a pixel or more in {root / 'ground_truth'}, found none that "
            "covers half of one; raise --image-size"
        )
    return masks


def load_masks(
    ids: Sequence[str], labels: NDArray[np.bool_], size: int, config: RunConfig, folder: Path | None
) -> NDArray[np.bool_] | None:
    """The masks of a data set's test images at its image size, (M, H, W); None for data that have none.

    `folder` is that of all data sets. Loaded with the data, so that a missing mask is found before training.
    """
    if config.dataset != "mvtec":
        return None
    return masks_in(category_folder(folder, config.category), ids, labels, size)


def pixel_metrics(
    error_maps: NDArray[Any], masks: NDArray[np.bool_], labels: NDArray[np.bool_]
) -> dict[str, float | int]:
    """Pixel AUROC of a run's error maps (M, H, W) under `masks` and what it is over, as plain values.

    `pixel_auroc_stderr`, `_low` and `_high` are those of :func:`pixel_auroc_result`. `pixel_anomalous` counts the
    pixels inside masks, `pixel_total` all, and `pixel_masks_lost` the anomalous images of which no pixel is half
    covered at this image size: they count as normal pixels alone.
    """
    result = pixel_auroc_result(error_maps, masks)
    return {
        "pixel_auroc": result.value,
        "pixel_auroc_stderr": result.stderr,
        "pixel_auroc_low": result.low,
        "pixel_auroc_high": result.high,
        "pixel_anomalous": int(masks.sum()),
        "pixel_total": masks.size,
        "pixel_masks_lost": int((labels & ~masks.any((1, 2))).sum()),
    }

"""Where in an image the anomaly is: error maps, the masks of MVTec AD, and the AUROC over pixels; imports no torch.

Pixel AUROC as in Bergmann et al. (CVPR 2019): all pixels of all test images are one set of scores, those inside a mask
being the anomalous ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.command import InputError
from training.config import RunConfig
from training.images import read_image
from training.score import check_classes, placements

if TYPE_CHECKING:
    from torch import Tensor, nn

    from training.data import Split

BATCH = 100  # images a forward pass: as many outputs of 256×256 as fit anywhere
SHARE = 0.5
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


def error_maps(model: "nn.Module", images: "Tensor") -> NDArray[np.float32]:
    """The error map of each of `images`, (M, C, H, W) -> (M, H, W), the model in evaluation mode on their device."""
    import torch

    model.eval()
    with torch.inference_mode():
        maps = [error_map(model(batch), batch).cpu() for batch in images.split(BATCH)]
    return torch.cat(maps).numpy()


def pixel_auroc(error_maps: NDArray[Any], masks: NDArray[np.bool_]) -> float:
    """P(score of an anomalous pixel > of a normal one) + ½ P(equal), over all pixels of all images together; exact.

    error_maps, masks: (M, H, W), True = anomalous. The normal pixels are sorted once and the anomalous ones looked up
    in them; beside its inputs this takes about 40 bytes a pixel at most. A score that is NaN makes the result NaN.
    There is no DeLong interval, which would take the pixels of an image for independent.
    Raises ValueError for other shapes, or if there is no anomalous or no normal pixel.
    """
    if error_maps.shape != masks.shape:
        raise ValueError(f"pixel AUROC: expected masks of shape {error_maps.shape}, found {masks.shape}")
    normal, anomalous = error_maps[~masks], error_maps[masks]
    check_classes(normal, anomalous)
    if np.isnan(normal).any() or np.isnan(anomalous).any():
        return float("nan")
    return float(placements(normal, anomalous).mean())


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
    return overlaps(height, size) @ marked @ overlaps(width, size).T >= SHARE - ROUNDING


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


def load_masks(split: "Split", config: RunConfig, data_dir: str | None) -> NDArray[np.bool_] | None:
    """The masks of a split's test images at its image size, (M, H, W); None for data that have none.

    Takes what :func:`training.data.load_split` took. Called before training, it finds a missing mask in time.
    """
    if config.dataset != "mvtec":
        return None
    from training.data import data_folder
    from training.folders import category_folder

    root = category_folder(data_folder(data_dir), config.category)
    return masks_in(root, split.ids, split.labels, split.test.shape[-1])


def pixel_metrics(
    error_maps: NDArray[Any], split: "Split", config: RunConfig, data_dir: str | None
) -> dict[str, float | int]:
    """Pixel AUROC of a run's error maps (M, H, W) and what it is over, as plain values; {} for data without masks.

    `pixel_anomalous` counts the pixels inside masks, `pixel_total` all, and `pixel_masks_lost` the anomalous images of
    which no pixel is half covered at this image size: they count as normal pixels alone.
    """
    masks = load_masks(split, config, data_dir)
    if masks is None:
        return {}
    return {
        "pixel_auroc": pixel_auroc(error_maps, masks),
        "pixel_anomalous": int(masks.sum()),
        "pixel_total": masks.size,
        "pixel_masks_lost": int((split.labels & ~masks.any((1, 2))).sum()),
    }

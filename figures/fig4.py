"""`python -m figures.fig4`: test images, their reconstructions by models, and error maps, as in the paper's Fig. 4."""

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse, unusable

DESCRIPTION = """Draw test images, their reconstructions by some models, and error maps on one colour scale.

Example: python -m analysis.panels fig4 runs/a/checkpoint.pt runs/b/checkpoint.pt --out fig4.npz, then
python -m figures.fig4 fig4.npz --out fig4.png

Below each error map stands the image's anomaly score, the mean of the map. Where there are masks, the true defect is
outlined. The colour scale ends at the 99.5th percentile of all error maps together."""

Panels = dict[str, NDArray[Any]]

#: array -> its axes: images, models, channels, height, width
SHAPES = {
    "input": "ichw",
    "reconstruction": "michw",
    "error": "mihw",
    "score": "mi",
    "label": "i",
    "class": "i",
    "id": "i",
    "loss": "m",
    "run": "m",
    "auroc": "m",
}
MOST_IMAGES = 14  # more could not be told apart on a page
TOP_PERCENTILE = 99.5  # a few pixels have many times the error of all others
ERROR_MAP = "inferno"  # safe for the colour-blind, and black where there is no error
NORMAL, ANOMALOUS = COLORS[0], COLORS[1]

# inches
LEFT, RIGHT, TOP, BOTTOM = 0.95, 0.55, 0.46, 0.2
GAP, SCORE_LINE, MODEL_GAP, LARGEST = 0.04, 0.13, 0.06, 0.95


@dataclass(frozen=True)
class Arguments:
    panels: Annotated[Path, tyro.conf.Positional]
    """What analysis.panels fig4 wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.fig4", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    save(draw(read_panels(arguments.panels)), arguments.out)
    print(arguments.out)


def read_panels(path: Path) -> Panels:
    """The arrays of an NPZ file; InputError if it is not what analysis.panels fig4 writes."""
    try:
        with np.load(path, allow_pickle=False) as file:
            panels = dict(file)
    except OSError as error:
        raise unusable(path, "an NPZ file written by analysis.panels fig4", error) from None
    except (ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile):
        panels = {}
    if not consistent(panels):
        raise InputError(f"{path}: expected an NPZ file written by analysis.panels fig4, found none such")
    if (count := len(panels["input"])) > MOST_IMAGES:
        raise InputError(
            f"{path}: expected at most {MOST_IMAGES} images, found {count}; choose fewer in analysis.panels"
        )
    return panels


def consistent(panels: Panels) -> bool:
    """Whether all arrays are there, of one number of images and models and one image size, grey or RGB."""
    shapes = SHAPES | ({"mask": "ihw"} if "mask" in panels else {})
    lengths: dict[str, set[int]] = {}
    for name, axes in shapes.items():
        if name not in panels or panels[name].ndim != len(axes) or 0 in panels[name].shape:
            return False
        for axis, length in zip(axes, panels[name].shape, strict=True):
            lengths.setdefault(axis, set()).add(length)
    return all(len(found) == 1 for found in lengths.values()) and lengths["c"] <= {1, 3}


def draw(panels: Panels) -> Figure:
    """The figure: a column an image, the input on top, then two rows a model: reconstruction and error map."""
    models, images = panels["score"].shape
    cell = min((PAGE - LEFT - RIGHT) / images - GAP, LARGEST)
    width = LEFT + images * (cell + GAP) + RIGHT
    height = TOP + cell + models * (MODEL_GAP + 2 * (cell + GAP) + SCORE_LINE) + BOTTOM
    figure = Figure(figsize=(width, height))
    limits = Normalize(0, top_of_scale(panels["error"]))

    def place(x: float, top: float, wide: float, high: float) -> Axes:
        """Axes at inches from the left and the top."""
        return figure.add_axes((x / width, 1 - (top + high) / height, wide / width, high / height))

    def row(top: float, pictures: NDArray[Any], text: str, **style: Any) -> list[Axes]:
        cells = [place(LEFT + i * (cell + GAP), top, cell, cell) for i in range(images)]
        for ax, picture in zip(cells, pictures, strict=True):
            ax.imshow(picture, interpolation="nearest", **style)
            ax.set(xticks=[], yticks=[])
        beside(cells[0], 0.5, text, va="center")
        return cells

    about = "input\n(outline:\ntrue defect)" if "mask" in panels else "input"
    inputs = row(TOP, as_pictures(panels["input"]), about, cmap="gray", vmin=0, vmax=1)
    head(inputs, panels, cell)
    beside(inputs[0], 1, "normal", va="bottom", color=NORMAL, size=6, up=10)
    beside(inputs[0], 1, "anomalous", va="bottom", color=ANOMALOUS, size=6, up=2)
    outline(inputs, panels, ANOMALOUS, 0.6)
    top = TOP + cell + GAP
    for model, name in enumerate(model_names(panels)):
        top += MODEL_GAP
        row(top, as_pictures(panels["reconstruction"][model]), f"{name}\nreconstruction", cmap="gray", vmin=0, vmax=1)
        top += cell + GAP
        errors = row(top, panels["error"][model], "error map", cmap=ERROR_MAP, norm=limits)
        outline(errors, panels, "white", 0.4)
        for ax, score in zip(errors, panels["score"][model], strict=True):
            ax.set_xlabel(f"{1000 * score:#.3g}".rstrip("."), fontsize=6.5, labelpad=1.5)
        beside(errors[0], 0, "score ×1000", va="top", size=6.5, up=-2)
        top += cell + GAP + SCORE_LINE
    first, last = TOP + cell + GAP + MODEL_GAP, top - GAP - SCORE_LINE
    bar_at = place(width - RIGHT + 0.06, first, 0.1, last - first)
    bar = figure.colorbar(errors[0].images[0], cax=bar_at, extend="max")
    over = " (mean over channels)" if panels["input"].shape[1] > 1 else ""
    bar.set_label(f"squared error{over}", fontsize=6)
    bar.ax.tick_params(labelsize=6, pad=1.5)
    return figure


def as_pictures(images: NDArray[Any]) -> NDArray[Any]:
    """(I, C, H, W) as matplotlib takes it: (I, H, W) if grey, (I, H, W, 3) within [0, 1] if RGB."""
    return images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1).clip(0, 1)


def top_of_scale(errors: NDArray[Any]) -> float:
    """The error at which the colours of all maps end; 1 if there is none to be told from 0."""
    finite = errors[np.isfinite(errors)]
    return (float(np.percentile(finite, TOP_PERCENTILE)) if finite.size else 0) or 1.0


def model_names(panels: Panels) -> list[str]:
    """Each model by its loss, with its run where several have that loss, and its AUROC where there is one."""
    losses, runs = panels["loss"].tolist(), panels["run"].tolist()
    counts = Counter(losses)
    names = [label(loss) + (f" ({run})" if counts[loss] > 1 else "") for loss, run in zip(losses, runs, strict=True)]
    return [
        name + (f"\nAUROC {auroc:.3f}" if np.isfinite(auroc) else "")
        for name, auroc in zip(names, panels["auroc"].tolist(), strict=True)
    ]


def beside(ax: Axes, at: float, text: str, va: str, color: str = "black", size: float = 7, up: float = 0) -> None:
    """Write to the left of the first picture of a row, at a share `at` of its height and `up` points above that."""
    ax.annotate(
        text, (0, at), (-4, up), "axes fraction", "offset points", ha="right", va=va, color=color, fontsize=size
    )


def head(inputs: Sequence[Axes], panels: Panels, cell: float) -> None:
    """Above each input its class and its number, or its file's name, in the colour of normal or anomalous."""
    lines = [
        [*str(kind).split("_"), Path(str(name)).stem] for kind, name in zip(panels["class"], panels["id"], strict=True)
    ]
    longest = max(len(word) for words in lines for word in words)
    letters = 72 * cell / 0.6  # that fit at a size of one point: a letter is about 0.6 of the font's size wide
    size = min(6.0, max(5.0, letters / longest))
    for ax, anomalous, words in zip(inputs, panels["label"], lines, strict=True):
        color = ANOMALOUS if anomalous else NORMAL
        ax.set_title(
            "\n".join(cut(word, int(letters / size)) for word in words),
            fontsize=size,
            color=color,
            pad=2,
            linespacing=1.05,
        )


def cut(word: str, length: int) -> str:
    return word if len(word) <= length else word[: max(length - 1, 1)] + "…"


def outline(cells: Sequence[Axes], panels: Panels, color: str, width: float) -> None:
    """Draw the border of the true defect, where masks are known."""
    for ax, mask in zip(cells, panels.get("mask", ()), strict="mask" in panels):
        if mask.any():
            # A frame of normal pixels closes the border of a defect that reaches the edge of the image.
            framed = np.pad(mask, 1).astype(float)
            at = np.arange(-1, len(mask) + 1)
            limits = ax.get_xlim(), ax.get_ylim()
            ax.contour(at, at, framed, levels=[0.5], colors=color, linewidths=width)
            ax.set(xlim=limits[0], ylim=limits[1])


if __name__ == "__main__":
    raise SystemExit(command(main)())

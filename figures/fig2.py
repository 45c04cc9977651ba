"""`python -m figures.fig2`: loss and gradient against the residual of one pixel, as in the paper's Fig. 2."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse, unusable

DESCRIPTION = """Draw loss and gradient of L1, L2 and their LAMP forms (scale=none) against the residual of one pixel.

Example: python -m analysis.panels fig2 --out fig2.npz, then python -m figures.fig2 fig2.npz --out fig2.png"""


@dataclass(frozen=True)
class Arguments:
    curves: Annotated[Path, tyro.conf.Positional]
    """What analysis.panels fig2 wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.fig2", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    save(draw(read_curves(arguments.curves)), arguments.out)
    print(arguments.out)


def read_curves(path: Path) -> dict[str, NDArray[np.float64]]:
    """The arrays of an NPZ file; InputError if it is not what analysis.panels fig2 writes."""
    try:
        with np.load(path, allow_pickle=False) as file:
            curves = dict(file)
    except OSError as error:
        raise unusable(path, "an NPZ file written by analysis.panels fig2", error) from None
    except (ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile):
        curves = {}
    lengths = {len(values) for name, values in curves.items() if name != "eps" and values.ndim == 1}
    if "residual" not in curves or np.shape(curves.get("eps", [])) != () or len(lengths) != 1:
        raise InputError(f"{path}: expected an NPZ file written by analysis.panels fig2, found none such")
    return curves


def draw(curves: dict[str, NDArray[np.float64]]) -> Figure:
    """The figure: loss on the left, its gradient on the right, one curve a loss."""
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = figure.subplots(1, 2)
    residual = curves["residual"]
    names = [key.removeprefix("loss_") for key in curves if key.startswith("loss_")]
    for ax, quantity, text in zip(axes, ("loss", "gradient"), ("loss", "gradient d loss / d|r|"), strict=True):
        for name, color in zip(names, COLORS, strict=False):
            style = "--" if name.endswith("-lamp") else "-"
            ax.plot(residual, curves[f"{quantity}_{name}"], style, color=color, label=label(name))
        ax.set(xlabel="residual |r| = |y − ŷ| of one pixel", ylabel=text, xlim=(0, 1))
        ax.grid(alpha=0.3, linewidth=0.4)
    axes[0].set_ylim(0, 7)
    axes[1].set_ylim(0, 15)
    axes[0].legend(frameon=False)
    figure.suptitle(
        f"LAMP with scale=none, ε = {float(curves['eps']):g}: batch scaling has no curve of a single pixel", fontsize=8
    )
    return figure


if __name__ == "__main__":
    raise SystemExit(command(main)())

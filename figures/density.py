"""`python -m figures.density`: the spectral density of the Hessian of one or more models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.curves import Density, check_count, line_style, read_density
from figures.parts.style import PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw the spectral density of the Hessian, by stochastic Lanczos quadrature, of one or more models.

Example: python -m figures.density runs/a/sharpness.json runs/b/sharpness.json --out density.png
The density is on a logarithmic axis: nearly all eigenvalues are about 0, and the few others matter."""

DECADES = 10  # below the greatest density: what lies lower is the kernel's tail, or rounding


@dataclass(frozen=True)
class Arguments:
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The JSON files that analysis.sharpness wrote, one a model."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    loss: str = "l2"
    """Under which loss: l2, or own (the training loss)."""
    names: tuple[str, ...] = ()
    """What the models are called, in the order of the files."""
    decades: float = DECADES
    """How many powers of ten below the greatest density are shown."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.density", DESCRIPTION)
    check_count(arguments.files, arguments.names)
    check_out(arguments.out)
    if not 0 < arguments.decades <= 300:
        raise InputError(f"--decades: expected a number above 0, at most 300, found {arguments.decades:g}")
    models = [read_density(path, arguments.loss) for path in arguments.files]
    if arguments.names:
        models = [replace(model, name=name) for model, name in zip(models, arguments.names, strict=True)]
    use_style()
    save(draw(models, arguments.loss, arguments.decades), arguments.out)
    print(arguments.out)


def draw(models: Sequence[Density], loss: str = "l2", decades: float = DECADES) -> Figure:
    """The figure: all models in one panel. InputError if no density is positive."""
    peaks = [float(positive(model.density).max(initial=0)) for model in models]
    if not max(peaks) > 0:
        raise InputError("files: expected a density that is positive somewhere, found none; re-make the files")
    figure = Figure(figsize=(PAGE / 2, 2.6), layout="constrained")
    ax = figure.subplots()
    floor = max(peaks) / 10**decades
    for number, model in enumerate(models):
        shown = np.where(model.density > 0, model.density, np.nan)
        ax.plot(model.grid, shown, label=model.name, **line_style(number))
    inside = [model.grid[positive_where(model.density, floor)] for model in models]
    reach = np.concatenate(inside)
    margin = 0.03 * (float(np.ptp(reach)) or 1.0)
    ax.set_xlim(reach.min() - margin, reach.max() + margin)
    ax.set(yscale="log", ylim=(floor, 3 * max(peaks)), ylabel="spectral density")
    ax.set_xlabel(f"eigenvalue of the Hessian of the {label(loss)} loss")
    ax.axvline(0, color="0.7", linewidth=0.6, zorder=0)
    ax.legend(frameon=False)
    return figure


def positive(density: NDArray[np.float64]) -> NDArray[np.float64]:
    return density[np.isfinite(density) & (density > 0)]


def positive_where(density: NDArray[np.float64], floor: float) -> NDArray[np.bool_]:
    return np.isfinite(density) & (density >= floor)


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""`python -m figures.bands`: how the loss grows with the distance from a model, mean and band over directions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.curves import Bands, check_count, line_style, read_bands
from figures.parts.style import PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw how the loss of one or more models grows along filter-normalized random directions.

Example: python -m figures.bands runs/a/sharpness.json runs/b/sharpness.json --out bands.png
Left the growth ΔL = L(r) - L₀, right the ratio L(r)/L₀, which makes the better-fitted model look sharper. Lines are
means over directions, bands their quantiles (the spread of directions: noise of measurement, not of training)."""


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
    scale: Literal["linear", "log"] = "linear"
    """The axis of the loss."""
    share: float = 0.9
    """The share of the directions that a band holds."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.bands", DESCRIPTION)
    check_count(arguments.files, arguments.names)
    check_out(arguments.out)
    if not 0 < arguments.share <= 1:
        raise InputError(f"--share: expected a share above 0, at most 1, found {arguments.share:g}")
    models = [read_bands(path, arguments.loss) for path in arguments.files]
    if arguments.names:
        models = [replace(model, name=name) for model, name in zip(models, arguments.names, strict=True)]
    use_style()
    save(draw(models, arguments.loss, arguments.scale, arguments.share), arguments.out)
    print(arguments.out)


def draw(models: Sequence[Bands], loss: str = "l2", scale: str = "linear", share: float = 0.9) -> Figure:
    """The figure: ΔL and L/L₀ against the radius."""
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, model in enumerate(models):
        order = np.argsort(model.radii)
        radii, delta = model.radii[order], model.delta[:, order]
        draw_band(left, radii, delta, number, f"{model.name} ({len(delta)} directions)", share)
        draw_band(right, radii, 1 + delta / model.base, number, model.name, share)
    left.set(ylabel=f"growth ΔL of the {label(loss)} loss", yscale=scale)
    right.set(ylabel="ratio L / L₀", yscale=scale)
    for ax in (left, right):
        ax.set_xlabel("radius r (1: a direction as long as the weights)")
        ax.grid(alpha=0.3, linewidth=0.4)
    if scale == "log":  # ΔL is 0 at the model, and may be negative beside it
        means = [value for line in left.get_lines() for value in np.asarray(line.get_ydata()) if value > 0]
        left.set_ylim(bottom=0.5 * min(means, default=1e-3))
    handles, names = left.get_legend_handles_labels()
    title = f"mean over directions, band: {share:.0%} of them"
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, title=title, title_fontsize=7)
    return figure


def draw_band(
    ax: Axes, radii: NDArray[np.float64], values: NDArray[np.float64], number: int, name: str, share: float
) -> Axes:
    """The mean (directions, radii) -> line and the central `share` of the directions; returns `ax`.

    Directions in which a value is not finite are left out at that radius; the line has a hole where none is left.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    there = ~np.isnan(values).all(axis=0)
    mean, low, high = (np.full(len(radii), np.nan) for _ in range(3))
    mean[there] = np.nanmean(values[:, there], axis=0)
    low[there], high[there] = np.nanquantile(values[:, there], (0.5 - share / 2, 0.5 + share / 2), axis=0)
    style = line_style(number)
    ax.fill_between(radii, low, high, color=style["color"], alpha=0.2, linewidth=0)
    ax.plot(radii, mean, label=name, marker=".", markersize=3, **style)
    return ax


if __name__ == "__main__":
    raise SystemExit(command(main)())

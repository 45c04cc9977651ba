"""What one residual carries of the gradient of each loss: against the batch size, and as curves over residuals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures.parts.curves import line_style
from figures.parts.style import PAGE

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]


def draw(sizes: Sequence[int], shares: Mapping[str, Sequence[float]], curves: Mapping[str, Curve]) -> Figure:
    """Two panels with one legend: :func:`draw_shares` and :func:`draw_curves`; the names are those of the losses."""
    figure = Figure(figsize=(PAGE, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_shares(left, sizes, shares)
    draw_curves(right, curves)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_shares(ax: Axes, sizes: Sequence[int], shares: Mapping[str, Sequence[float]]) -> Axes:
    """The largest residual's share of the squared gradient against the batch size, both logarithmic; returns `ax`."""
    for number, (name, values) in enumerate(shares.items()):
        ax.plot(sizes, values, label=name, marker=".", markersize=4, **line_style(number))
    ax.set(xscale="log", yscale="log", xlabel="batch size (images)")
    ax.set_ylabel("share of the squared gradient\ncarried by the largest residual")
    ax.set_xticks(list(sizes), [str(size) for size in sizes])
    ax.minorticks_off()
    ax.grid(alpha=0.3, linewidth=0.4)
    return ax


def draw_curves(ax: Axes, curves: Mapping[str, Curve]) -> Axes:
    """Sorted |residuals| against the share of the gradient's sum from residuals up to each; returns `ax`."""
    for number, (name, (residuals, share)) in enumerate(curves.items()):
        ax.plot(residuals, share, label=name, **line_style(number))
    ax.set(xlabel="|residual| of a pixel", ylim=(0, 1))
    ax.set_ylabel("share of the summed |gradient|\nfrom residuals up to this one")
    ax.grid(alpha=0.3, linewidth=0.4)
    return ax

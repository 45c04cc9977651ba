"""A heat map of the correlations that analysis.relate found: measures by statistics."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.measures.catalogue import turned_name
from analysis.relation.measured import chosen_measures
from analysis.relation.relations import Relation, read_relations, sharper_up
from figures.parts.style import PAGE

DIVERGING = "PuOr"  # Brewer: safe for the colour-blind, white at 0
NAMES = {
    "spearman": "Spearman\npooled",
    "kendall": "Kendall\npooled",
    "partial": "partial\npooled",
    "spearman_within": "Spearman\nin digit",
    "kendall_within": "Kendall\nin digit",
    "spearman_within_loss": "Spearman\ndigit, loss",
    "partial_within": "partial\nin digit",
    "seed_alone": "Kendall,\nseed alone",
    "granulated:mean": "granulated\nKendall",
}


def read_cells(path: Path, wanted: Sequence[str], up: bool = True) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Measures, statistics and (measures, statistics, 3) values with their intervals; NaN is what there is not.

    `up`: signs are turned so that positive always means that sharper goes with a higher AUROC; the names of measures of
    which they were then have a minus.
    """
    found = read_relations(path)
    there = list(dict.fromkeys(relation.measure for relation in found))
    measures = chosen_measures(there, wanted, path)
    statistics = list(dict.fromkeys(relation.statistic for relation in found))
    cells = np.full((len(measures), len(statistics), 3), np.nan)
    for relation in found:
        if relation.measure in measures:
            place = measures.index(relation.measure), statistics.index(relation.statistic)
            cells[place] = triple(sharper_up(relation) if up else relation)
    return [turned_name(name) for name in measures] if up else measures, statistics, cells


def triple(relation: Relation) -> tuple[float, float, float]:
    return relation.value, relation.low, relation.high


def statistic_text(name: str) -> str:
    return NAMES.get(name, "Kendall by\n" + name.removeprefix("granulated:").replace("_", " "))


def cell_text(value: float, certain: bool) -> str:
    if np.isnan(value):
        return "—"
    text = f"{value:+.2f}".replace("-", "−")
    return ("0.00" if text[1:] == "0.00" else text) + "*" * certain


def excludes_zero(cells: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the interval of each cell (…, 3) lies on one side of 0; without an interval it does not."""
    return (cells[..., 1] > 0) | (cells[..., 2] < 0)


def draw_heatmap(measures: Sequence[str], statistics: Sequence[str], cells: NDArray[np.float64]) -> Figure:
    """The figure: colour and number are the coefficient, in bold with an asterisk where the interval excludes 0."""
    figure = Figure(figsize=(PAGE, 0.9 + 0.24 * len(measures)), layout="constrained")
    ax = figure.subplots()
    values = cells[..., 0]
    image = ax.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    certain = excludes_zero(cells)
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        there = not np.isnan(value)
        ax.text(
            column,
            row,
            cell_text(value, bool(certain[row, column])),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if there and abs(value) > 0.6 else "black",
            fontweight="bold" if certain[row, column] else "normal",
        )
    ax.set_xticks(range(len(statistics)), [statistic_text(name) for name in statistics], fontsize=5)
    ax.set_yticks(range(len(measures)), measures)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    colorbar = figure.colorbar(image, ax=ax, fraction=0.03, pad=0.01)
    turned = any(measure.startswith("−") for measure in measures)
    colorbar.set_label("correlation with AUROC" + ", up: sharper detects better" * turned)
    ax.set_xlabel("* the 95% interval over training seeds excludes 0", fontsize=7)
    return figure

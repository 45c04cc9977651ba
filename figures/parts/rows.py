"""Models one below the other, each a row: a surface in 3D beside its contour map, or a line; or lines together."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from numpy import float64
from numpy.typing import NDArray

from figures.parts.captions import SEPARATOR, hole_text, model_text, value_at_model, wrapped
from figures.parts.lines import BAND, MOST, Curve, curve_of, draw_curves, has_band
from figures.parts.scale import Scale
from figures.parts.style import PAGE, label
from figures.parts.surface import complete_part, draw_pair, is_line, planes_part, values_of
from landscape.files.grid import Grid

HEIGHT = 3.1  # inches of a row


@dataclass(frozen=True)
class Row:
    """One plane, or line, as it is drawn: the complete part of it, its values (ny, nx), and the text below."""

    grid: Grid
    values: NDArray[float64]
    text: str
    curve: Curve | None

    @property
    def panels(self) -> list[NDArray[float64]]:
        """What the scale must hold."""
        return self.curve.panels if self.curve else [self.values]


def row_of(grid: Grid, source: str, metric: str, plane: int, name: str = "") -> Row:
    """A plane of a grid; InputError if there is no such metric or plane. name: what a line is called, else its text."""
    values_of(grid, metric, plane, source)
    part = complete_part(planes_part(grid, [plane]))
    values = values_of(part, metric, 0, source)
    centre = value_at_model(part, values)
    parts = [
        model_text(grid, source),
        "" if centre is None else f"{label(metric)} at the model {centre:.4g}",
        hole_text(grid, metric, [plane]),
    ]
    text = SEPARATOR.join(part for part in parts if part)
    return Row(part, values, text, curve_of(part, metric, 0, name or text) if is_line(part) else None)


def panels_of(rows: Sequence[Row]) -> list[NDArray[float64]]:
    return [panel for row in rows for panel in row.panels]


def draw_rows(rows: Sequence[Row], scales: Sequence[Scale], name: str) -> Figure:
    """A figure with a row each, on its own scale, its text below; `name` is the metric's."""
    figure = Figure(figsize=(PAGE, HEIGHT * len(rows)))
    cells = figure.add_gridspec(len(rows), 2, width_ratios=(1.3, 1), wspace=0.3, hspace=0.36)
    for number, (row, scale) in enumerate(zip(rows, scales, strict=True)):
        if row.curve:
            ax = draw_curves(figure.add_subplot(cells[number, :]), [row.curve], scale, name)
            ax.set_title(BAND if has_band([row.curve]) else "", fontsize=6, loc="right", pad=2)
        else:
            draw_pair(figure, (cells[number, 0], cells[number, 1]), row.grid, row.values, scale, name)
        bottom = cells[number, :].get_position(figure).y0
        figure.text(0.5, bottom - 0.15 / len(rows), wrapped(row.text), ha="center", va="top")
    return figure


def draw_together(rows: Sequence[Row], scale: Scale, name: str, text: str = "") -> Figure:
    """A figure of lines on one set of axes, named below it; `text` stands under the names."""
    curves = [row.curve for row in rows if row.curve]
    legend = 1 < len(curves) <= MOST
    figure = Figure(figsize=(0.75 * PAGE, HEIGHT + 0.14 * len(curves) * legend), layout="constrained")
    ax = draw_curves(figure.subplots(), curves, scale, name)
    if legend:
        columns = 1 if max(len(curve.name) for curve in curves) > 20 else 6
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    lines = [wrapped(text or (rows[0].text if len(rows) == 1 else ""), 80), BAND if has_band(curves) else ""]
    ax.set_title("\n".join(filter(None, lines)), fontsize=7)
    return figure

"""`python -m figures.relation`: sharpness and AUROC as scatter plots, heat map of correlations, paired differences."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.relation.measured import Checkpoints, read_checkpoints
from analysis.relation.relations import Relation, coefficients, reason
from analysis.relation.strata import forms
from analysis.statistics.clusters import can_draw, draw_clusters
from figures.parts.forest import draw_forest, read_effects
from figures.parts.heatmap import draw_heatmap, read_cells
from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.runtime.command import InputError, command, parse_one_of

DESCRIPTION = """Draw how sharpness goes with AUROC.

Example: python -m figures.relation scatter results/sharpness.csv --measure half_curvature@l2 --out scatter.png
Example: python -m figures.relation heatmap relate.csv --out heatmap.png
Example: python -m figures.relation pairs compare.csv --out pairs.png
The tables are those of analysis.sharpness, of analysis.relate --out relate.csv and of analysis.compare --out
compare.csv."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Scatter:
    """A measure against AUROC, a point a checkpoint, as they are and centred within digits."""

    results: Annotated[Path, tyro.conf.Positional]
    """The CSV file that analysis.sharpness wrote."""
    measure: str
    """The measure, such as half_curvature@l2."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only checkpoints with this setting, name=value, or without it, name!=value; may be repeated."""
    resamples: int = 2000
    """Bootstrap resamples of the intervals."""
    seed: int = 0
    """Seed of the bootstrap."""


@dataclass(frozen=True)
class Heatmap:
    """Correlations of every measure with AUROC, in bold with an asterisk where the interval excludes 0."""

    relations: Annotated[Path, tyro.conf.Positional]
    """The long table that analysis.relate wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    measures: tuple[str, ...] = ()
    """Measures: whole names (trace@l2), names for all losses (trace), or losses for all names (@l2); all if none."""
    sharper_up: bool = True
    """Turn signs so that positive always means that sharper detects better (of radii, areas, lambda_min)."""


@dataclass(frozen=True)
class Forest:
    """Differences of every measure between two groups of checkpoints, with intervals."""

    differences: Annotated[Path, tyro.conf.Positional]
    """The table that analysis.compare wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    measures: tuple[str, ...] = ()
    """Measures; all if none."""
    names: tuple[str, str] = ("A", "B")
    """What the two groups are called."""
    sharper_up: bool = False
    """Turn signs, and invert ratios, so that up always means that B is sharper (of radii, areas, lambda_min)."""


def main(argv: Sequence[str] | None = None) -> None:
    choices: dict[str, Callable[..., Any]] = {"scatter": Scatter, "heatmap": Heatmap, "pairs": Forest}
    arguments = parse_one_of(choices, argv, "figures.relation", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    save(figure_of(arguments), arguments.out)
    print(arguments.out)


def figure_of(arguments: "Scatter | Heatmap | Forest") -> Figure:
    if isinstance(arguments, Heatmap):
        return draw_heatmap(*read_cells(arguments.relations, arguments.measures, arguments.sharper_up))
    if isinstance(arguments, Forest):
        effects = read_effects(arguments.differences, arguments.measures, arguments.sharper_up)
        return draw_forest(effects, arguments.names)
    if arguments.resamples < 100:
        raise InputError(f"--resamples: expected at least 100, found {arguments.resamples}")
    checkpoints = read_checkpoints(arguments.results, arguments.where, (arguments.measure,))
    if len(checkpoints.measures) > 1:
        names = ", ".join(checkpoints.measures)
        raise InputError(f"--measure {arguments.measure}: expected the name of one measure, found several: {names}")
    return draw_scatter(checkpoints, checkpoints.measures[0], arguments.resamples, arguments.seed)


def draw_scatter(checkpoints: Checkpoints, measure: str, resamples: int = 2000, seed: int = 0) -> Figure:
    """Left AUROC against the measure, right both centred within digits; colour is the loss, marker the batch size.

    Bars are a standard error of the measure and the 95% interval of AUROC. A measure that is positive everywhere is
    drawn, and centred, as its logarithm. Infinite values (radii that were not reached) are not drawn, which the legend
    says, but are ranks in the coefficients. InputError if there is nothing to draw.
    """
    values = checkpoints.values[measure]
    endless = int(np.isinf(values).sum())
    kept = checkpoints.taken(np.flatnonzero(np.isfinite(values)))
    why = reason(kept.values[measure])
    if why:
        raise InputError(f"--measure {measure}: expected a measure with different values, found that {why}")
    log = bool((kept.values[measure] > 0).all())
    found = {relation.statistic: relation for relation in spearmans(checkpoints, measure, resamples, seed)}
    figure = Figure(figsize=(PAGE, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    y = kept.values["auroc"]
    x = kept.values[measure]
    low, high = (np.array([getattr(run.last, name) for run in kept.runs]) for name in ("auroc_low", "auroc_high"))
    noise = kept.stderr.get(measure, np.full(len(x), np.nan))
    draw_points(left, kept, x, y, noise, np.stack([y - low, high - y]))
    if log:
        left.set_xscale("log")
    left.set(xlabel=measure_text(measure), ylabel="AUROC", title="as measured")
    place = np.log10(x) if log else x
    draw_points(right, kept, centred(place, kept), centred(y, kept))
    right.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    right.axvline(0, color="0.7", linewidth=0.6, zorder=0)
    what = f"log₁₀ {measure_text(measure)}" if log else measure_text(measure)
    right.set(xlabel=f"{what}, less its digit's mean", ylabel="AUROC, less its digit's mean", title="within digits")
    for ax, name in ((left, "spearman"), (right, "spearman_within")):
        ax.set_title(f"{ax.get_title()}: {coefficient_text(found[name])}")
    legend = figure.legend(handles=legend_of(kept), loc="outside lower center", ncols=8, frameon=False)
    if endless:
        legend.set_title(f"{endless} infinite not drawn, in the coefficients as ranks", FontProperties(size=7))
    return figure


def spearmans(checkpoints: Checkpoints, measure: str, resamples: int, seed: int) -> list[Relation]:
    """The coefficients with the intervals that analysis.relate gives them."""
    tasks, seeds = checkpoints.task_codes(), checkpoints.seed_codes()
    draws = draw_clusters(tasks, seeds, resamples, np.random.default_rng(seed)) if can_draw(tasks, seeds) else None
    return coefficients(checkpoints, measure, forms(checkpoints, draws))


def coefficient_text(relation: Relation) -> str:
    """A coefficient with its interval."""
    if math.isnan(relation.value):
        return "no coefficient"
    text = f"Spearman {relation.value:+.2f}"
    text += "" if math.isnan(relation.low) else f" [{relation.low:+.2f}, {relation.high:+.2f}]"
    return text.replace("-", "−")


def measure_text(measure: str) -> str:
    """A measure as an axis says it."""
    name, _, loss = measure.partition("@")
    return f"{name.replace('_', ' ')}, {label(loss)}"


def centred(values: NDArray[np.float64], checkpoints: Checkpoints) -> NDArray[np.float64]:
    """The values less the mean of their digit."""
    tasks = checkpoints.task_codes()
    means = np.bincount(tasks, values) / np.bincount(tasks)
    return values - means[tasks]


def draw_points(
    ax: Axes,
    checkpoints: Checkpoints,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_noise: NDArray[np.float64] | None = None,
    y_noise: NDArray[np.float64] | None = None,
) -> Axes:
    """A point a checkpoint, with bars where there is noise; returns `ax`."""
    losses, batches = groups_of(checkpoints)
    loss_of, batch_of = checkpoints.setting("loss"), checkpoints.setting("batch_size")
    for color, loss in zip(COLORS, losses, strict=False):
        for marker, batch in zip(MARKERS, batches, strict=False):
            rows = [i for i, pair in enumerate(zip(loss_of, batch_of, strict=True)) if pair == (loss, str(batch))]
            bars = {
                name: noise[..., rows]
                for name, noise in (("xerr", x_noise), ("yerr", y_noise))
                if noise is not None and not np.isnan(noise[..., rows]).all()
            }
            ax.errorbar(
                x[rows],
                y[rows],
                **bars,  # type: ignore[arg-type]
                fmt=marker,
                color=color,
                markersize=3.5,
                markeredgewidth=0,
                alpha=0.75,
                elinewidth=0.4,
            )
    return ax


def groups_of(checkpoints: Checkpoints) -> tuple[list[str], list[int]]:
    """The losses and batch sizes that there are; InputError for more than can be told apart."""
    losses = sorted(set(checkpoints.setting("loss")))
    batches = sorted({run.group.batch_size for run in checkpoints.runs})
    if len(losses) > len(COLORS) or len(batches) > len(MARKERS):
        raise InputError(
            f"expected at most {len(COLORS)} losses and {len(MARKERS)} batch sizes, found {len(losses)} and "
            f"{len(batches)}; choose with --where"
        )
    return losses, batches


def legend_of(checkpoints: Checkpoints) -> list[Line2D]:
    losses, batches = groups_of(checkpoints)
    of_losses = [
        Line2D([], [], marker="o", linestyle="", markersize=4, color=color, label=label(loss))
        for color, loss in zip(COLORS, losses, strict=False)
    ]
    return of_losses + [
        Line2D([], [], marker=marker, linestyle="", markersize=4, color="0.35", label=f"batch {batch}")
        for marker, batch in zip(MARKERS, batches, strict=False)
    ]


if __name__ == "__main__":
    raise SystemExit(command(main)())

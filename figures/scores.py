"""`python -m figures.scores`: how well anomaly scores tell anomalous from normal images: ROC curves and histograms."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from figures.parts.style import COLORS, PAGE, check_out, label, save, use_style
from training.data.score import auroc
from training.runtime.command import InputError, command, parse, unusable

DESCRIPTION = """Draw the scores of one or more runs: ROC curves on the left, histograms on the right.

Example: python -m figures.scores runs/a runs/b --out scores.png

The legend gives each run's AUROC with its 95% interval, of the scores in its scores.csv. All histograms have the same
bins, on a logarithmic axis where the scores of all runs are positive and span more than a factor of ten."""

MOST_RUNS = 8
LOG_FROM = 10.0  # highest by lowest score
COUNTS = (10, 60)  # bins
INSIDE = 4  # runs of which the legend has room below the curves
DASHES = ("-", "--")  # for more runs than colours


@dataclass(frozen=True)
class Arguments:
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that training.train wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""
    bins: Literal["auto", "log", "linear"] = "auto"
    """How the bins of the histograms are spaced."""


@dataclass(frozen=True)
class Scores:
    """The test scores of one run. name: as it stands in the figure; key: what the images are, to compare runs by."""

    name: str
    normal: NDArray[np.float64]
    anomalous: NDArray[np.float64]
    key: tuple[tuple[str, str], ...] = ()


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.scores", DESCRIPTION)
    if not 1 <= len(arguments.folders) <= MOST_RUNS:
        raise InputError(
            f"folders: expected 1 to {MOST_RUNS} that training.train wrote, found {len(arguments.folders)}"
        )
    check_out(arguments.out)
    runs = told_apart([read_scores(folder) for folder in arguments.folders])
    use_style()
    save(draw(runs, arguments.bins), arguments.out)
    print(arguments.out)


def read_scores(folder: Path) -> Scores:
    """The scores in `folder`/scores.csv (id, label, score); InputError if they are not what training.train writes."""
    path = folder / "scores.csv"
    try:
        with path.open(newline="") as file:
            header, *rows = list(csv.reader(file))
        key = tuple((name, kind) for name, kind, _ in rows)
        scores = np.array([float(score) for _, _, score in rows])
        usable = header == ["id", "label", "score"] and {kind for _, kind in key} <= {"0", "1"}
    except OSError as error:
        raise unusable(path, "id,label,score as training.train writes", error) from None
    except (ValueError, csv.Error):
        usable = False
    if not usable:
        raise InputError(
            f"{path}: expected id,label,score with labels 0 and 1, as training.train writes, found none such"
        )
    anomalous = np.array([kind == "1" for _, kind in key], bool)
    if not 0 < anomalous.sum() < len(anomalous):
        raise InputError(
            f"{path}: expected normal and anomalous images, found {(~anomalous).sum()} and {anomalous.sum()}"
        )
    if not np.isfinite(scores).all():
        raise InputError(f"{path}: expected finite scores, found {(~np.isfinite(scores)).sum()} that are not")
    return Scores(run_name(folder), scores[~anomalous], scores[anomalous], key)


def run_name(folder: Path) -> str:
    """The run's loss with the folder's name; the latter alone where no metrics.json says what the loss was."""
    name = folder.resolve().name
    try:
        return f"{label(json.loads((folder / 'metrics.json').read_text())['config']['loss'])}, {name}"
    except (OSError, ValueError, KeyError, TypeError):
        return name


def told_apart(runs: Sequence[Scores]) -> list[Scores]:
    """Runs of a sweep, whose folders are named by all of their settings, named by those in which they differ alone."""
    parts = [run.name.split(",") for run in runs]
    shared = set.intersection(*({part for part in of_run if "=" in part} for of_run in parts))
    # The loss is named in front.
    kept = [[p for p in of_run if p not in shared and not p.strip().startswith("loss=")] for of_run in parts]
    return [replace(run, name=",".join(names) or run.name) for run, names in zip(runs, kept, strict=True)]


def roc(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1).

    An image is called anomalous if its score is at least the threshold. Equal scores of both classes make a slanted
    piece, so that the area under the straight lines between the points is the AUROC with ties counted half.
    """
    thresholds = np.unique(np.concatenate([normal, anomalous]))[::-1]
    rates = [
        np.concatenate([[0.0], 1 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)])
        for scores in (normal, anomalous)
    ]
    return rates[0], rates[1]


def bins_of(runs: Sequence[Scores], spacing: str = "auto") -> tuple[NDArray[np.float64], bool]:
    """Edges of bins that hold the scores of all runs, and whether they are spaced by their logarithms.

    Their width follows Freedman and Diaconis (1981), 2·IQR/∛n, as the median over the classes of all runs; there are
    10 to 60. With `auto` they are logarithmic if all scores are positive and the highest is more than ten times the
    lowest.
    Raises InputError for `log` with a score that has no logarithm.
    """
    parts = [part for run in runs for part in (run.normal, run.anomalous)]
    scores = np.concatenate(parts)
    low, high = float(scores.min()), float(scores.max())
    if spacing == "log" and low <= 0:
        raise InputError(f"--bins log: expected scores above 0, found {low:g}; use --bins linear")
    log = spacing == "log" or (spacing == "auto" and low > 0 and high > LOG_FROM * low)
    if not high > low:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    place = np.log if log else np.positive
    width = float(np.median([spread(place(part)) for part in parts]))
    count = int(np.clip((place(high) - place(low)) / max(width, 1e-300), *COUNTS))
    edges = np.geomspace(low, high, count + 1) if log else np.linspace(low, high, count + 1)
    edges[[0, -1]] = low, high  # exactly, whatever the rounding: the extreme scores are inside
    return edges, log


def spread(values: NDArray[np.float64]) -> float:
    """The width of bins that suits these values by Freedman and Diaconis."""
    low, high = np.percentile(values, (25, 75))
    return float(2 * (high - low) / len(values) ** (1 / 3))


def draw(runs: Sequence[Scores], spacing: str = "auto") -> Figure:
    """The figure: all ROC curves in one panel, and a histogram a run with shared axes."""
    figure = Figure(figsize=(PAGE, max(3.0, 0.35 + 0.85 * len(runs))), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1), squeeze=False)[0]
    roc_axes = draw_roc(left.subplots(), runs)
    roc_axes.set_anchor("N")
    place = {"title": "AUROC [95% interval]", "title_fontsize": 7, "edgecolor": "none"}
    if len(runs) <= INSIDE:
        roc_axes.legend(loc="lower right", framealpha=0.9, **place)
    else:
        roc_axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), **place)
    edges, log = bins_of(runs, spacing)
    panels = right.subplots(len(runs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for i, (ax, run) in enumerate(zip(panels, runs, strict=True)):
        draw_histogram(ax, run, edges, color_of(i))
        ax.set_title(run.name, loc="left", fontsize=7, pad=2)
    panels[0].set_ylim(0, 1.05 * max(ax.dataLim.ymax for ax in panels))
    panels[-1].set_xlabel("anomaly score (mean squared error of an image)")
    if log:
        panels[-1].set_xscale("log")
        if edges[-1] < 100 * edges[0]:  # too few powers of ten to read a value from
            panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panels[-1].xaxis.set_minor_formatter(NullFormatter())
    right.supylabel("share of the images of a class", fontsize=8)
    if len({run.key for run in runs}) > 1:
        figure.text(0.5, -0.02, "Not comparable as they stand: different test images", ha="center", color="#B00000")
    return figure


def draw_roc(ax: Axes, runs: Sequence[Scores]) -> Axes:
    """Draw the ROC curve of each run, labelled with its AUROC, and the line of chance; returns `ax`."""
    for i, run in enumerate(runs):
        result = auroc(run.normal, run.anomalous)
        separator = "\n" if len(runs) <= INSIDE else ":  "
        text = f"{run.name}{separator}{result.value:.3f} [{result.low:.3f}, {result.high:.3f}]"
        style = DASHES[i // len(COLORS)]
        ax.plot(*roc(run.normal, run.anomalous), style, color=color_of(i), label=text)
    ax.plot([0, 1], [0, 1], ":", color="0.5", linewidth=0.8)
    ax.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.set_aspect("equal")
    ax.grid(alpha=0.3, linewidth=0.4)
    return ax


def color_of(run: int) -> str:
    return COLORS[run % len(COLORS)]


def draw_histogram(ax: Axes, run: Scores, edges: NDArray[np.float64], color: str) -> Axes:
    """Draw the share of normal images (grey) and of anomalous ones (`color`) in each bin; returns `ax`."""
    for scores, of_class, name in ((run.normal, "0.35", "normal"), (run.anomalous, color, "anomalous")):
        share = np.histogram(scores, edges)[0] / len(scores)
        ax.stairs(share, edges, color=of_class, fill=True, alpha=0.35, label=f"{name} ({len(scores):,})")
        ax.stairs(share, edges, color=of_class, linewidth=0.9)
    ax.legend(frameon=False, fontsize=6, borderpad=0, handlelength=1.5)
    return ax


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""A forest plot of the differences that analysis.compare found: a line a measure, ratios and standardized."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from analysis.measures.catalogue import sharper_sign, turned_name
from analysis.relation.differences import COLUMNS, inverse
from analysis.rows.results import number, read_table
from figures.parts.style import COLORS, PAGE
from training.runtime.command import InputError

Triple = tuple[float, float, float]
RATIO = ("ratio", "ratio_low", "ratio_high")
REACH = 3
STANDARDIZED = ("standardized", "standardized_low", "standardized_high")


@dataclass(frozen=True)
class Effect:
    """B against A in one measure: value, low and high of the ratio and of the standardized difference."""

    measure: str
    ratio: Triple
    standardized: Triple


def read_effects(path: Path, wanted: Sequence[str] = (), up: bool = False) -> list[Effect]:
    """The rows of a table that analysis.compare wrote with --out x.csv; `up`: turned so that up means B is sharper."""
    header, rows = read_table(path, COLUMNS, "what analysis.compare writes with --out x.csv")
    found = []
    for line, row in enumerate(rows, start=2):
        values = dict(zip(header, row, strict=True))
        a, b, c, d, e, f = (number(path, line, name, values[name]) for name in (*RATIO, *STANDARDIZED))
        found.append(Effect(values["measure"], (a, b, c), (d, e, f)))
    for name in wanted:
        if name not in [effect.measure for effect in found]:
            names = ", ".join(effect.measure for effect in found)
            raise InputError(f"--measures {name}: expected names among {names}, found another")
    chosen = [effect for effect in found if not wanted or effect.measure in wanted]
    return [sharper_up(effect) for effect in chosen] if up else chosen


def sharper_up(effect: Effect) -> Effect:
    """The effect with its sign turned and its ratio inverted, where a smaller value means sharper."""
    if sharper_sign(effect.measure) > 0:
        return effect
    (ratio, low, high), (value, lowest, highest) = effect.ratio, effect.standardized
    return Effect(
        turned_name(effect.measure), (inverse(ratio), inverse(high), inverse(low)), (-value, -highest, -lowest)
    )


def draw_forest(effects: Sequence[Effect], names: tuple[str, str] = ("A", "B")) -> Figure:
    """Left the ratio of geometric means, where there is one; right the difference in deviations between seeds."""
    figure = Figure(figsize=(PAGE, 0.8 + 0.2 * len(effects)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_effects(left, [effect.ratio for effect in effects], 1)
    left.set_xscale("log")
    spread = within_reach([effect.ratio for effect in effects])
    narrow = not spread or max(spread) / min(spread) < 5  # hardly a tick at 1, 2, 5 times a power of ten
    left.xaxis.set_major_locator(MaxNLocator(6) if narrow else LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.xaxis.set_minor_locator(NullLocator())
    low, high = min([*spread, 0.9]), max([*spread, 1.1])
    left.set_xlim(low / 1.15, high * 1.15)
    draw_effects(right, [effect.standardized for effect in effects], 0)
    left.set_yticks(range(len(effects)), [effect.measure for effect in effects])
    left.set_ylim(len(effects) - 0.4, -0.6)
    left.set_xlabel(f"ratio of geometric means, {names[1]} / {names[0]}")
    right.set_xlabel(f"{names[1]} − {names[0]}, in standard deviations\nbetween training seeds")
    return figure


def within_reach(ratios: Sequence[Triple]) -> list[float]:
    """The ratios, and those of their bounds that are at most REACH times as far from 1 as the farthest ratio: of two
    seeds Student's bounds may lie anywhere, and would leave nothing else to be seen."""
    values = [value for value, _, _ in ratios if value > 0]
    farthest = REACH * max([abs(math.log(value)) for value in values], default=0)
    bounds = [bound for _, *both in ratios for bound in both if 0 < bound < math.inf]
    return [*values, *(bound for bound in bounds if abs(math.log(bound)) <= farthest)]


def draw_effects(ax: Axes, effects: Sequence[Triple], nothing: float) -> Axes:
    """A point with its interval a row, filled where the interval excludes `nothing`; returns `ax`."""
    ax.axvline(nothing, color="0.5", linewidth=0.8, zorder=0)
    for row, (value, low, high) in enumerate(effects):
        if math.isnan(value):
            ax.text(0.02, row, "none", transform=ax.get_yaxis_transform(), va="center", color="0.5", fontsize=6)
            continue
        apart = low > nothing or high < nothing
        color = COLORS[1] if apart else COLORS[0]
        if not math.isnan(low):
            ax.plot([low, high], [row, row], color=color, linewidth=1.2)
        ax.plot(value, row, "o", color=color, markersize=4, markerfacecolor=color if apart else "white")
    for row in range(len(effects)):
        ax.axhline(row, color="0.92", linewidth=0.5, zorder=-1)
    return ax

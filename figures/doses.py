"""`python -m figures.doses`: AUROC against sharpness, arm by arm, of twins at equal fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from analysis.relation.doses import COLUMNS
from analysis.rows.results import read_table
from figures.parts.style import COLORS, PAGE, check_out, save, use_style
from training.runtime.command import InputError, command, parse

DESCRIPTION = """Draw what twins that were made sharper or flatter lost or gained in AUROC, beside their placebos.

Example: python -m figures.doses results/doses_arms.csv --out doses.png
The file is that of analysis.doses --out NAME.csv. Right of 1 is sharper than plain training; above 0 detects better.
Lines join the doses of a kind; bars are Student's 95% intervals over training seeds."""

#: kind of arm -> (its name in the legend, marker, colour)
KINDS: dict[str, tuple[str, str, str]] = {
    "SAM": ("SAM (flatter)", "o", COLORS[0]),
    "reverse": ("reverse (sharper)", "s", COLORS[1]),
    "random": ("placebo: random step of the same norm", "D", "0.45"),
    "l2-lamp": ("L2-LAMP", "*", COLORS[2]),
}


@dataclass(frozen=True)
class Arguments:
    arms: Annotated[Path, tyro.conf.Positional]
    """The CSV file that analysis.doses wrote."""
    out: Path
    """The figure: .png, .pdf or .svg."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.doses", DESCRIPTION)
    check_out(arguments.out)
    use_style()
    header, rows = read_table(arguments.arms, COLUMNS, "what analysis.doses writes")
    arms = [arm for arm in (dict(zip(header, row, strict=True)) for row in rows) if arm["pairs"] != "0"]
    if not arms:
        raise InputError(f"{arguments.arms}: expected an arm that reached its fit, found none")
    save(draw(arms), arguments.out)
    print(arguments.out)


def draw(arms: Sequence[Mapping[str, str]]) -> Figure:
    """The figure: a panel a fit."""
    fits = list(dict.fromkeys(arm["fit"] for arm in arms))
    figure = Figure(figsize=(PAGE, 2.8), layout="constrained")
    axes = figure.subplots(1, len(fits), squeeze=False, sharey=True)[0]
    handles: dict[str, Any] = {}
    for ax, fit in zip(axes, fits, strict=True):
        handles |= draw_fit(ax, [arm for arm in arms if arm["fit"] == fit])
        ax.set_title(f"stopped at a training L2 of {fit}")
        ax.set_xlabel("sharpness, ratio to plain training")
    axes[0].set_ylabel("AUROC, less that of\nplain training")
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_fit(ax: Any, arms: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The arms of a fit, a line a kind; what the legend shows of them. AUROC at the fit itself where all have it."""
    gain = "auroc_at_fit" if all(arm["auroc_at_fit"] for arm in arms) else "auroc"
    handles = {}
    for kind, (name, marker, color) in KINDS.items():
        mine = sorted((arm for arm in arms if arm["arm"].split()[0] == kind), key=lambda arm: abs(float(arm["rho"])))
        if not mine:
            continue
        x, y = ([float(arm[column]) for arm in mine] for column in ("ratio", gain))
        ax.errorbar(x, y, spread(mine, gain), spread(mine, "ratio"), fmt="none", ecolor=color, elinewidth=0.7)
        marked = range(1, len(x) + 1)
        (handles[name],) = ax.plot([1, *x], [0, *y], color=color, linewidth=0.7, marker=marker, markevery=marked)
        for arm, *place in zip(mine, x, y, strict=True):
            if float(arm["rho"]):
                ax.annotate(f"{float(arm['rho']):g}", place, (3, 3), textcoords="offset points", fontsize="x-small")
    ax.axhline(0, color="0.5", linewidth=0.6)
    ax.axvline(1, color="0.5", linewidth=0.6)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks([0.25, 0.5, 1, 2, 4])
    return handles


def spread(arms: Sequence[Mapping[str, str]], name: str) -> list[list[float]]:
    """How far the interval of a column reaches below and above it; 0 where there is none."""
    ends = [[float(arm[column] or arm[name]) for arm in arms] for column in (f"{name}_low", f"{name}_high")]
    middle = [float(arm[name]) for arm in arms]
    return [[abs(end - at) for end, at in zip(side, middle, strict=True)] for side in ends]


if __name__ == "__main__":
    raise SystemExit(command(main)())

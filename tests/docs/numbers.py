"""Numbers of the pages, recomputed from `results/`: `python -m tests.docs.numbers [--write]`.

In a page a number is followed by a comment with what it is, which readers of the page do not see:

    the gain at the end is +0.014 (+0.005 to +0.023)<!-- = gain("table1", 32) -->

(a number, the ends of an interval, or both), and a table stands between `<!-- table: … -->` and `<!-- end -->`. Both
are Python over the functions below. A number keeps its sign, decimals, separator of thousands and percent sign as the
page has them. `--write` puts what the files give in the place of what stands there.
"""

import csv
import functools
import itertools
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import Any

from analysis.paper import gains as _gains
from analysis.paper.printed import paper_table1
from analysis.relation.differences import Difference, difference, pair
from analysis.relation.doses import arms as dose_arms
from analysis.relation.measured import read_checkpoints
from analysis.rows.formats import markdown
from analysis.rows.matching import log_ratio_of_curves
from analysis.rows.results import chosen, read_history, read_runs
from analysis.statistics.paired import MeanInterval, mean_interval

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/paper.md", "docs/sharpness.md", "README.md")
N = r"[+-]?\d[\d,]*(?:\.\d+)?"
NUMBER = re.compile(
    rf"(?P<shown>{N} \({N} to {N}\)|{N} to {N}|{N})(?P<unit>%?)<!-- = (?P<what>(?:(?!-->).)*) -->", re.S
)
TABLE = re.compile(r"(<!-- table: (?P<what>.*?) -->\n)(?P<rows>.*?)(<!-- end -->)", re.S)

Rows = list[list[str]]


@functools.cache
def rows(name: str) -> list[dict[str, str]]:
    """The rows of results/NAME.csv."""
    with (ROOT / f"results/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pick(name: str, **where: object) -> list[dict[str, str]]:
    """The rows of results/NAME.csv with these values, numbers as numbers."""
    found = [row for row in rows(name) if all(same(row[column], value) for column, value in where.items())]
    if not found:
        raise LookupError(f"results/{name}.csv: no row with {where}")
    return found


def same(text: str, value: object) -> bool:
    if isinstance(value, str):
        return text == value
    try:
        return float(text) == value
    except ValueError:
        return False


def cell(name: str, column: str, **where: object) -> float:
    """A number of the one row with these values."""
    (row,) = pick(name, **where)
    return float(row[column])


def column(name: str, column: str, **where: object) -> list[float]:
    return [float(row[column]) for row in pick(name, **where) if row[column]]


def mean(name: str, column_name: str, **where: object) -> float:
    """The mean of a column over the rows with these values."""
    return fmean(column(name, column_name, **where))


@functools.cache
def groups(name: str, *where: str) -> list[_gains.Group]:
    path = ROOT / f"results/{name}.csv"
    runs = chosen(read_runs(path), where)
    return _gains.grouped(runs, read_history(path.with_name(f"{name}_history.csv")), path)


def gain(
    name: str, batch: int, rule: str = "end", level: float = float("nan"), where: tuple[str, ...] = ()
) -> MeanInterval:
    """The gain of LAMP over digits with its interval over seeds: analysis.tables gains."""
    (group,) = [one for one in groups(name, *where) if one.batch_size == batch]
    return _gains.gain(group, rule, level)


def gains(name: str, *thresholds: float, where: tuple[str, ...] = ()) -> Rows:
    """The table of `python -m analysis.tables gains results/NAME.csv`."""
    return _gains.gains_table(groups(name, *where), thresholds).rows


@functools.cache
def compared(name: str, a: str, b: str, measure: str = "auroc", *where: str) -> Difference:
    """B - A of a measure: analysis.compare."""
    checkpoints = read_checkpoints(ROOT / f"results/{name}.csv", where)
    return difference(pair(checkpoints, [a], [b]), measure, None)


@functools.cache
def slower(name: str, batch: int, where: tuple[str, ...] = ()) -> float:
    """The training L2 of LAMP over that of its base at equal updates: geometric mean over evaluations and runs."""
    (group,) = [one for one in groups(name, *where) if one.batch_size == batch]
    return geometric_mean([math.exp(log_ratio_of_curves(*pair)) for of in group.pairs.values() for pair in of])


@functools.cache
def jump(name: str, batch: int, lamp: bool) -> float:
    """Mean distance of AUROC between neighbours of the last five epochs, over runs of LAMP or of its base."""
    (group,) = [one for one in groups(name) if one.batch_size == batch]
    last = [[at.auroc for at in pair[lamp][-5:]] for pairs in group.pairs.values() for pair in pairs]
    return fmean(abs(b - a) for aurocs in last for a, b in itertools.pairwise(aurocs))


def between_batches(name: str, first: int, second: int, loss: str, column_name: str = "auroc") -> MeanInterval:
    """A column at the second batch size less that at the first: over digits, with its interval over common seeds."""
    table = [row for row in rows(name) if row["loss"] == loss and row["status"] == "done"]
    of = {(int(row["batch_size"]), int(row["seed"]), row["normal"]): float(row[column_name]) for row in table}
    digits = sorted({key[2] for key in of})
    seeds = [
        seed
        for seed in sorted({key[1] for key in of})
        if all((batch, seed, digit) in of for batch in (first, second) for digit in digits)
    ]
    return mean_interval([fmean(of[second, s, d] - of[first, s, d] for d in digits) for s in seeds])


def paper_gain(batch: int) -> float:
    """The gain that the paper prints."""
    base, lamp = paper_table1()[batch]
    return lamp - base


def short_gains() -> Rows:
    """Gains at the last epoch of the first runs, with and without the digit 8, beside the paper's."""
    batches = (1024, 128, 32, 16, 4, 1)
    without = [f"{gain('table1', batch, where=('normal!=8',)).mean:+.3f}" for batch in batches]
    ten = [f"{gain('table1', batch).mean:+.3f}" for batch in batches]
    theirs = [f"{paper_gain(batch):+.3f}" for batch in batches]
    header = ["gain of LAMP, batch size", *map(str, batches)]
    return [header, ["nine digits", *without], ["ten digits, as in the paper", *ten], ["the paper's", *theirs]]


def by_batch() -> Rows:
    """Means over digits and seeds of the 120 models."""
    columns = {"auroc": "{:.3f}", "train_l2": "{:.1f}", "half_curvature@l2": "{:.1f}", "delta_large@l2": "{:.1f}"}
    columns |= {"lambda_max@l2": "{:,.0f}", "keskar@l2": "{:,.0f}"}
    lines = [["batch size, loss", "AUROC", "training L2", "half curvature", "ΔL at 0.5", "λmax", "Keskar, ε = 0.001"]]
    for batch in (128, 16, 4):
        for loss, name in (("l2", "L2"), ("l2-lamp", "L2-LAMP")):
            values = [text.format(mean("sharpness", of, batch_size=batch, loss=loss)) for of, text in columns.items()]
            lines.append([f"{batch}, {name}", *values])
    return lines


def fit_table() -> Rows:
    """L2-LAMP against L2, each stopped at the same training L2: analysis.compare and analysis.doses of fit.csv."""
    lines = [
        ["stopped at a training L2 of", "pairs", "half curvature, LAMP over L2", "λmax, LAMP over L2", "AUROC gain"]
    ]
    histories = read_history(ROOT / "results/fit_history.csv")
    for one in dose_arms(read_checkpoints(ROOT / "results/fit.csv"), "half_curvature@l2", histories):
        largest = compared("fit", "loss=l2", "loss=l2-lamp", "lambda_max@l2", f"until_l2={one.fit}").ratio
        ratios = ["{:.2f} ({:.2f} to {:.2f})".format(*values) for values in (one.ratio, largest)]
        auroc = f"{one.at_fit.mean:+.3f} ({one.at_fit.low:+.3f} to {one.at_fit.high:+.3f})"
        lines.append([f"{one.fit:g}", str(one.pairs), *ratios, auroc])
    return lines


def arms_cell(arm: str, name: str, fit: float = 35) -> tuple[float, ...]:
    """A number of an arm of results/doses_arms.csv with its interval."""
    return tuple(cell("doses_arms", f"{name}{end}", arm=arm, fit=fit) for end in ENDS)


def arms(*names: str) -> Rows:
    """The table of `python -m analysis.doses`, from the CSV file that it wrote."""
    header = ["fit", "arm", "pairs", "sharpness, ratio to plain", "AUROC, less plain's, at the fit"]
    lines = [header]
    for row in (row for name in names for row in rows(name)):
        ratio = "{} ({} to {})".format(*(written_as(float(row[f"ratio{end}"]), "0.00", "") for end in ENDS))
        auroc = "{} ({} to {})".format(*(written_as(float(row[f"auroc_at_fit{end}"]), "+0.000", "") for end in ENDS))
        lines.append([row["fit"], row["arm"], row["pairs"], ratio, auroc])
    return lines


ENDS = ("", "_low", "_high")
NAMES: dict[str, object] = {
    one.__name__: one
    for one in (
        *(pick, cell, column, mean, rows, gain, gains, arms, compared, slower, between_batches, jump),
        *(arms_cell, paper_gain, short_gains, by_batch, fit_table),
        *(fmean, geometric_mean, median),
    )
}


def value_of(what: str) -> object:
    return eval(
        what, {"__builtins__": {"sum": sum, "len": len, "abs": abs, "min": min, "max": max, "tuple": tuple}, **NAMES}
    )


def parts_of(value: Any, count: int) -> Sequence[float]:
    """A value as one number, as the two ends of an interval, or as both with the mean before them."""
    if isinstance(value, MeanInterval):
        value = (value.mean, value.low, value.high)
    if isinstance(value, tuple):
        return value[-count:] if count > 1 else value[:1]
    return [float(value)]


def written_as(value: float, like: str, unit: str) -> str:
    """A number with the sign, decimals and separators of `like`, in percent if its unit is that."""
    decimals = len(like.partition(".")[2])
    sign = "+" if like[0] in "+-" else ""
    separator = "," if "," in like or ("." not in like and len(like.lstrip("+-")) > 4) else ""
    value = round(100 * value if unit else value, decimals) + 0.0  # no minus before zero
    return f"{value:{sign}{separator}.{decimals}f}"


def renewed(text: str) -> str:
    """A page with all its marked numbers and tables as the files give them."""

    def number(match: re.Match[str]) -> str:
        values = iter(parts_of(value_of(match["what"]), len(re.findall(N, match["shown"]))))
        shown = re.sub(N, lambda found: written_as(next(values), found[0], match["unit"]), match["shown"])
        return f"{shown}{match['unit']}<!-- = {match['what']} -->"

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{markdown(value_of(match['what']))}\n{match[4]}"  # type: ignore[arg-type]

    return NUMBER.sub(number, TABLE.sub(table, text))


def without_marks(text: str) -> str:
    """A page without its marked numbers and tables, code and pictures: what is left has no numbers of results."""
    text = TABLE.sub("", NUMBER.sub("", text))
    return re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.S)


def main(arguments: list[str]) -> int:
    wrong = 0
    for page in PAGES:
        path = ROOT / page
        text = path.read_text()
        new = renewed(text)
        if "--write" in arguments:
            path.write_text(new)
        for before, after in zip(text.splitlines(), new.splitlines(), strict=False):
            if before != after:
                wrong += 1
                print(f"{page}\n- {before}\n+ {after}")
    return 1 if wrong and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

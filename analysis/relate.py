"""`python -m analysis.relate`: sharpness against AUROC over checkpoints, as a table of rank correlations."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.rows.formats import TABLE_FORMATS, FormatName, Table, comma_separated
from training.runtime.command import InputError, command, make_parent, parse, write_whole

if TYPE_CHECKING:
    from analysis.relation.measured import Checkpoints
    from analysis.relation.relations import Relation

DESCRIPTION = """Relate measures of sharpness to AUROC over a sweep's checkpoints.

Example: python -m analysis.relate results/sharpness.csv --where "normal!=8" --measures @l2 --out relate.csv
Rank correlations over all checkpoints, within digits and within losses, with cluster bootstrap intervals, permutation
tests corrected for the number of measures, partial correlations given training L2, batch size and loss, and granulated
Kendall."""

NOTHING = "—"
WITHIN_LOSS = "spearman_within_loss"
LEAST_DIGITS = 5  # fewer, and percentile intervals over digits are known to be too narrow


@dataclass(frozen=True)
class Arguments:
    results: Annotated[Path, tyro.conf.Positional]
    """The CSV file that analysis.sharpness wrote."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only checkpoints with this setting, name=value, or without it, name!=value; may be repeated."""
    measures: tuple[str, ...] = ()
    """Measures: whole names (trace@l2), names for all losses (trace), or losses for all names (@l2); all if none."""
    free: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting that goes with another, such as lr with loss: granulated Kendall need not keep it; may be repeated."""
    resamples: int = 2000
    """Bootstrap resamples."""
    permutations: int = 9999
    """Permutations of the tests."""
    seed: int = 0
    """Seed of both."""
    format: FormatName = "markdown"
    """How the table is written."""
    json: bool = False
    """Print the long table as JSON instead, and nothing else."""
    out: Path | None = None
    """Also write to this file: a .csv gets the long table (a row a statistic, for figures.relation), others the table
    as printed; its path is then the last line."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.relate", DESCRIPTION)
    check_numbers(arguments)
    from analysis.relation.measured import read_checkpoints
    from analysis.relation.relations import hyperparameters, relations

    checkpoints = read_checkpoints(arguments.results, arguments.where, arguments.measures)
    found = relations(checkpoints, arguments.free, arguments.resamples, arguments.permutations, arguments.seed)
    table = relation_table(found, checkpoints, hyperparameters(checkpoints, arguments.free), arguments)
    text = TABLE_FORMATS[arguments.format](table)
    if arguments.out:
        make_parent(arguments.out)
    print(json_text(found, table.notes) if arguments.json else text, end="")
    if arguments.out:
        write_whole(arguments.out, long_table(found) if arguments.out.suffix == ".csv" else text)
        if not arguments.json:
            print(arguments.out)


def check_numbers(arguments: Arguments) -> None:
    for name, least in (("resamples", 100), ("permutations", 99), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise InputError(f"--{name}: expected at least {least}, found {getattr(arguments, name)}")


def long_table(found: "Sequence[Relation]") -> str:
    """The long table as CSV; empty where there is nothing."""
    from analysis.relation.relations import COLUMNS

    rows = [[plain(getattr(relation, name)) for name in COLUMNS] for relation in found]
    return comma_separated([list(COLUMNS), *([text_of(value) for value in row] for row in rows)])


def json_text(found: "Sequence[Relation]", notes: Sequence[str]) -> str:
    rows = [{name: plain(value) for name, value in asdict(relation).items()} for relation in found]
    return json.dumps({"relations": rows, "notes": list(notes)}, indent=1, ensure_ascii=False) + "\n"


def plain(value: float | int | str) -> float | int | str | None:
    return None if isinstance(value, float) and math.isnan(value) else value


def text_of(value: float | int | str | None) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def relation_table(
    found: "Sequence[Relation]", checkpoints: "Checkpoints", varying: Sequence[str], arguments: Arguments
) -> Table:
    """A row a measure. What cannot be said is a dash, and a note says why."""
    by_name = {(relation.measure, relation.statistic): relation for relation in found}
    header = ["measure", "n", "Spearman", "95% interval", "Kendall", "within digit", "95% interval"]
    by_loss = any(statistic == WITHIN_LOSS for _, statistic in by_name)
    header += ["within digit and loss", "95% interval"] * by_loss + ["p", "p corrected"]
    header += ["partial", "95% interval", "partial within digit", "95% interval"]
    granulated = [f"granulated:{name}" for name in (*varying, "mean")]
    header += [f"Kendall by {name.removeprefix('granulated:')}" for name in granulated[:-1]]
    rows = [[*header, "granulated Kendall", "95% interval"]]
    for measure in checkpoints.measures:
        of = {statistic: relation for (name, statistic), relation in by_name.items() if name == measure}
        tested = of[WITHIN_LOSS if by_loss else "spearman_within"]
        row = [measure, str(of["spearman"].n), *both(of["spearman"]), signed(of["kendall"].value)]
        row += [*both(of["spearman_within"]), *(both(tested) if by_loss else [])]
        row += [p_text(tested.p), p_text(tested.p_corrected)]
        row += [*both(of["partial"]), *both(of["partial_within"])]
        rows.append([*row, *(signed(of[name].value) for name in granulated), interval(of["granulated:mean"])])
    family = sum(not math.isnan(relation.p) for relation in found)
    digits = len(checkpoints.tasks)
    title = f"Sharpness against AUROC: {len(checkpoints.runs)} checkpoints, {digits} digit{'s' * (digits != 1)}"
    reasons = {(r.measure, r.why): r.statistic for r in reversed(found) if r.why}
    whys = [f"{NOTHING} {measure}, {statistic}: {why}." for (measure, why), statistic in reversed(reasons.items())]
    return Table(
        title, rows, [*checkpoints.notes, *definitions(checkpoints, arguments, family), *cautions(checkpoints), *whys]
    )


def definitions(checkpoints: "Checkpoints", arguments: Arguments, family: int) -> list[str]:
    """Every column in words."""
    from analysis.relation.strata import covariates, listed, loss_codes

    by_loss = int(loss_codes(checkpoints).max() > 0)
    stratum = "digit and loss" if by_loss else "digit"
    given = list(covariates(checkpoints))
    return [
        "Spearman, Kendall: rank correlation (tau-b) of the measure with AUROC over all checkpoints; negative: models "
        "with a greater value detect worse. Greater is sharper, but flatter for a radius or an area, and less negative "
        "curvature for lambda_min.",
        "Within digit: the mean over digits of Spearman's coefficient within a digit, so that digits' difficulty "
        "plays no part.",
        *[
            "Within digit and loss: the mean over digits and training losses of Spearman's coefficient within both; a "
            "difference between losses plays no part in it."
        ]
        * by_loss,
        f"Intervals: 95%, percentiles of {arguments.resamples} cluster bootstrap resamples (seed {arguments.seed}): "
        "digits are drawn, and training seeds, once for all drawn digits because a seed gives all of them the same "
        "initial weights (two-way bootstrap); of granulated Kendall digits alone.",
        f"p: {arguments.permutations} permutations of AUROC within each {stratum}, of the coefficient "
        f"within {stratum}, two-sided; they take checkpoints of a {stratum} as exchangeable, whatever their batch size "
        f"and seed. Corrected: for the {family} "
        f"measure{'s' * (family != 1)} here (step-down max T, Westfall and Young 1993).",
        f"Partial: given {listed(given)}: correlation of the residuals of both ranks on theirs (logarithms have the "
        "same ranks; Conover and Iman 1981): is it sharpness, or undertraining? From three checkpoints more than "
        "covariates on.",
        "Kendall by a setting: the mean coefficient over groups of checkpoints that differ in that setting alone (ties "
        "count 0); granulated Kendall: its mean over hyperparameters (Jiang et al. 2020), which the seed is not.",
    ]


def cautions(checkpoints: "Checkpoints") -> list[str]:
    """What to keep in mind with few digits or seeds, and of measures of other kinds."""
    import numpy as np

    from analysis.relation.measured import units_of_own
    from analysis.relation.relations import OF_AUROC
    from analysis.statistics.clusters import few_seeds

    digits, seeds = len(checkpoints.tasks), len(set(checkpoints.seed_codes().tolist()))
    endless = [name for name in checkpoints.measures if np.isinf(checkpoints.values[name]).any()]
    found = [f"Infinite values count as the greatest (or least) rank: {', '.join(endless)}."] if endless else []
    found += units_of_own(checkpoints.runs, checkpoints.measures)
    made = [name for name in checkpoints.measures if name.partition("@")[0] in OF_AUROC]
    if made:
        found.append(f"Made of AUROC itself, and so not tested: {', '.join(made)}.")
    if digits == 1 and seeds == 1:
        return [*found, f"{NOTHING} intervals: one digit and one seed leave nothing to resample."]
    if digits == 1:
        found.append("One digit: intervals are over its training seeds alone, and say nothing of other digits.")
    elif digits < LEAST_DIGITS:
        found.append(f"{digits} digits: so few clusters make intervals too narrow.")
    if seeds == 1:
        found.append("One training seed: intervals are over digits alone.")
    return [*found, *few_seeds(seeds)]


def both(relation: "Relation") -> list[str]:
    return [signed(relation.value), interval(relation)]


def signed(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:+.2f}"


def interval(relation: "Relation") -> str:
    return NOTHING if math.isnan(relation.low) else f"{relation.low:+.2f} to {relation.high:+.2f}"


def p_text(p: float) -> str:
    return NOTHING if math.isnan(p) else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


if __name__ == "__main__":
    raise SystemExit(command(main)())

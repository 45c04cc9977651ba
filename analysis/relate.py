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
from training.runtime.kinds import TABLES

if TYPE_CHECKING:
    from analysis.relation.measured import Checkpoints
    from analysis.relation.relations import Relation

DESCRIPTION = """Relate measures of sharpness to AUROC over a sweep's checkpoints.

Example: python -m analysis.relate results/sharpness.csv --where "normal!=8" --measures @l2 --out relate.csv
Rank correlations over all checkpoints, within digits and losses, and where the seed alone differs, with intervals over
training seeds and over digits, permutation tests that take seeds as crossed with digits, corrected for the number of
measures, partial correlations given training L2, batch size and loss, and granulated Kendall."""

NOTHING = "—"
WITHIN_LOSS = "spearman_within_loss"
SEEDS, BOTH = "95% seeds", "95% digits and seeds"
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
    sharper_up: bool = False
    """Turn signs in the printed table so that up always means sharper (of radii, areas, lambda_min); .csv and JSON
    keep them."""
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
    if arguments.out:
        make_parent(
            arguments.out, *([TABLES["measure", "statistic", "value"]] if arguments.out.suffix == ".csv" else [])
        )
    from analysis.relation.measured import read_checkpoints
    from analysis.relation.relations import hyperparameters, relations

    checkpoints = read_checkpoints(arguments.results, arguments.where, arguments.measures)
    found = relations(checkpoints, arguments.free, arguments.resamples, arguments.permutations, arguments.seed)
    table = relation_table(found, checkpoints, hyperparameters(checkpoints, arguments.free), arguments)
    text = TABLE_FORMATS[arguments.format](table)
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
    from analysis.measures.catalogue import turned_name
    from analysis.relation.relations import sharper_up

    shown = [sharper_up(relation) for relation in found] if arguments.sharper_up else found
    by_name = {(relation.measure, relation.statistic): relation for relation in shown}
    by_loss = any(statistic == WITHIN_LOSS for _, statistic in by_name)
    granulated = [f"granulated:{name}" for name in varying]
    header = ["measure", "n", *three("Spearman"), "Kendall", *three("within digit")]
    header += [
        *(three("within digit and loss") if by_loss else []),
        "seed alone",
        SEEDS,
        "95% digits",
        "p",
        "p corrected",
    ]
    header += [*three("partial"), *three("partial within digit")]
    header += [f"Kendall by {name.removeprefix('granulated:')}" for name in granulated]
    rows = [[*header, "granulated Kendall", SEEDS, "95% digits"]]
    for measure in checkpoints.measures:
        of = {statistic: relation for (name, statistic), relation in by_name.items() if name == measure}
        row = [turned_name(measure) if arguments.sharper_up else measure, str(of["spearman"].n)]
        row += [*all_of(of["spearman"]), signed(of["kendall"].value), *all_of(of["spearman_within"])]
        row += [*(all_of(of[WITHIN_LOSS]) if by_loss else []), *all_of(of["seed_alone"])]
        row += [p_text(of["seed_alone"].p), p_text(of["seed_alone"].p_corrected)]
        row += [*all_of(of["partial"]), *all_of(of["partial_within"])]
        rows.append([*row, *(signed(of[name].value) for name in granulated), *all_of(of["granulated:mean"])])
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
    from analysis.measures.catalogue import MEASURES
    from analysis.relation.strata import covariates, listed, loss_codes

    given = list(covariates(checkpoints))
    lower = ", ".join(name for name, measure in MEASURES.items() if measure.sharper < 0)
    signs = (
        "signs are turned so that a greater value always means sharper, which a minus before the name says"
        if arguments.sharper_up
        else f"greater is sharper, but flatter for {lower}"
    )
    return [
        "Spearman, Kendall: rank correlation (tau-b) of the measure with AUROC over all checkpoints; positive: models "
        f"with a greater value detect better. Signs: {signs}.",
        "Within digit: the mean over digits of Spearman's coefficient within a digit, so that digits' difficulty "
        "plays no part.",
        *[
            "Within digit and loss: the mean over digits and training losses of Spearman's coefficient within both; a "
            "difference between losses plays no part in it, one between batch sizes does."
        ]
        * int(loss_codes(checkpoints).max() > 0),
        "Seed alone: the mean of Kendall's coefficient over cells, a cell being checkpoints of one digit and equal "
        "settings that differ in the training seed alone.",
        f"{SEEDS}: over other training seeds, for these digits: Student's of the jackknife that leaves out a seed with "
        "all its checkpoints, since a seed gives every digit the same initial weights.",
        f"{BOTH}: percentiles of {arguments.resamples} bootstrap resamples (seed {arguments.seed}) of digits, and of "
        "seeds, once for all drawn digits; of seed alone, Student's over digits, and of granulated Kendall, a "
        "bootstrap over digits, both for these seeds alone.",
        f"p: {arguments.permutations} permutations of whole digits and of whole seeds, two-sided, of what the measure "
        "and AUROC have in common where the seed alone differs, beyond what a seed does to all digits alike; batch "
        f"sizes and losses are never exchanged. Corrected: for the {family} measure{'s' * (family != 1)} here "
        "(step-down max T, Westfall and Young 1993).",
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
        found.append(f"{digits} digits: so few clusters make intervals over digits too narrow.")
    return [*found, *few_seeds(seeds, digits)]


def few_seeds(seeds: int, digits: int) -> list[str]:
    """What so few training seeds cannot say."""
    from analysis.statistics.permutation import least_p_of_seeds

    if seeds == 1:
        return [f"One training seed: no interval over seeds, no p; those of {BOTH} are over digits alone."]
    found = []
    if seeds == 2:
        found.append(
            f"Two training seeds: {SEEDS} is Student's with one degree of freedom, which is honestly wide; of seed "
            "alone there is none, and that over digits is too narrow if the seeds share an effect. The bootstrap's "
            "intervals of correlations are too wide if the seeds share nothing, and too narrow if they share much."
        )
    if digits == 1:
        return [*found, f"{NOTHING} p: one digit; its seeds cannot be told from what a seed does to all."]
    return [
        *found,
        f"{seeds} training seeds: of what a seed does to all digits alike, no permutation of seeds can give a p below "
        f"{least_p_of_seeds(seeds):.2g}, so that p leaves it out.",
    ]


def three(name: str) -> list[str]:
    return [name, SEEDS, BOTH]


def all_of(relation: "Relation") -> list[str]:
    """A value with its two intervals."""
    return [
        signed(relation.value),
        interval(relation.low, relation.high),
        interval(relation.digits_low, relation.digits_high),
    ]


def signed(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:+.2f}"


def interval(low: float, high: float) -> str:
    return NOTHING if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def p_text(p: float) -> str:
    return NOTHING if math.isnan(p) else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""`python -m analysis.compare`: measures of two groups of checkpoints, paired, with intervals over training seeds."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.rows.formats import TABLE_FORMATS, FormatName, Table, comma_separated
from training.runtime.command import InputError, command, make_parent, parse, write_whole
from training.runtime.kinds import TABLES

if TYPE_CHECKING:
    from analysis.relation.differences import Difference, Pairs

DESCRIPTION = """Compare the measures of two groups of checkpoints that are paired on everything else.

Example: python -m analysis.compare results/sharpness.csv --a loss=l2 --b loss=l2-lamp --where "normal!=8"
Example: python -m analysis.compare results/twins.csv --a sam_rho=0.0 --b sam_rho=0.05 --precision 0.2
Mean of each group, difference B - A with Student's interval over training seeds and the bootstrap's over digits and
seeds; of AUROC whether there is a difference, none beyond a margin, or no answer; how many more planes or seeds a
wanted precision needs."""

NOTHING = "—"
SEEDS, BOTH = "95% seeds", "95% digits and seeds"
SIGNS = "Signs are turned so that up always means sharper; a minus before its name says of which measure."


@dataclass(frozen=True)
class Arguments:
    results: Annotated[Path, tyro.conf.Positional]
    """The CSV file that analysis.sharpness wrote."""
    a: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """A setting of the first group, name=value; may be repeated, all must hold."""
    b: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """A setting of the second group."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only checkpoints with this setting, name=value, or without it, name!=value; may be repeated."""
    measures: tuple[str, ...] = ()
    """Measures: whole names (trace@l2), names for all losses (trace), or losses for all names (@l2); all if none."""
    free: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting in which the two of a pair may differ besides, such as lr; may be repeated."""
    precision: float = 0.1
    """The half-width of the interval over seeds to plan for, as a share of the difference."""
    margin: float = 0.01
    """A difference of AUROC that is as good as none: the margin of the test of equivalence."""
    sharper_up: bool = False
    """Turn signs in the printed table so that up always means sharper (of radii, areas, lambda_min); .csv and JSON
    keep them."""
    resamples: int = 2000
    """Bootstrap resamples."""
    seed: int = 0
    """Seed of the bootstrap."""
    format: FormatName = "markdown"
    """How the table is written."""
    json: bool = False
    """Print the numbers as JSON instead, and nothing else."""
    out: Path | None = None
    """Also write to this file: a .csv gets all numbers (a row a measure, for figures.relation), others the table as
    printed; its path is then the last line."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.compare", DESCRIPTION)
    check_numbers(arguments)
    if arguments.out:
        make_parent(arguments.out, *([TABLES["measure", "pairs", "digits"]] if arguments.out.suffix == ".csv" else []))
    from analysis.relation.differences import differences, pair
    from analysis.relation.measured import read_checkpoints

    checkpoints = read_checkpoints(arguments.results, arguments.where, arguments.measures)
    pairs = pair(checkpoints, arguments.a, arguments.b, arguments.free)
    found = differences(pairs, arguments.resamples, arguments.seed)
    table = difference_table(found, pairs, arguments)
    text = TABLE_FORMATS[arguments.format](table)
    rows = [numbers(one, arguments) for one in found]
    print(json_text(rows, table.notes) if arguments.json else text, end="")
    if arguments.out:
        write_whole(arguments.out, wide_table(rows) if arguments.out.suffix == ".csv" else text)
        if not arguments.json:
            print(arguments.out)


def check_numbers(arguments: Arguments) -> None:
    if arguments.resamples < 100:
        raise InputError(f"--resamples: expected at least 100, found {arguments.resamples}")
    if arguments.seed < 0:
        raise InputError(f"--seed: expected at least 0, found {arguments.seed}")
    if not 0 < arguments.precision <= 1:
        raise InputError(f"--precision: expected a share above 0, at most 1, found {arguments.precision:g}")
    if not 0 < arguments.margin < 1:
        raise InputError(f"--margin: expected a difference of AUROC above 0, below 1, found {arguments.margin:g}")


def numbers(one: "Difference", arguments: Arguments) -> dict[str, str | float | int]:
    """A row of the CSV file, by COLUMNS."""
    from analysis.relation.differences import COLUMNS
    from analysis.statistics.precision import plan

    needed = plan(one.spread, arguments.precision)
    values = (
        *(one.measure, one.pairs, one.digits, one.student.count, one.mean_a, one.mean_b, one.difference),
        *(one.student.low, one.student.high, *one.bootstrap, *one.ratio, *one.ratio_bootstrap, *one.standardized),
        *(one.signs.wins, one.signs.ties, one.signs.losses, one.p),
        *equivalence(one, arguments.margin),
        *(one.spread.noise_share, needed.half, arguments.precision, needed.seeds or math.nan, needed.planes),
    )
    return dict(zip(COLUMNS, values, strict=True))


def equivalence(one: "Difference", margin: float) -> tuple[float, float, str]:
    """The margin, the p-value of two one-sided tests, and what is said; of AUROC alone, whose unit the margin has."""
    from analysis.statistics.paired import equivalence_p, verdict

    if one.measure != "auroc":
        return math.nan, math.nan, ""
    of_seed = one.spread.of_seed.tolist()
    return margin, equivalence_p(of_seed, margin), verdict(of_seed, margin)


def wide_table(rows: Sequence[dict[str, str | float | int]]) -> str:
    from analysis.relation.differences import COLUMNS

    def text_of(value: str | float | int) -> str:
        return "" if isinstance(value, float) and math.isnan(value) else str(value)

    return comma_separated([list(COLUMNS), *([text_of(value) for value in row.values()] for row in rows)])


def json_text(rows: Sequence[dict[str, str | float | int]], notes: Sequence[str]) -> str:
    """As JSON, null for what there is not or is infinite."""
    plain = [
        {name: value if not isinstance(value, float) or math.isfinite(value) else None for name, value in row.items()}
        for row in rows
    ]
    return json.dumps({"differences": plain, "notes": list(notes)}, indent=1, ensure_ascii=False) + "\n"


def difference_table(found: "Sequence[Difference]", pairs: "Pairs", arguments: Arguments) -> Table:
    """A row a measure; a dash is what cannot be said."""
    from analysis.measures.catalogue import turned_name
    from analysis.relation.differences import sharper_up

    shown = [sharper_up(one) for one in found] if arguments.sharper_up else found
    header = ["measure", "pairs", "mean A", "mean B", "B - A", SEEDS, BOTH, "B/A", SEEDS, BOTH]
    rows = [[*header, "digits up/tied/down", "Wilcoxon p", "noise share"]]
    for one in shown:
        row = [turned_name(one.measure) if arguments.sharper_up else one.measure, str(one.pairs)]
        row += [short(value) for value in (one.mean_a, one.mean_b, one.difference)]
        row += [between(one.student.low, one.student.high), between(*one.bootstrap)]
        row += [short(one.ratio[0]), between(*one.ratio[1:]), between(*one.ratio_bootstrap), str(one.signs)]
        rows.append([*row, short(one.p, 2), percent(one.spread.noise_share)])
    tasks, seeds = pairs.a.tasks, sorted(set(pairs.a.seed_codes().tolist()))
    title = (
        f"A: {', '.join(arguments.a)}; B: {', '.join(arguments.b)}: "
        f"{counted(len(pairs.a.runs), 'pair')}, {counted(len(tasks), 'digit')}, {counted(len(seeds), 'seed')}"
    )
    answer = [auroc_answer(one, arguments.margin) for one in found if one.measure == "auroc"]
    notes = [
        *answer,
        *pairs.a.notes,
        *pairs.notes,
        *definitions(arguments),
        *cautions(found, pairs, len(tasks), len(seeds)),
    ]
    return Table(title, rows, [*notes, *plans(found, arguments.precision)])


def definitions(arguments: Arguments) -> list[str]:
    return [
        "Means are over the pairs of a digit, then over digits; partners agree in all settings but those that tell A "
        "from B" + (f" and {', '.join(arguments.free)}." if arguments.free else "."),
        f"{SEEDS}: Student's over training seeds, of each seed's mean over digits (of cells, digit by batch size …, "
        "with all seeds): a seed gives all digits the same initial weights, so that seeds are the replicates. It "
        "speaks of these digits with other seeds; of two seeds it has one degree of freedom.",
        f"{BOTH}: percentiles of {arguments.resamples} bootstrap resamples (seed {arguments.seed}) of digits, and of "
        "seeds, once for all drawn digits. It speaks of other digits too, and with few seeds is too narrow where they "
        "share an effect.",
        "B/A: ratio of the geometric means, where all values are positive"
        + (" (inverted where signs are turned)." if arguments.sharper_up else "."),
        *[SIGNS] * arguments.sharper_up,
        "Digits up/tied/down: by the sign of a digit's mean difference. Wilcoxon: exact signed ranks over digits, not "
        "corrected for the number of measures.",
        "Noise share: what the standard errors of measurement make of the variance of a difference "
        "over the seeds of a cell: an upper bound, about twice too large where both were measured along the same "
        "directions (of AUROC: on the same images). Plans take cells as measured independently of each other.",
    ]


def auroc_answer(one: "Difference", margin: float) -> str:
    """What the runs say of a difference of AUROC, in a sentence."""
    _, p, said = equivalence(one, margin)
    if math.isnan(p):
        return f"AUROC: undecided; {counted(one.student.count, 'training seed')} that all cells have, two are needed."
    return (
        f"AUROC: {said}; two one-sided t tests over {one.student.count} seeds within ±{margin:g}: p {p:.2g}, "
        f"95% {between(one.student.low, one.student.high)}."
    )


def cautions(found: "Sequence[Difference]", pairs: "Pairs", digits: int, seeds: int) -> list[str]:
    from analysis.relation.measured import units_of_own

    few = units_of_own([*pairs.a.runs, *pairs.b.runs], pairs.a.measures)
    if seeds == 1:
        few.append(f"{NOTHING} {SEEDS}: one training seed.")
    if seeds == 2:
        few.append(f"Two training seeds: {SEEDS} has one degree of freedom (t = 12.7), which is honestly wide.")
    if digits == 1:
        few.append("One digit: the bootstrap is over its training seeds alone." if seeds > 1 else "")
        few[-1] = few[-1] or f"{NOTHING} bootstrap: one digit and one seed leave nothing to resample."
    fewer = [one for one in found if 0 < one.pairs < max(other.pairs for other in found)]
    few += [f"{one.measure}: over the {one.pairs} pairs in which it is finite." for one in fewer]
    return [*few, *(f"{NOTHING} {one.measure}: {one.why}." for one in found if one.why)]


def plans(found: "Sequence[Difference]", precision: float) -> list[str]:
    from analysis.statistics.precision import plan_text

    return [plan_text(one.measure, one.spread, precision) for one in found if one.pairs]


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def short(value: float, digits: int = 4) -> str:
    return NOTHING if math.isnan(value) else f"{value:.{digits}g}"


def percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.0%}"


def between(low: float, high: float) -> str:
    return NOTHING if math.isnan(low) else f"{low:.3g} to {high:.3g}"


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""`python -m analysis.doses`: twins made sharper or flatter in doses, and placebos, against plain ones at equal fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.rows.formats import TABLE_FORMATS, FormatName, Table, comma_separated
from training.runtime.command import InputError, command, make_parent, parse, write_whole

if TYPE_CHECKING:
    from analysis.relation.doses import Arm

DESCRIPTION = """Compare arms of twins with plain training at the same fit: sharpness and AUROC, dose by dose.

Example: python -m analysis.doses results/fit.csv results/doses.csv --out results/doses_arms.csv
The files are those of analysis.sharpness, with NAME_history.csv beside each for AUROC interpolated to the fit itself.
Plain twins are the runs of L2 with a sam_rho of 0; an arm has another dose, direction or loss. figures.doses draws the
CSV file."""


@dataclass(frozen=True)
class Arguments:
    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """CSV files that analysis.sharpness wrote; plain twins may be in another one than the arms."""
    measure: str = "half_curvature@l2"
    """The measure of sharpness."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only checkpoints with this setting, name=value, or without it, name!=value; may be repeated."""
    format: FormatName = "markdown"
    """How the table is written."""
    out: Path | None = None
    """Also write to this file: a .csv gets all numbers, others the table as printed; its path is then the last line."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.doses", DESCRIPTION)
    if not arguments.results:
        raise InputError("results: expected one or more CSV files that analysis.sharpness wrote, found none")
    from analysis.relation.doses import COLUMNS, arms
    from analysis.relation.measured import joined, read_checkpoints

    parts = [read_checkpoints(path, arguments.where, (arguments.measure,)) for path in arguments.results]
    found = arms(joined(parts), arguments.measure, histories_beside(arguments.results))
    text = TABLE_FORMATS[arguments.format](arms_table(found, arguments.measure))
    print(text, end="")
    if arguments.out:
        make_parent(arguments.out)
        rows = [list(COLUMNS), *(arm.cells() for arm in found)]
        write_whole(arguments.out, comma_separated(rows) if arguments.out.suffix == ".csv" else text)
        print(arguments.out)


def histories_beside(paths: Sequence[Path]) -> dict:
    """The evaluations of all runs of which there is a history beside the file."""
    from analysis.rows.results import read_history

    beside = [path.with_name(f"{path.stem}_history.csv") for path in paths]
    return {name: history for path in beside if path.is_file() for name, history in read_history(path).items()}


def arms_table(found: "Sequence[Arm]", measure: str) -> Table:
    """A row an arm."""
    header = ["fit", "arm", "pairs", "never so far", f"{measure}, ratio to plain", "AUROC, less plain's"]
    rows = [[*header, "AUROC at the fit, interpolated"]]
    for one in found:
        if not one.pairs:
            rows.append([f"{one.fit:g}", one.name, "0", str(one.short), "–", "–", "–"])
            continue
        ratio = f"{one.ratio[0]:.2f} ({one.ratio[1]:.2f} to {one.ratio[2]:.2f})"
        gains = [f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})" for gain in (one.auroc, one.at_fit)]
        rows.append([f"{one.fit:g}", one.name, str(one.pairs), str(one.short), ratio, *gains])
    notes = [
        "Ratios of geometric means and differences of AUROC with Student's 95% interval over training seeds of the "
        "mean over digits; pairs share digit and seed.",
        "Never so far: runs of the arm whose training L2 never was at most the fit; they have no pair.",
    ]
    return Table("Twins at equal fit against plain L2", rows, notes)


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""`python -m analysis.tables`: result tables as Markdown, CSV or LaTeX."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from analysis.rows.formats import FORMATS, TABLE_FORMATS, FormatName, Table
from training.runtime.command import InputError, command, make_parent, parse_one_of, write_whole

if TYPE_CHECKING:
    from analysis.paper.cells import Cells, Histories, Rule
    from analysis.paper.selection import Selection
    from analysis.paper.stored import Averages, StoredPair
    from analysis.rows.results import Run

DESCRIPTION = """Make a table of results, on the terminal or as a file.

Example: python -m analysis.tables runs runs/a runs/b --format markdown --out auroc.md
Example: python -m analysis.tables table1 results/table1.csv --protocol last --matching updates"""


@dataclass(frozen=True)
class Runs:
    """AUROC with its 95% interval of the runs in some folders."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that training.train wrote."""
    format: FormatName = "markdown"
    """How the table is written."""
    out: Path | None = None
    """Also write the table to this file; its path is then the last line."""


@dataclass(frozen=True)
class Seeds:
    """Mean AUROC with its spread over training seeds, and the difference that LAMP makes."""

    results: Annotated[Path, tyro.conf.Positional]
    """A sweep's results.csv; the history.csv beside it is used if it is there."""
    last: int = 5
    """Also average over so many last evaluations of each run; 1: only the last."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only runs with this setting, name=value, may be repeated."""
    format: FormatName = "markdown"
    """How the table is written."""
    out: Path | None = None
    """Also write the table to this file; its path is then the last line."""


@dataclass(frozen=True)
class Sweep:
    """What the tables of a sweep share."""

    results: Annotated[Path, tyro.conf.Positional]
    """A sweep's results.csv; NAME_history.csv, NAME_pairs.csv and NAME_averages.csv beside it are used if there."""
    history: Path | None = None
    """The sweep's history.csv."""
    protocol: Literal["last", "validation", "oracle"] = "last"
    """Which evaluation counts: the last, the least L2 of held-out normal images, or the best test AUROC."""
    matching: Literal["epochs", "updates", "fit"] = "epochs"
    """Compare after equal epochs, equal updates, or when the common training L2 first is at most --threshold."""
    epochs: int = 0
    """With --matching epochs: how many; 0: as many as each run was trained."""
    updates: int = 0
    """With --matching updates: how many; 0: the most that all runs have."""
    threshold: float | None = None
    """The common training L2 of --matching fit, and whose first crossing `claims` compares."""
    tune: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting, such as lr or patches, of which each task, loss and column takes the best; may be repeated."""
    tune_by: Literal["oracle", "validation"] = "oracle"
    """What is best: test AUROC, or the L2 of held-out normal images."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only runs with this setting, name=value, may be repeated; LAMP's options choose among LAMP runs."""
    averages: Path | None = None
    """Averages that analysis.pairs wrote. Without --where and --tune the table is of the runs that they are of."""
    all_runs: bool = False
    """Take all runs, whatever the averages are of."""
    format: FormatName = "markdown"
    """How the table is written."""
    out: Path | None = None
    """Also write the table to this file; its path is then the last line."""


@dataclass(frozen=True)
class Paper(Sweep):
    """What the paper's tables share."""

    pairs: Path | None = None
    """Paired tests that analysis.pairs wrote."""
    tolerance: float = 0.0005
    """Differences of AUROC below it are ties."""
    by_task: bool = False
    """A row a task, batch size and loss instead: mean, deviation over seeds, interval of each run."""


@dataclass(frozen=True)
class Table1(Paper):
    """Mean AUROC over the digits by batch size, a base loss and its LAMP form, beside the paper's Table 1."""

    base: Literal["l2", "l1", "ssim", "l4", "focal"] = "l2"
    """Base loss."""


@dataclass(frozen=True)
class Table2(Paper):
    """AUROC by category, base loss and optimizer, beside the paper's Table 2."""


@dataclass(frozen=True)
class Claims(Sweep):
    """Three claims of the paper, each with its test: convergence, gain against batch size, constant reconstructions."""


@dataclass(frozen=True)
class Gains:
    """The gain of LAMP by batch size and by the rule that says which evaluation counts, with intervals over seeds."""

    results: Annotated[Path, tyro.conf.Positional]
    """A sweep's results.csv; the history.csv beside it."""
    thresholds: tuple[float, ...] = (50.0, 35.0, 20.0, 12.0)
    """Levels of the common training L2 at which the fit is equal."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Only runs with this setting, name=value, or without it, name!=value; may be repeated."""
    history: Path | None = None
    """Another history file."""
    format: FormatName = "markdown"
    """How the table is written."""
    out: Path | None = None
    """Also write the table to this file; its path is then the last line."""


def main(argv: Sequence[str] | None = None) -> None:
    choices: dict[str, Callable[..., Any]] = {"runs": Runs, "seeds": Seeds, "gains": Gains}
    choices |= {"table1": Table1, "table2": Table2, "claims": Claims}
    arguments = parse_one_of(choices, argv, "analysis.tables", DESCRIPTION)
    text = text_of(arguments)
    if arguments.out:
        make_parent(arguments.out)
    print(text, end="")
    if arguments.out:
        write_whole(arguments.out, text)
        print(arguments.out)


def text_of(arguments: "Runs | Seeds | Gains | Table1 | Table2 | Claims") -> str:
    if isinstance(arguments, Runs):
        from analysis.rows.run_table import runs_table

        return FORMATS[arguments.format](runs_table(arguments.folders))
    if isinstance(arguments, Seeds):
        return TABLE_FORMATS[arguments.format](table_of_seeds(arguments))
    if isinstance(arguments, Gains):
        return TABLE_FORMATS[arguments.format](table_of_gains(arguments))
    is_chosen = bool(arguments.where or arguments.tune)
    arguments, notes = with_stored_selection(arguments)
    tables = claim_tables(arguments) if isinstance(arguments, Claims) else [paper_table(arguments, is_chosen)]
    tables = [with_notes(table, notes) for table in tables]
    return "\n".join(map(TABLE_FORMATS[arguments.format], tables))


def table_of_seeds(arguments: Seeds) -> Table:
    from analysis.paper.seeds import seeds_table
    from analysis.rows.results import chosen, read_history, read_runs

    if arguments.last < 1:
        raise InputError(f"--last: expected at least 1 evaluation, found {arguments.last}")
    history = beside(arguments.results, "history")
    runs = chosen(read_runs(arguments.results), arguments.where)
    return seeds_table(runs, read_history(history) if history else None, arguments.last)


def table_of_gains(arguments: Gains) -> Table:
    from analysis.paper.gains import gains_table, grouped
    from analysis.rows.results import chosen, read_history, read_runs

    wrong = [level for level in arguments.thresholds if not 0 < level < math.inf]
    if wrong:
        raise InputError(f"--thresholds: expected levels of the common training L2 above 0, found {wrong[0]:g}")
    history = arguments.history or beside(arguments.results, "history")
    if history is None:
        raise InputError("--history: expected a sweep's history.csv, found none; name it")
    runs = chosen(read_runs(arguments.results), arguments.where)
    return gains_table(grouped(runs, read_history(history), arguments.results), arguments.thresholds)


def with_stored_selection(arguments: "Table1 | Table2 | Claims") -> "tuple[Table1 | Table2 | Claims, list[str]]":
    """`arguments` that choose no runs made to choose those of the averages beside the results, and a note that says so.

    What was left out of the averages, or tuned for them, then is so in every table of the sweep.
    """
    path = averages_of(arguments)
    if path is None or arguments.where or arguments.tune or arguments.all_runs:
        return arguments, []
    from analysis.paper.selection import stored_selection

    selection = stored_selection(path)
    if not selection:
        return arguments, []
    note = f"Runs: those that {path.name} is of, {selection}; --all-runs takes all."
    chosen = dataclasses.replace(arguments, where=selection.where, tune=selection.tune, tune_by=selection.tune_by)
    return chosen, [note]


def averages_of(arguments: Sweep) -> Path | None:
    return arguments.averages or beside(arguments.results, "averages")


def paper_table(arguments: "Table1 | Table2", is_chosen: bool) -> Table:
    """Table 1 or 2 of a sweep. Paired tests and averages are of the last evaluation, so they serve that rule alone.

    Of runs that no column tells apart, a row for each setting instead, unless whoever asks has chosen runs.
    """
    from analysis.paper.cells import complete_rule, make_cells
    from analysis.paper.settings_table import check_one_value, settings_table, settings_that_vary, several_values
    from analysis.paper.table1 import table1, task_table
    from analysis.paper.table2 import table2

    if not 0 <= arguments.tolerance < 1:
        raise InputError(f"--tolerance: expected a difference from 0 to 1, found {arguments.tolerance:g}")
    runs = chosen_runs(arguments)
    if isinstance(arguments, Table1):
        runs = [run for run in runs if run.group.base == arguments.base]
        if not runs:
            raise InputError(f"--base: expected a base loss of {arguments.results}, found {arguments.base}")
    histories = histories_of(arguments)
    rule = complete_rule(runs, histories, rule_of(arguments))
    runs, notes = tuned(arguments, runs, histories, rule)
    column = "optimizer" if isinstance(arguments, Table1) else "batch_size"
    several = several_values(runs, column)
    if not is_chosen and (several or settings_that_vary(runs)):
        if several:
            notes.append(f"Several values of {column}, of which this table takes one: --where {column}=…")
        return with_notes(settings_table(runs, histories, rule, arguments.results), notes)
    cells = make_cells(runs, histories, rule, arguments.results)
    check_one_value(several, column, arguments.results)
    if arguments.by_task:
        return with_notes(task_table(cells), notes)
    pairs, averages, left_out = stored(arguments, cells) if cells.rule.is_last else (None, None, [])
    make = table1 if isinstance(arguments, Table1) else table2
    return with_notes(make(cells, averages, pairs, arguments.tolerance), [*notes, *left_out])


def claim_tables(arguments: Claims) -> list[Table]:
    from analysis.paper.cells import complete_rule, make_cells
    from analysis.paper.claims import claims

    histories = histories_of(arguments)
    if histories is None:
        raise InputError("--history: expected a sweep's history.csv, found none; name it")
    runs = chosen_runs(arguments)
    rule = complete_rule(runs, histories, rule_of(arguments))
    runs, notes = tuned(arguments, runs, histories, rule)
    cells = make_cells(runs, histories, rule, arguments.results)
    threshold = math.nan if arguments.threshold is None else arguments.threshold
    return [with_notes(table, notes) for table in claims(cells, histories, threshold)]


def tuned(
    arguments: Sweep, runs: "list[Run]", histories: "Histories | None", rule: "Rule"
) -> "tuple[list[Run], list[str]]":
    """The runs of the best settings if there is something to tune, else all of them, and a note that says so."""
    from analysis.paper.cells import choose
    from analysis.paper.tuning import tune, tuning_note

    if not arguments.tune:
        return runs, []
    kept = tune(runs, arguments.tune, arguments.tune_by, lambda run: choose(run, histories, rule))
    return kept, [tuning_note(runs, arguments.tune, arguments.tune_by)]


def with_notes(table: Table, notes: list[str]) -> Table:
    return Table(table.title, table.rows, [*notes, *table.notes])


def rule_of(arguments: Sweep) -> "Rule":
    """How evaluations are chosen; InputError for numbers that mean nothing."""
    from analysis.paper.cells import Rule

    if arguments.epochs < 0:
        raise InputError(f"--epochs: expected at least 0, found {arguments.epochs}")
    if arguments.updates < 0:
        raise InputError(f"--updates: expected at least 0, found {arguments.updates}")
    if arguments.threshold is not None and not arguments.threshold > 0:
        raise InputError(f"--threshold: expected a common training L2 above 0, found {arguments.threshold:g}")
    targets = {"epochs": arguments.epochs, "updates": arguments.updates, "fit": arguments.threshold}
    target = targets[arguments.matching]
    return Rule(arguments.protocol, arguments.matching, math.nan if target is None else float(target))


def chosen_runs(arguments: Sweep) -> "list[Run]":
    from analysis.rows.results import chosen, read_runs

    return chosen(read_runs(arguments.results), arguments.where)


def histories_of(arguments: Sweep) -> "Histories | None":
    from analysis.rows.results import read_history

    path = arguments.history or beside(arguments.results, "history")
    return read_history(path) if path else None


def stored(arguments: Paper, cells: "Cells") -> "tuple[list[StoredPair] | None, Averages | None, list[str]]":
    """Pairs and averages of the cells' runs, None where there are none, and a note on averages of other runs."""
    from analysis.paper.selection import stored_selection
    from analysis.paper.stored import check_averages, read_averages, read_pairs, same_runs

    path = arguments.pairs or beside(arguments.results, "pairs")
    pairs = read_pairs(path, cells.runs) if path else None
    path = averages_of(arguments)
    if path is None:
        return pairs, None, []
    selection = stored_selection(path)
    if selection is not None and not same_runs(read_runs_of(arguments, selection), cells):
        if arguments.averages:
            raise InputError(
                f"{path}: expected averages of the table's runs, found those of {str(selection) or 'all runs'}; "
                "re-make it with python -m analysis.pairs and the same --where and --tune"
            )
        made_of = str(selection) or "all runs"
        return pairs, None, [f"{path.name} is of other runs ({made_of}), so its intervals are left out."]
    averages = read_averages(path, cells.reading)
    check_averages(averages, cells, path)
    return pairs, averages, []


def read_runs_of(arguments: Sweep, selection: "Selection") -> "list[Run]":
    """The runs that averages were made of: tuned at the last evaluation, as analysis.pairs does."""
    from analysis.paper.selection import select
    from analysis.rows.results import read_runs

    return select(read_runs(arguments.results), selection, lambda run: run.trouble or run.last)


def beside(results: Path, what: str) -> Path | None:
    """`NAME_what.csv` beside `NAME.csv`, or a sweep folder's own `what.csv` beside `results.csv`, if it is there."""
    names = [f"{results.stem}_{what}.csv"] + ([f"{what}.csv"] if results.name == "results.csv" else [])
    return next((path for name in names if (path := results.with_name(name)).is_file()), None)


if __name__ == "__main__":
    raise SystemExit(command(main)())

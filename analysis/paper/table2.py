"""Table 2 of the paper: AUROC by category, base loss and optimizer, base / LAMP, the paper's figures above ours."""

import math
from collections.abc import Sequence

import numpy as np

from analysis.paper.cells import Cells, Floats, describe, mean_over
from analysis.paper.printed import (
    AVERAGE,
    BASES,
    BEST,
    OPTIMIZERS,
    paper_categories,
    paper_differences,
    paper_table2,
    rising_columns,
    wrong_best,
)
from analysis.paper.stored import Averages, StoredPair
from analysis.paper.table1 import (
    ABSENT,
    IMAGES_AND_SEEDS,
    SEEDS_NOTE,
    delong_text,
    gain_text,
    interval_notes,
    interval_text,
    notes_on_tests,
    outcome_text,
    over_seeds_text,
    p_text,
    wilcoxon_text,
    wins_text,
)
from analysis.rows.formats import Rows, Table
from analysis.rows.results import Group
from analysis.statistics.paired import mean_sd, signed_rank, wins_ties_losses

Combination = tuple[str, str]  # base, optimizer


def table2(
    cells: Cells, averages: Averages | None = None, pairs: Sequence[StoredPair] | None = None, tolerance: float = 0.0005
) -> Table:
    """Two rows a category, the paper's and ours; below them averages, wins/ties/losses and tests over categories.

    The cells have one group a base and optimizer.
    """
    groups = {(group.base, group.optimizer): group for group in cells.groups}
    ours = [(base, optimizer) for base, optimizer in groups if base not in BASES or optimizer not in OPTIMIZERS]
    columns: list[Combination] = [*((base, optimizer) for base in BASES for optimizer in OPTIMIZERS), *ours]
    categories = paper_categories()
    rows: Rows = [["base / LAMP", "whose", *(f"{base.upper()} {optimizer}" for base, optimizer in columns), BEST]]
    for category in [*categories, *(task for task in cells.tasks if task not in categories)]:
        if category in categories:
            rows.append(paper_row(category, columns))
        if category in cells.tasks:
            rows.append(our_row(cells, category, [groups.get(column) for column in columns]))
    rows.append(paper_row(AVERAGE, columns))
    rows += summary_rows(cells, [groups.get(column) for column in columns], averages, pairs, tolerance)
    return Table(
        f"Table 2: AUROC of {len(cells.tasks)} of {len(categories)} categories, base loss / its LAMP form, by "
        f"optimizer",
        rows,
        [
            *describe(cells),
            SEEDS_NOTE,
            *interval_notes(averages, pairs),
            *notes_on_tests(tolerance),
            CELLS_NOTE,
            *paper_notes(),
            BEST_NOTE,
        ],
    )


CELLS_NOTE = (
    "All cells: of a row's columns together; they share their category's images, so this p is too small. Intervals and "
    "paired tests take the tuned settings as given, though the same test images chose them."
)
BEST_NOTE = (
    "Ours, best: the largest mean over seeds of the row, chosen on the test set whatever the protocol of its cells. "
    "In a cell: mean ± sd over seeds."
)


def paper_row(category: str, columns: Sequence[Combination]) -> list[str]:
    table = paper_table2()
    places = [table.get((category, base, optimizer)) for base, optimizer in columns]
    texts = [f"{cell[0]:.3f} / {cell[1]:.3f}" if cell else ABSENT for cell in places]
    best = "{:.3f} / {:.3f}".format(*table[category, BEST, BEST])
    return [category, "paper", *texts, best + (" *" if category in wrong_best() else "")]


def our_row(cells: Cells, category: str, groups: Sequence[Group | None]) -> list[str]:
    index = cells.tasks.index(category)
    texts, means = [], []
    for group in groups:
        values = [cells.matrix(group, lamp)[index] for lamp in (False, True)] if group else []
        texts.append(" / ".join(map(cell_text, values)) if group else ABSENT)
        means.append([mean_sd(of_seeds)[0] for of_seeds in values] if group else [math.nan] * 2)
    return [category, "ours", *texts, " / ".join(map(best_text, np.array(means).T))]


def cell_text(values: Floats) -> str:
    mean, sd = mean_sd(values)
    if math.isnan(mean):
        return "missing"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def best_text(means: Floats) -> str:
    there = means[~np.isnan(means)]
    return f"{there.max():.3f}" if len(there) else "missing"


def summary_rows(
    cells: Cells,
    groups: Sequence[Group | None],
    averages: Averages | None,
    pairs: Sequence[StoredPair] | None,
    tolerance: float,
) -> Rows:
    """Averages over the categories of ours, beside the paper's over the same categories, and the tests over them."""

    def row(name: str, whose: str, texts: Sequence[str], last: str = ABSENT) -> list[str]:
        return [name, whose, *texts, last]

    there = [group for group in groups if group]
    gains = np.concatenate([cells.gains(group) for group in there]) if there else np.array([])
    everywhere = signed_rank(gains)
    rows = [
        row("average, same categories", "paper", [paper_average(cells, group) for group in groups]),
        row("average", "ours", [our_average(cells, group) for group in groups]),
        row("gain", "ours", [gain_text(cells, group) if group else ABSENT for group in groups]),
    ]
    over_seeds = [over_seeds_text(cells, group) if group else ABSENT for group in groups]
    rows.append(row("gain: 95% interval over seeds", "ours", over_seeds))
    if averages is not None:
        texts = [interval_text(averages, group, "difference") if group else ABSENT for group in groups]
        rows.append(row(f"gain: {IMAGES_AND_SEEDS}", "ours", texts))
    wins = [wins_text(cells, group, tolerance) if group else ABSENT for group in groups]
    rows.append(row("wins/ties/losses", "ours", wins, f"all: {wins_ties_losses(gains, tolerance)}"))
    wilcoxon = [wilcoxon_text(cells, group) if group else ABSENT for group in groups]
    rows.append(row("Wilcoxon p", "ours", wilcoxon, f"all cells: {outcome_text(everywhere)}"))
    if pairs is not None:
        texts = [delong_text(pairs, group) if group else ABSENT for group in groups]
        rows.append(row("better/worse by paired DeLong", "ours", texts))
    rows.append(row("missing runs", "ours", ["{} of {}".format(*cells.missing(g)) if g else ABSENT for g in groups]))
    return rows


def paper_average(cells: Cells, group: Group | None) -> str:
    """The mean of the paper's figures over our categories."""
    table = paper_table2()
    places = [table.get((task, group.base, group.optimizer)) for task in cells.tasks] if group else []
    known = [cell for cell in places if cell]
    return "{:.3f} / {:.3f}".format(*np.mean(known, axis=0)) if known and len(known) == len(places) else ABSENT


def our_average(cells: Cells, group: Group | None) -> str:
    if group is None:
        return ABSENT
    texts = []
    for lamp in (False, True):
        means = mean_over(cells.matrix(group, lamp), axis=1)
        complete = not np.isnan(means).any()
        texts.append(f"{means.mean():.3f}" if complete else f"missing ({(means == means).sum()} of {len(means)})")
    return " / ".join(texts)


def paper_notes() -> list[str]:
    """What is doubtful in the paper's own table, counted from its figures."""
    differences = paper_differences()
    counts = wins_ties_losses(differences)
    result = signed_rank(differences)
    return [
        "Paper: Park et al. (ICASSP 2024), Table 2, as printed: the best AUROC after tuning, without seeds or "
        f"intervals. In its {len(differences)} cells LAMP wins {counts.wins}, ties {counts.ties}, loses "
        f"{counts.losses} (mean {np.mean(differences):+.4f}; Wilcoxon p = {p_text(result.p)}); {rising_columns()} of "
        f"9 column means rise.",
        f"* The printed best of {' and '.join(wrong_best())} is not the maximum of its row, as it is for the others.",
    ]

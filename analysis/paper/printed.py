"""The paper's own figures, as printed, and what can be counted in them."""

import csv
from collections.abc import Iterable
from importlib.resources import files

BASES = ("l2", "l1", "ssim")
OPTIMIZERS = ("sgd", "rmsprop", "adam")
AVERAGE, BEST = "average", "best"

Cell = tuple[float, float]  # base, LAMP


def _rows(name: str) -> Iterable[dict[str, str]]:
    return csv.DictReader((files("analysis") / "assets" / name).read_text(encoding="utf-8").splitlines())


def paper_table1() -> dict[int, Cell]:
    """Mean AUROC over the ten digits by batch size: L2, L2-LAMP."""
    found = {(row["loss"], int(row["batch_size"])): float(row["mean_auroc"]) for row in _rows("paper_table1.csv")}
    return {batch: (found["l2", batch], found["l2-lamp", batch]) for _, batch in found}


def paper_table2() -> dict[tuple[str, str, str], Cell]:
    """AUROC (base, LAMP) by category, base loss and optimizer, with the category `average` and the base `best`."""
    return {
        (row["category"], row["base"], row["optimizer"]): (float(row["auroc_base"]), float(row["auroc_lamp"]))
        for row in _rows("paper_table2.csv")
    }


def paper_categories() -> list[str]:
    return list(dict.fromkeys(category for category, _, _ in paper_table2() if category != AVERAGE))


def paper_differences() -> list[float]:
    """LAMP - base of the 135 cells of Table 2."""
    return [
        lamp - base
        for (category, name, _), (base, lamp) in paper_table2().items()
        if category != AVERAGE and name != BEST
    ]


def rising_columns() -> int:
    """In how many of Table 2's nine columns the mean over the categories is larger with LAMP."""
    table = paper_table2()
    columns = [(base, optimizer) for base in BASES for optimizer in OPTIMIZERS]
    sums = [
        sum(table[category, *column][1] - table[category, *column][0] for category in paper_categories())
        for column in columns
    ]
    return sum(gain > 1e-9 for gain in sums)


def wrong_best() -> list[str]:
    """The categories whose printed best is not the maximum of their row, of base or of LAMP."""
    table = paper_table2()
    found = []
    for category in paper_categories():
        cells = [cell for (of, base, _), cell in table.items() if of == category and base != BEST]
        if table[category, BEST, BEST] != (max(base for base, _ in cells), max(lamp for _, lamp in cells)):
            found.append(category)
    return found

"""Which runs of a sweep a table is of: settings chosen, settings tuned, as the options that a file can record."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from analysis.paper.tuning import Choose, tune
from analysis.rows.results import Run, chosen, read_table
from training.runtime.command import InputError

COLUMN = "selection"
Criterion = Literal["oracle", "validation"]


@dataclass(frozen=True)
class Selection:
    """`--where`, `--tune` and `--tune-by` as they were given; the empty one takes all runs."""

    where: tuple[str, ...] = ()
    tune: tuple[str, ...] = ()
    tune_by: Criterion = "oracle"

    def __bool__(self) -> bool:
        return bool(self.where or self.tune)

    def __str__(self) -> str:
        """The options as a shell takes them.

        >>> str(Selection(("normal!=8",), ("lr",)))
        "--where 'normal!=8' --tune lr --tune-by oracle"
        """
        words = [word for condition in self.where for word in ("--where", condition)]
        words += [word for name in self.tune for word in ("--tune", name)]
        return shlex.join([*words, *(("--tune-by", self.tune_by) if self.tune else ())])


def select(runs: Sequence[Run], selection: Selection, choose: Choose) -> list[Run]:
    """The runs that `selection` leaves; what is tuned is judged at the evaluation that `choose` picks of each run."""
    runs = chosen(runs, selection.where)
    return tune(runs, selection.tune, selection.tune_by, choose) if selection.tune else runs


def parse_selection(text: str, source: str) -> Selection:
    """The inverse of `Selection.__str__`; InputError, naming `source`, for other text."""
    values: dict[str, list[str]] = {"--where": [], "--tune": [], "--tune-by": []}
    try:
        words = shlex.split(text)
        for option, value in zip(words[::2], words[1::2], strict=True):
            values[option].append(value)
        (by,) = (name for name in get_args(Criterion) if [name] == (values["--tune-by"] or ["oracle"]))
    except (ValueError, KeyError):
        raise InputError(
            f"{source}: expected options --where, --tune and --tune-by as {COLUMN}, found {text!r}; re-make the file"
        ) from None
    return Selection(tuple(values["--where"]), tuple(values["--tune"]), by)


def stored_selection(path: Path) -> Selection | None:
    """What the averages at `path` were made of; None if the file does not say, as those of older releases."""
    header, rows = read_table(path, (), "what analysis.pairs writes as _averages.csv")
    if COLUMN not in header:
        return None
    texts = {row[header.index(COLUMN)] for row in rows}
    if len(texts) > 1:
        raise InputError(f"{path}: expected one {COLUMN} in all rows, found {len(texts)}; re-make the file")
    return parse_selection(texts.pop(), str(path))

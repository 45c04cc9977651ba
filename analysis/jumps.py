"""`python -m analysis.jumps`: how much AUROC jumps between neighbouring epochs, and whether batch norm makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from analysis.rows.formats import comma_separated
from analysis.rows.jumps import COLUMNS, WAYS, jump
from training.runtime.command import InputError, command, make_parent, parse, write_whole
from training.runtime.kinds import TABLES

DESCRIPTION = """Score the checkpoints of trajectories as they are, with batch norm estimated anew, and as means.

Example: python -m analysis.jumps runs/a runs/b --out jumps.csv
Runs are folders that training.train --save-every wrote, best with as many updates as an epoch has. figures.jumps draws
the file."""


@dataclass(frozen=True)
class Arguments:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs with a trajectory."""
    out: Path
    """The table: a row a checkpoint."""
    averaged: int = 5
    """Means are over the weights of so many checkpoints, the last of them and those before it."""
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA. Never written to."""
    threads: int = 0
    """CPU threads; 0: OMP_NUM_THREADS if set, else all CPUs that may be used."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "analysis.jumps", DESCRIPTION)
    if not arguments.runs:
        raise InputError("runs: expected one or more folders that training.train --save-every wrote, found none")
    if arguments.averaged < 1:
        raise InputError(f"--averaged: expected at least 1 checkpoint, found {arguments.averaged}")
    make_parent(arguments.out, TABLES["run", "loss", "lamp_scale", ..., "updates"])
    from analysis.measures.steadiness import points
    from training.fitting.checkpoint import load_checkpoint
    from training.fitting.origin import data_of
    from training.runtime.device import use_threads

    use_threads(arguments.threads)
    rows = [list(COLUMNS)]
    for folder in arguments.runs:
        checkpoint = load_checkpoint(folder / "checkpoint.pt")
        split = data_of(folder / "checkpoint.pt", checkpoint, arguments.data_dir)
        found = list(points(folder, split, arguments.averaged))
        settings = [folder.name, *(str(getattr(checkpoint.config, name)) for name in COLUMNS[1:6])]
        for at in found:
            values = (at.train_l2, *(getattr(at, way) for way in WAYS))
            rows.append([*settings, str(at.updates), *(f"{value:.6g}" for value in values)])
        jumps = ", ".join(f"{jump([getattr(at, way) for at in found]):.4f} {way}" for way in WAYS)
        print(f"{folder.name}: mean jump in the second half: {jumps}")
    write_whole(arguments.out, comma_separated(rows))
    print(arguments.out)


if __name__ == "__main__":
    raise SystemExit(command(main)())

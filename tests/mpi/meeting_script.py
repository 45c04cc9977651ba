"""Run by test_meeting.py: ranks that meet with options, and perhaps do not; needs no torch."""

import sys
import time
from dataclasses import dataclass

from training.runtime.command import InputError, RunError, command, parse
from training.runtime.farm import one_fate, rank_of
from training.runtime.meeting import meet, options_of


@dataclass(frozen=True)
class Arguments:
    seed: int = 0
    """Compared."""
    threads: int = 1
    """Not compared."""
    late: float = 0.0
    """Seconds before this rank comes; not what is tested, but how."""
    fails: str = ""
    """What goes wrong on this rank after the meeting."""


def main(argv: object) -> None:
    def read() -> Arguments:
        arguments = parse(Arguments, sys.argv[1:], "tests.meeting", "Meet.")
        if arguments.seed < 0:
            raise InputError(f"--seed: expected at least 0, found {arguments.seed}")
        if arguments.seed == 99:
            raise KeyError("a bug")
        time.sleep(arguments.late)
        return arguments

    comm, arguments = meet(read, lambda given: {"--seed": options_of(given)["--seed"]})
    with one_fate(comm):
        if arguments.fails == "import":
            import a_module_that_is_not_there  # noqa: F401
        if arguments.fails == "run":
            raise RunError("the run had to stop")
        if comm is not None:
            comm.Barrier()
    if rank_of(comm) == 0:
        print(f"met {comm.size if comm else 1}")


if __name__ == "__main__":
    raise SystemExit(command(main)(None))

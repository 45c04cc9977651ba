"""Processes that tests start, wait for and kill."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until `condition()`; the bound is there to end a test that hangs, on however slow a machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the run did not get far enough in time"
        time.sleep(0.01)


def processes() -> dict[int, tuple[int, str, str]]:
    """Parent, command line and environment of each running process that may be looked at."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                texts = [(folder / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
                found[int(folder.name)] = (int(parent), texts[0], texts[1])
        except OSError:
            continue  # it has ended
    return found


def left_over(out: Path) -> list[int]:
    """The processes that still have `out` on their command line: ranks outlive a killed launcher for a moment."""
    return [pid for pid, (_, command, _) in processes().items() if str(out) in command and pid != os.getpid()]

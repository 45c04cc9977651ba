"""The first meeting of the ranks that a launcher started: nobody waits for ever, and all begin with the same options.

A rank that ends before it has met the others (an option that is refused, a module that cannot be imported, a node that
is down) leaves them waiting in MPI's own start, where Python cannot run. So what a command line is refused for is
brought to the meeting and told there; and against ranks that never come stands a time limit, kept by a process of its
own beside each rank.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from training.runtime.agreement import agree, code
from training.runtime.command import AgreedError, InputError, launched_rank, one_line
from training.runtime.farm import launched_size, world

Prepared = TypeVar("Prepared")

WAIT = "LANDSCAPE_MPI_WAIT"  # environment variable: seconds, 0 for no limit
WAIT_SECONDS = 300.0  # importing on a thousand ranks from one file system takes minutes
#: options that decide no numbers, or whose content is compared in their place
FREE = ("device", "threads", "data_dir", "ckpt")
ALIKE = "start all ranks with the same options, files and code"


def meet(
    prepare: Callable[[], Prepared], facts: Callable[[Prepared], Mapping[str, Any]]
) -> tuple[Any | None, Prepared]:
    """World communicator (None for one process) and what `prepare()`, such as parsing, gives on this rank.

    Collective, and the first thing that is. Where it raises on some rank, all end: those where it did with that, the
    others with an AgreedError that says on which rank and why. Raises AgreedError too where `facts` of what was
    prepared, or the code, differ between ranks, and InputError where the processes are not connected. Ranks that are
    not there within :func:`time_limit` end all that wait for them.
    """
    if launched_size() == 1:
        return None, prepare()
    prepared, ended, limit = None, None, WAIT_SECONDS
    try:
        limit = time_limit()
        prepared = prepare()
    except BaseException as error:
        ended = error
        if find_spec("mpi4py") is None:
            raise
    with watched(limit):
        comm = world()
        reasons = [None] if comm is None else comm.allgather(None if ended is None else reason_of(ended))
    if ended is not None:
        raise ended
    for rank, reason in enumerate(reasons):
        if reason is not None:
            raise AgreedError(f"rank {rank}: {reason}")
    told = facts(prepared)  # type: ignore[arg-type]
    agree(comm, {**told, **code()}, ALIKE)
    return comm, prepared  # type: ignore[return-value]


def reason_of(ended: BaseException) -> str:
    """Why a rank does not take part, for the others."""
    if isinstance(ended, SystemExit):
        options = " ".join(sys.argv[1:]) or "none"
        return f"expected options as on the other ranks, found {options}, which are refused or ask for help alone"
    return one_line(ended) if isinstance(ended, InputError) else f"{type(ended).__name__}: {one_line(ended)}"


def options_of(arguments: Any, free: tuple[str, ...] = FREE) -> dict[str, Any]:
    """The options in a dataclass, nested at will, by their names on the command line; without those that are `free`."""
    found: dict[str, Any] = {}
    for field in fields(arguments):
        value = getattr(arguments, field.name)
        if is_dataclass(value):
            found |= options_of(value, free)
        elif field.name not in free:
            found["--" + field.name.strip("_").replace("_", "-")] = value
    return found


def time_limit() -> float:
    """Seconds that ranks wait for each other at first, of $LANDSCAPE_MPI_WAIT; 0 for ever. InputError if unusable."""
    text = os.environ.get(WAIT, "")
    try:
        seconds = float(text) if text.strip() else WAIT_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise InputError(f"{WAIT}: expected seconds, or 0 for no limit, found {text!r}")
    return seconds


@contextmanager
def watched(seconds: float) -> Iterator[None]:
    """End this process, with one line, unless the block is left within `seconds`; 0: never.

    MPI starts inside a call that holds Python's lock, so no thread can see to it: a forked process does, which ends
    with its pipe.
    """
    if seconds == 0:
        yield
        return
    reading, writing = os.pipe()
    watched_process = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(writing)
            _watch(reading, watched_process, seconds)
        finally:
            os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def _watch(pipe: int, process: int, seconds: float) -> None:
    """Wait for the end of `pipe`, or end `process` after `seconds`."""
    rank = launched_rank()
    later = min(rank, 20) * 0.3  # one line is enough: the launcher ends the others with the first
    if select.select([pipe], [], [], seconds + later)[0]:
        return
    line = (
        f"error: rank {rank}: expected all {launched_size()} processes of the launcher to meet within "
        f"{seconds:g} s, found some that did not come (ended before, or still starting); see to these, or set "
        f"{WAIT} to more seconds\n"
    )
    os.write(2, line.encode())
    time.sleep(0.2)  # the launcher drops what it has not yet read
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.kill(process, number)
        if select.select([pipe], [], [], 5)[0]:  # the process has ended, and its end of the pipe with it
            return

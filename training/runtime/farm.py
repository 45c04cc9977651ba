"""Independent tasks handed out dynamically over the ranks of an MPI communicator, or run in turn without one.

Every rank computes, the root too; the root alone stores. A rank takes its next task from a counter in the root's memory
by one-sided `Fetch_and_op`, which does not wait for the root to be free, so nobody idles while tasks remain. Results
travel to the root in batches.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from training.runtime.command import AgreedError, InputError, RunError, is_out_of_memory, is_users, one_line

Result = TypeVar("Result")
Task = Any
Store = Callable[[list[tuple[Task, Any]]], None]

BATCH_SECONDS = 0.5  # results are sent and stored in batches of this age, so that neither is felt
RESULTS_TAG = 7


def launched_size() -> int:
    """How many processes the launcher says it started (MPICH, Open MPI, Slurm's srun); 1 without a launcher."""
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 1


def world() -> Any | None:
    """MPI's world communicator, or None for a single process, for which MPI is not even imported.

    Raises InputError if a launcher started several processes that MPI does not connect: each would do the whole work.
    """
    launched = launched_size()
    if launched == 1:
        return None
    try:
        from mpi4py import MPI
    except ImportError:
        raise InputError(
            f"mpirun: expected mpi4py to connect the {launched} processes started, found none; "
            "pip install 'lamp-landscape[mpi]', or start one process without a launcher"
        ) from None
    check_size(launched, MPI.COMM_WORLD.size)
    return MPI.COMM_WORLD


def check_size(launched: int, connected: int) -> None:
    """Raise InputError if MPI's world is not what the launcher started."""
    if launched != connected:
        raise InputError(
            f"mpirun: expected {launched} connected processes, found {connected}: mpi4py was built for another "
            "MPI than this launcher's; use the mpirun that belongs to mpi4py's MPI, or rebuild mpi4py for this one"
        )


def rank_of(comm: Any | None) -> int:
    return comm.rank if comm is not None else 0


def local_ranks(comm: Any | None) -> tuple[int, int, set[int]]:
    """This rank's number on its node, how many ranks the node has, and the cores that they may use together."""
    mine = os.sched_getaffinity(0)
    if comm is None:
        return 0, 1, mine
    from mpi4py import MPI

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        return node.rank, node.size, set().union(*node.allgather(mine))
    finally:
        node.Free()


def together(comm: Any | None, prepare: Callable[[], Result]) -> Result:
    """`prepare()` on every rank; if any rank's input is unusable, all raise the first such rank's as AgreedError."""
    if comm is None:
        return prepare()
    result, problem = None, None
    try:
        result = prepare()
    except InputError as error:
        problem = str(error)
    except BaseException as error:
        stop_all(comm, error)
    problems = [text for text in comm.allgather(problem) if text is not None]
    if problems:
        raise AgreedError(problems[0])
    return result  # type: ignore[return-value]


def farm(
    tasks: Sequence[Task], compute: Callable[[Task], Any], store: Store, comm: Any | None = None
) -> dict[str, float]:
    """Run `compute(task)` for each of `tasks` on some rank, and `store` the batches of (task, result) on the root.

    Collective: every rank calls it with equal tasks. Tasks are taken in their order. Returns, on each rank, its number
    of tasks and the seconds it computed and waited for others. An exception on any rank ends all ranks.
    """
    if comm is None or comm.size == 1:
        return _farm_alone(tasks, compute, store)
    try:
        counter = _Counter(comm)
        run = _run_root if comm.rank == 0 else _run_worker
        start = time.perf_counter()
        count, busy = run(tasks, compute, store, comm, counter)
        waiting = time.perf_counter() - start - busy
        counter.free()
        return {"tasks": count, "busy_s": busy, "idle_s": waiting}
    except BaseException as error:
        stop_all(comm, error)


@contextmanager
def one_fate(comm: Any | None) -> Iterator[None]:
    """End all ranks with what is raised on one of them, but for an AgreedError, which all raise."""
    try:
        yield
    except AgreedError:
        raise
    except BaseException as error:
        if comm is None or comm.size == 1:
            raise
        stop_all(comm, error)


def stop_all(comm: Any, error: BaseException) -> NoReturn:
    """End all ranks with one message and status: others may be waiting for this one for ever."""
    from mpi4py import MPI

    if comm.rank != 0 or isinstance(error, MPI.Exception):
        time.sleep(0.5 if comm.rank else 1)  # if several ranks fail, let one message, the root's, be the only one
    if isinstance(error, KeyboardInterrupt):
        comm.Abort(130)
    expected = isinstance(error, (MPI.Exception, InputError, RunError, OSError)) and not is_users(error)
    if not expected and not is_out_of_memory(error):
        traceback.print_exception(error)
    print(f"error: rank {comm.rank}: {one_line(error)}", file=sys.stderr)
    sys.stderr.flush()
    time.sleep(0.2)  # the launcher drops what it has not yet read
    status = 2 if isinstance(error, InputError) else 1
    comm.Abort(status)
    os._exit(status)  # where Abort returns, Python's own exit would wait for the other ranks


def _farm_alone(tasks: Sequence[Task], compute: Callable[[Task], Any], store: Store) -> dict[str, float]:
    outbox = _Outbox(store)
    start = time.perf_counter()
    for task in tasks:
        outbox.add(task, compute(task))
    outbox.flush()
    return {"tasks": len(tasks), "busy_s": time.perf_counter() - start, "idle_s": 0.0}


class _Outbox:
    """Results waiting to be passed on together once the oldest is BATCH_SECONDS old."""

    def __init__(self, send: Store):
        self.send = send
        self.waiting: list[tuple[Task, Any]] = []
        self.since = time.monotonic()

    def add(self, task: Task, result: Any) -> None:
        self.waiting.append((task, result))
        if time.monotonic() - self.since > BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.send(self.waiting)
        self.waiting, self.since = [], time.monotonic()


class _Counter:
    """The number of the next task, in the root's memory; `take` is atomic over the ranks."""

    def __init__(self, comm: Any):
        import numpy as np
        from mpi4py import MPI

        self._sum, self._one, self._value = MPI.SUM, np.ones(1, np.int64), np.zeros(1, np.int64)
        self._window = MPI.Win.Allocate(8 if comm.rank == 0 else 0, 8, comm=comm)
        if comm.rank == 0:
            self._window.tomemory()[:] = bytes(8)
        comm.Barrier()
        # One epoch for the whole run: a lock per operation would wait for a busy root.
        self._window.Lock_all()

    def take(self) -> int:
        self._window.Fetch_and_op(self._one, self._value, 0, 0, self._sum)
        self._window.Flush(0)
        return int(self._value[0])

    def free(self) -> None:
        self._window.Unlock_all()
        self._window.Free()


def _compute_until_empty(
    tasks: Sequence[Task], compute: Callable[[Task], Any], counter: _Counter, done: Callable[[Task, Any], None]
) -> tuple[int, float]:
    count, busy = 0, 0.0
    while (number := counter.take()) < len(tasks):
        start = time.perf_counter()
        done(tasks[number], compute(tasks[number]))
        busy += time.perf_counter() - start
        count += 1
    return count, busy


def _run_root(
    tasks: Sequence[Task], compute: Callable[[Task], Any], store: Store, comm: Any, counter: _Counter
) -> tuple[int, float]:
    outbox = _Outbox(store)
    finished = 0

    def receive() -> None:
        nonlocal finished
        results, last = comm.recv(tag=RESULTS_TAG)
        finished += last
        for task, result in results:
            outbox.add(task, result)

    def done(task: Task, result: Any) -> None:
        outbox.add(task, result)
        while comm.iprobe(tag=RESULTS_TAG):
            receive()

    count, busy = _compute_until_empty(tasks, compute, counter, done)
    while finished < comm.size - 1:
        receive()
    outbox.flush()
    return count, busy


def _run_worker(
    tasks: Sequence[Task], compute: Callable[[Task], Any], store: Store, comm: Any, counter: _Counter
) -> tuple[int, float]:
    sent: list[Any] = []
    outbox = _Outbox(lambda results: sent.append(comm.isend((results, False), 0, RESULTS_TAG)))
    count, busy = _compute_until_empty(tasks, compute, counter, outbox.add)
    sent.append(comm.isend((outbox.waiting, True), 0, RESULTS_TAG))
    for request in sent:
        request.wait()
    return count, busy

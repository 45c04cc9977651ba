"""Run by test_farm.py under mpirun: what several ranks must do together."""

import sys
import time

from mpi4py import MPI

from training.runtime.command import InputError, command
from training.runtime.farm import farm, together, world


def main(argv: object) -> None:
    comm = world() or MPI.COMM_WORLD
    getattr(sys.modules[__name__], sys.argv[1].replace("-", "_"))(comm, *sys.argv[2:])


def count(comm: MPI.Comm) -> None:
    stored: dict[int, tuple[int, int]] = {}

    def store(results: list[tuple[int, tuple[int, int]]]) -> None:
        assert comm.rank == 0
        assert not set(dict(results)) & set(stored)
        stored.update(results)

    def compute(task: int) -> tuple[int, int]:
        time.sleep(0.002)
        return task * task, comm.rank

    farm(range(1000, 1200), compute, store, comm)
    if comm.rank == 0:
        assert stored.keys() == set(range(1000, 1200))
        assert all(value == task * task for task, (value, _) in stored.items())
        print(f"stored {len(stored)} tasks, {len({rank for _, rank in stored.values()})} ranks computed")


def slow_root(comm: MPI.Comm) -> None:
    seconds = 0.04 if comm.rank == 0 else 0.01
    report = farm(range(150), lambda task: time.sleep(seconds), lambda results: None, comm)
    reports = comm.gather(report)
    if comm.rank == 0:
        assert 22 <= reports[0]["tasks"] <= 38, reports
        assert reports[1]["idle_s"] < 0.1, reports
        print("balanced")


def fail(comm: MPI.Comm, kind: str, rank: str) -> None:
    errors = {"bug": KeyError, "input": InputError, "memory": MemoryError, "store": OSError}

    def compute(task: int) -> int:
        time.sleep(0.001)
        if task >= 20 and comm.rank == int(rank) and kind != "store":
            raise errors[kind]("something went wrong")
        return task

    def store(results: object) -> None:
        if kind == "store":
            raise errors[kind]("something went wrong")

    farm(range(10_000), compute, store, comm)


def prepare(comm: MPI.Comm) -> None:
    def check() -> None:
        if comm.rank == 1:
            raise InputError("rank 1 lacks its file")

    together(comm, check)


if __name__ == "__main__":
    raise SystemExit(command(main)(sys.argv))

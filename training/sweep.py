"""`python -m training.sweep`: train all runs of a sweep's file over MPI ranks; one table of results."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from training.runtime.agreement import agree, digest_of_text
from training.runtime.command import InputError, WriteError, command, parse, writing
from training.runtime.farm import one_fate, rank_of
from training.runtime.meeting import ALIKE, meet, options_of
from training.sweeps.plan import PlannedRun, read_plan, stacks
from training.sweeps.record import Records, State

if TYPE_CHECKING:
    import torch

    from training.fitting.engine import Snapshot

DESCRIPTION = """Train every run that a sweep's file lists: a row in OUT/results.csv and a folder each.

Example: mpirun -n 2 python -m training.sweep sweeps/demo.toml --out runs/demo

Runs of one shape that differ in digit, loss or seed are trained together, with the results of separate training up to
rounding. Stopped or killed, the same command goes on where the runs were. A run that fails is a row with its
error, and the others go on; the exit status is 1 then. --dry-run lists what is to be done."""


@dataclass(frozen=True)
class Arguments:
    plan: Annotated[Path, tyro.conf.Positional]
    """The sweep's TOML file; training/sweeps/plan.py describes it."""
    out: Path
    """Folder of the results; made if absent."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting in place of the file's own, name=value as in TOML (epochs=2, "seed=[0, 1]"); may be repeated."""
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA. Never written to."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; with auto the ranks of a node take its GPUs in turn."""
    threads: int = 0
    """CPU threads a rank; 0: OMP_NUM_THREADS if set, else the CPUs that may be used, over ranks."""
    stack: int = 20
    """At most so many runs are trained together."""
    known: Path | None = None
    """A results.csv, with its history beside it, of runs done elsewhere: their rows are taken over, and they are not
    trained again."""
    retry: bool = False
    """Train failed runs again."""
    dry_run: bool = False
    """List the runs and what has become of them, and train nothing."""


def main(argv: Sequence[str] | None = None) -> None:
    def read() -> tuple[Arguments, list[PlannedRun], Records]:
        arguments = parse(Arguments, argv, "training.sweep", DESCRIPTION)
        if arguments.stack < 1:
            raise InputError(f"--stack: expected at least 1, found {arguments.stack}")
        runs = read_plan(arguments.plan, arguments.set)
        return arguments, runs, Records(arguments.out, runs, arguments.known)

    comm, (arguments, runs, records) = meet(read, lambda given: facts_of(*given))
    root = rank_of(comm) == 0
    if arguments.dry_run:
        if root:
            show(runs, records)
        return
    with one_fate(comm):
        sweep(arguments, runs, records, comm)
    if root:
        print(records.results)
        records.check_all_done()


def facts_of(arguments: Arguments, runs: Sequence[PlannedRun], records: Records) -> dict[str, Any]:
    """What ranks must have in common: the options, and what is in the files that they name."""
    planned = {run.name: vars(run.config) for run in runs}
    contents = {"runs": digest_of_text(planned), "--known": digest_of_text(records.known)}
    options = {name: value for name, value in options_of(arguments).items() if name not in ("--plan", "--known")}
    return {"command": "sweep", **options, **contents}


def show(runs: Sequence[PlannedRun], records: Records) -> None:
    """Print a line a run, and the counts."""
    from training.sweeps.cost import estimated_seconds, readable

    left = 0.0
    for run in runs:
        seconds = estimated_seconds(run.config)
        state = records.state(run)
        left += seconds if state is State.LEFT else 0
        print(f"{state.value:6}  {readable(seconds):>8}  {run.name}")
    counts = ", ".join(f"{records.count(state)} {state.value}" for state in State)
    print(f"{len(runs)} runs: {counts}; about {readable(left)} on two CPU cores for what is left")


def sweep(arguments: Arguments, runs: Sequence[PlannedRun], records: Records, comm: Any | None) -> None:
    """Train what is left of `runs`; collective over ranks that have met."""
    from training.fitting.engine import together_key
    from training.fitting.results import SWEEP_FILES, make_folder
    from training.runtime.device import choose_device, use_threads
    from training.runtime.farm import farm, local_ranks, together
    from training.runtime.lock import Lock
    from training.sweeps.progress import Progress

    rank, root = rank_of(comm), rank_of(comm) == 0
    local, ranks, cores = local_ranks(comm)

    def prepare() -> "tuple[torch.device, Lock | None]":
        use_threads(arguments.threads, ranks, cores)
        device = choose_device(arguments.device, local, ranks)
        if not root:
            return device, None
        make_folder(arguments.out, SWEEP_FILES)
        lock = Lock(arguments.out)
        try:
            records.load(arguments.retry)
        except BaseException:
            lock.release()
            raise
        return device, lock

    device, lock = together(comm, prepare)
    try:
        left = [run for run in runs if records.state(run) is State.LEFT] if root else []
        left = left if comm is None else comm.bcast(left)
        # As many stacks as ranks at least, or some would have nothing to do.
        largest = min(arguments.stack, max(1, -(-len(left) // (comm.size if comm else 1))))
        tasks = stacks(left, [together_key(run.config) for run in left], largest)
        progress = Progress(records, left, enabled=root)
        worker = Worker(arguments, device, rank, progress)
        if comm is not None:
            agree(comm, together(comm, lambda: worker.data_of(left)), ALIKE)

        def store(results: list[tuple[Any, Any]]) -> None:
            records.update([run for task, _ in results for run in task])
            progress.update()

        farm(tasks, worker.train, store, comm)
        if root:
            records.write()
            progress.close()
    finally:
        if lock:
            lock.release()


class Worker:
    """What a rank does with a stack of runs: load their data, train them together, write their files."""

    def __init__(self, arguments: Arguments, device: "torch.device", rank: int, progress: Any):
        from training.data.splits import Splits

        self.arguments = arguments
        self.device = device
        self.progress = progress
        self.splits = Splits(arguments.data_dir, device)
        self.running = arguments.out / f".running-{rank}"

    def train(self, task: list[PlannedRun]) -> None:
        """Train `task`; whatever fails is recorded as the failure of its run, but for a disk that cannot be written."""
        with writing(self.running):
            self.running.write_text("\n".join(run.name for run in task), encoding="utf-8")
        self.progress.update()
        ready = [run for run in task if self._loads(run)]
        try:
            if ready:
                self._train_together(ready)
        finally:
            with suppress(OSError):
                self.running.unlink()

    def data_of(self, runs: Sequence[PlannedRun]) -> dict[str, str]:
        """Of each data that `runs` train on, named by the first of them: its digest, or why it cannot be used."""
        from training.data.splits import data_key

        first = {data_key(run.config): run for run in reversed(runs)}
        found = {}
        for run in first.values():
            try:
                found[f"data of {run.name}"] = self.splits(run.config).digest
            except InputError as error:
                found[f"data of {run.name}"] = str(error)
        return found

    def _loads(self, run: PlannedRun) -> bool:
        """Whether the data of `run` can be used and its batches be trained with."""
        from training.fitting.run import check_last_batch
        from training.sweeps.record import write_failure

        try:
            split = self.splits(run.config)
            check_last_batch(run.config, len(split.train) * run.config.patches)
        except InputError as error:
            write_failure(self.arguments.out, run, str(error))
            return False
        return True

    def _train_together(self, runs: list[PlannedRun]) -> None:
        from training.fitting.fit import train_together
        from training.fitting.results import is_complete, make_run_folder, write_results
        from training.fitting.resume import forget_state, keep_state, kept_state
        from training.runtime.command import RunError, is_out_of_memory, one_line
        from training.sweeps.record import write_failure

        configs = [run.config for run in runs]
        splits = [self.splits(config) for config in configs]
        folders = [self.arguments.out / run.name for run in runs]
        kept = [kept_state(*each) for each in zip(folders, configs, splits, strict=True)]
        histories = [history for _, history in kept]
        open_runs = dict(enumerate(runs))

        def keep(number: int, state: "Snapshot") -> None:
            keep_state(folders[number], configs[number], splits[number], state, histories[number])

        try:
            for number, event in train_together(configs, splits, self.device, [state for state, _ in kept], keep):
                if isinstance(event, RunError):
                    write_failure(self.arguments.out, open_runs.pop(number), str(event))
                    continue
                histories[number].append(event.row)
                if is_complete(configs[number], event.checkpoint.metrics):
                    make_run_folder(folders[number])
                    write_results(folders[number], event, histories[number], splits[number])
                    forget_state(folders[number])
                    open_runs.pop(number)
                self.progress.update()
        except (InputError, OSError, WriteError):
            raise
        except Exception as error:
            # A bug or too little memory: the others of the sweep may well be trained.
            if not is_out_of_memory(error):
                import traceback

                traceback.print_exc()
            for run in open_runs.values():
                write_failure(self.arguments.out, run, one_line(error))


if __name__ == "__main__":
    raise SystemExit(command(main)())

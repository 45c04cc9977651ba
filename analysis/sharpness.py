"""`python -m analysis.sharpness`: every measure of sharpness of one checkpoint, of many, or of a sweep's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from analysis.measures.settings import Settings, check_settings
from analysis.measures.sharpness_files import Report, Table, Task, sweep_tasks, write_report
from training.runtime.agreement import agree
from training.runtime.command import (
    InputError,
    RunError,
    check_out,
    command,
    make_parent,
    parse,
    users_code,
    writing,
)
from training.runtime.farm import local_ranks, one_fate, rank_of
from training.runtime.kinds import REPORT, SHARPNESS
from training.runtime.meeting import ALIKE, meet, options_of

if TYPE_CHECKING:
    import torch

    from landscape.problem.problem import Problem

DESCRIPTION = """Measure sharpness, under the training loss and the common L2: curvature along filter-normalized
directions, growth with the radius, areas of sublevel sets, Keskar's, SAM's and ASAM's measures, the Hessian's trace
and extreme eigenvalues.

Example: python -m analysis.sharpness --ckpt runs/a/checkpoint.pt --out runs/a/sharpness.json
Example: mpirun -n 2 python -m analysis.sharpness --sweep runs/demo --out runs/demo/sharpness.csv
Stopped, it goes on when it is started again. A checkpoint that cannot be measured is a row with the
reason, and the exit status is 1 then. What each measure is: docs/measures.md."""


@dataclass(frozen=True)
class Arguments:
    out: Path
    """NAME.json for one model; NAME.csv for many, a row a checkpoint, beside a folder NAME with a JSON each."""
    ckpt: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """A checkpoint written by training.train; may be repeated."""
    sweep: Path | None = None
    """A folder that training.sweep wrote: all its finished runs."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With --sweep: only runs with this setting, name=value; may be repeated."""
    problem: str = ""
    """package.module:factory, a function that returns a landscape.Problem; with --losses."""
    settings: Settings = field(default_factory=Settings)
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; ranks of a node take its GPUs in turn."""
    threads: int = 0
    """CPU threads of each rank; 0: OMP_NUM_THREADS if set, else the CPUs that may be used, divided by ranks."""


def main(argv: Sequence[str] | None = None) -> None:
    def read() -> Arguments:
        arguments = parse(Arguments, argv, "analysis.sharpness", DESCRIPTION)
        check_arguments(arguments)
        return arguments

    comm, arguments = meet(read, lambda given: {"command": "sharpness", **options_of(given)})
    failed: list[str] = []
    with one_fate(comm):
        if arguments.out.suffix != ".json":
            failed = measure_many(arguments, comm)
        elif rank_of(comm) == 0:
            measure_one(arguments)
    if rank_of(comm) == 0:
        print(arguments.out)
        check_all_measured(arguments.out, failed)


def check_arguments(arguments: Arguments) -> None:
    """InputError for options that exclude each other or make no sense."""
    check_settings(arguments.settings)
    check_out(arguments.out, REPORT, SHARPNESS)
    if sum((bool(arguments.ckpt), arguments.sweep is not None, bool(arguments.problem))) != 1:
        raise InputError("--ckpt, --sweep, --problem: expected one of them, found none or several")
    if arguments.out.suffix not in (".json", ".csv"):
        raise InputError(f"--out {arguments.out}: expected a name that ends in .json or .csv")
    one = arguments.problem or len(arguments.ckpt) == 1
    if arguments.out.suffix == ".json" and not one:
        raise InputError(f"--out {arguments.out}: expected NAME.csv for several checkpoints, found .json")
    if arguments.out.suffix == ".csv" and arguments.problem:
        raise InputError(f"--out {arguments.out}: expected NAME.json with --problem, found .csv")


def measure_one(arguments: Arguments) -> None:
    """Measure the one model and write its report, on this process alone."""
    from landscape.sources import from_factory

    device = prepare(arguments, *local_ranks(None))
    make_parent(arguments.out)
    if arguments.problem:
        problem = from_factory(arguments.problem)
        write_report(arguments.out, report_of(problem, arguments.settings, arguments.problem, device))
    else:
        Worker(arguments, device).measure(Task(arguments.ckpt[0].parent.name, arguments.ckpt[0], arguments.out))


def measure_many(arguments: Arguments, comm: Any | None) -> list[str]:
    """Measure what is left of the checkpoints over all ranks; the root writes the table as reports arrive.

    Returns, on the root, the names of those that could not be measured.
    """
    from training.runtime.farm import together
    from training.runtime.lock import Lock

    folder = arguments.out.with_suffix("")

    def start() -> "tuple[torch.device, list[Task], dict[str, str]]":
        tasks = tasks_of(arguments, folder)
        return prepare(arguments, *place), tasks, digests_of(tasks)

    def open_table() -> tuple[Lock | None, Table | None]:
        if rank_of(comm) != 0:
            return None, None
        make_parent(arguments.out)
        lock = Lock(arguments.out)
        try:
            with writing(folder):
                folder.mkdir(exist_ok=True)
            return lock, Table(arguments.out, tasks, stored(arguments.settings), digests)
        except BaseException:
            lock.release()
            raise

    place = local_ranks(comm)  # collective, so before what may fail on one rank
    device, tasks, digests = together(comm, start)
    agree(comm, {task.name: f"checkpoint {digests.get(task.name, 'that cannot be read')}" for task in tasks}, ALIKE)
    lock, table = together(comm, open_table)
    try:
        measure_rest(arguments, Worker(arguments, device), tasks, table, comm)
    finally:
        if lock:
            lock.release()
    return table.failed() if table else []


def check_all_measured(out: Path, failed: Sequence[str]) -> None:
    """Raise RunError if some checkpoints could not be measured; the table says why."""
    if failed:
        raise RunError(f"{out}: expected all checkpoints measured, found {len(failed)} that failed, {failed[0]} first")


def measure_rest(
    arguments: Arguments, worker: "Worker", tasks: Sequence[Task], table: Table | None, comm: Any | None
) -> None:
    """Measure over all ranks what `table`, on the root, has no report of."""
    from tqdm import tqdm

    from training.runtime.farm import farm

    root = table is not None
    left = table.left() if table else []
    left = left if comm is None else comm.bcast(left)
    bar = tqdm(
        desc=arguments.out.name, total=len(tasks), initial=len(tasks) - len(left), disable=None if root else True
    )

    def store(results: list[tuple[Any, Any]]) -> None:
        if table is not None:
            table.update([task for task, _ in results])
        bar.update(len(results))

    farm(left, worker.measure_or_say_why, store, comm)
    bar.close()


def tasks_of(arguments: Arguments, folder: Path) -> list[Task]:
    """The checkpoints to measure, each with its name in the table and the file of its report."""
    if arguments.sweep is not None:
        return sweep_tasks(arguments.sweep, folder, arguments.where)
    names = [path.parent.name for path in arguments.ckpt]
    if len(set(names)) != len(names):
        raise InputError(f"--ckpt: expected checkpoints in folders of different names, found {', '.join(names)}")
    return [Task(name, path, folder / f"{name}.json") for name, path in zip(names, arguments.ckpt, strict=True)]


def digests_of(tasks: Sequence[Task]) -> dict[str, str]:
    """The digests of the checkpoints that can be read; the others will be told why they cannot."""
    from contextlib import suppress

    from training.fitting.checkpoint import load_checkpoint

    digests = {}
    for task in tasks:
        with suppress(InputError):
            digests[task.name] = load_checkpoint(task.checkpoint).digest
    return digests


def prepare(arguments: Arguments, rank: int, ranks: int, cores: set[int]) -> "torch.device":
    """The device of a node's rank `rank` of `ranks`, with its threads set."""
    from training.runtime.device import choose_device, use_threads

    use_threads(arguments.threads, ranks, cores)
    return choose_device(arguments.device, rank, ranks)


def stored(settings: Settings) -> dict[str, Any]:
    """`settings` as they are read back from a report."""
    return {**asdict(settings), "losses": list(settings.losses), "parts": list(settings.parts)}


class Worker:
    """What a rank does with a checkpoint: measure it and write its report."""

    def __init__(self, arguments: Arguments, device: "torch.device"):
        self.arguments = arguments
        self.device = device

    def measure_or_say_why(self, task: Task) -> None:
        """`measure`; a checkpoint that cannot be used gets a report with its error, and the others go on."""
        try:
            self.measure(task)
        except InputError as error:
            settings, config = stored(self.arguments.settings), config_of(task.checkpoint)
            write_report(task.report, Report(task.name, settings, config=config, error=str(error)))

    def measure(self, task: Task) -> None:
        from landscape.sources import from_checkpoint

        settings = self.arguments.settings
        most = max(settings.images, settings.test_images)
        problem = from_checkpoint(task.checkpoint, self.arguments.data_dir, most)
        write_report(task.report, report_of(problem, settings, task.name, self.device))


def config_of(path: Path) -> dict[str, Any]:
    """The config of a checkpoint as plain values, {} if it cannot be read."""
    from training.fitting.checkpoint import load_checkpoint

    try:
        return vars(load_checkpoint(path).config)
    except InputError:
        return {}


def report_of(problem: "Problem", settings: Settings, name: str, device: "torch.device") -> Report:
    from analysis.measures.measuring import measure

    with users_code():
        found = measure(problem, settings, device)
    return Report(
        name,
        stored(settings),
        digest=problem.weights_digest,
        data_digest=problem.data_digest,
        config=problem.meta.get("config", {}),
        epoch=problem.meta.get("epoch"),
        metrics=problem.meta.get("checkpoint_metrics", {}),
        **vars(found),
    )


if __name__ == "__main__":
    raise SystemExit(command(main)())

"""Which device computes, with how many threads, and at which precision."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from training.runtime.command import InputError

NO_LIMIT = 10**6  # CPUs: more than any machine has


def choose_device(name: str, local_rank: int = 0, local_ranks: int = 1) -> torch.device:
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`; ranks of a node take its GPUs in turn.

    Where several ranks share a GPU, the node's first rank says so on stderr.

    TF32 is switched off, so that numbers are the same on any device to rounding. Raises InputError if there is no such
    device.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device: expected auto, cpu, cuda or cuda:N, found {name!r}")
    if device.type == "cuda":
        if (device.index or 0) >= max(gpus, 1) or not gpus:
            raise InputError(f"--device: expected one of {gpus} GPUs of this machine, found {name!r}; use --device cpu")
        used = gpus if device.index is None else 1
        if local_ranks > used and local_rank == 0:
            print(f"{local_ranks} ranks share {used} GPU(s) of this node: start one rank a GPU", file=sys.stderr)
        return device if device.index is not None else torch.device("cuda", local_rank % gpus)
    return device


def use_threads(requested: int, local_ranks: int = 1, cores: set[int] | None = None) -> int:
    """Let torch use `requested` threads; returns the number.

    0 stands for $OMP_NUM_THREADS, which is of each process, where it is a whole number above 0, and else for
    max(1, available // local_ranks). Available are the `cores` that the ranks of this node may use together, by default
    the ones this process may use, so that what a launcher binds is not divided twice; or fewer, if a control group
    allows the time of fewer.
    """
    available = len(cores or os.sched_getaffinity(0))
    source, wanted = ("OMP_NUM_THREADS", threads_of_environment()) if requested == 0 else ("--threads", requested)
    if not 0 <= wanted <= max(64, 4 * available):
        raise InputError(
            f"{source}: expected 0 for OMP_NUM_THREADS or all cores, or up to 4 a core, found {wanted}"
            if source == "--threads"
            else f"{source}: expected up to 4 threads a core, found {wanted}; change it or name --threads"
        )
    count = wanted or max(1, min(available, allowed_cpus()) // local_ranks)
    torch.set_num_threads(count)
    return count


def threads_of_environment() -> int:
    """What $OMP_NUM_THREADS says, of a list of nested numbers the first; 0 where it is unset or no number above 0."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() else 0


def allowed_cpus(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """The CPUs whose time Linux control groups allow this process, rounded down but at least 1; NO_LIMIT without any.

    Version 2 writes "QUOTA PERIOD" in microseconds, or "max", into cpu.max, version 1 the two into files of their own;
    the limit of a group holds for all below it.
    """
    try:
        entries = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return NO_LIMIT
    limits = [float(NO_LIMIT)]
    for _, controllers, path in (entry for entry in entries if len(entry) == 3):
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers if controllers else groups
        folder = root / path.lstrip("/")
        above = (parent for parent in folder.parents if parent.is_relative_to(root))
        limits += [_quota(place) for place in (folder, *above)]
    return max(1, int(min(limits)))


def _quota(group: Path) -> float:
    """CPUs that one control group allows; NO_LIMIT where it sets none, or is not there."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = map(float, " ".join((group / name).read_text() for name in names).split())
        except (OSError, ValueError):  # "max" is no number
            continue
        if quota > 0 and period > 0:
            return quota / period
    return NO_LIMIT


def thread_pool(threads: int) -> ThreadPoolExecutor:
    """Python threads that each compute with one torch thread; the caller's own number stays as it is."""

    def alone() -> None:
        torch.get_num_threads()  # first, or the thread's lazy set-up would undo the next line
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(threads, initializer=alone)
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(threads)  # part of the setting is global
    return pool

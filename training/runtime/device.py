"""Which device computes, with how many threads, and at which precision."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from training.runtime.command import InputError


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
    """Let torch use `requested` threads, or with 0 max(1, cores // local_ranks); returns the number.

    `cores` are those that the ranks of this node may use together, by default the ones this process may use: a
    launcher that binds each rank to cores of its own is then not divided twice.
    """
    available = len(cores or os.sched_getaffinity(0))
    if not 0 <= requested <= max(64, 4 * available):
        raise InputError(f"--threads: expected 0 for all cores, or up to 4 a core, found {requested}")
    count = requested or max(1, available // local_ranks)
    torch.set_num_threads(count)
    return count


def thread_pool(threads: int) -> ThreadPoolExecutor:
    """Python threads that each compute with one torch thread; the caller's own number stays as it is."""

    def alone() -> None:
        torch.get_num_threads()  # first, or the thread's lazy set-up would undo the next line
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(threads, initializer=alone)
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(threads)  # part of the setting is global
    return pool

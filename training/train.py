"""`python -m training.train`: train one autoencoder on normal images; checkpoint, scores and history in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.config import RunConfig, check, resolve
from training.runtime.command import InputError, command, parse

if TYPE_CHECKING:
    import torch

    from training.data.splits import Split
    from training.fitting.engine import Snapshot

DESCRIPTION = """Train one autoencoder on normal images and score the whole test split.

Example: python -m training.train --dataset mnist-mini --normal 3 --loss l2-lamp --epochs 30 --out runs/a
Writes checkpoint.pt, metrics.json, scores.csv and history.csv after every epoch; the last line is the checkpoint.
--save-every 10 also saves the trajectory; --until-l2 20 stops at that fit, which metrics.json says."""


@dataclass(frozen=True)
class Arguments:
    out: Path
    """Folder for the results; made if absent."""
    config: RunConfig = field(default_factory=RunConfig)
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA. Never written to."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads; 0: OMP_NUM_THREADS if set, else all CPUs that may be used."""
    save_every: int = 0
    """Also save the model every so many updates, at the start and at the end: OUT/trajectory/000000.pt, …; 0: never."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "training.train", DESCRIPTION)
    check_alone()
    config = resolve(arguments.config)
    check(arguments.save_every >= 0, "--save-every", "a number of updates, or 0 for never", arguments.save_every)
    from training.data.splits import load_split
    from training.fitting.results import RUN_FILES, make_folder
    from training.fitting.trajectory import check_trajectory
    from training.runtime.device import choose_device, use_threads
    from training.runtime.lock import Lock

    use_threads(arguments.threads)
    device = choose_device(arguments.device)
    split = load_split(config, arguments.data_dir)
    path = arguments.out / "checkpoint.pt"
    if not already_trained(path, config, split):
        make_folder(arguments.out, RUN_FILES)
        with Lock(arguments.out):
            if not already_trained(path, config, split):  # by another process, since we looked
                train_to_folder(config, split, device, arguments.out, arguments.save_every)
    elif arguments.save_every:
        check_trajectory(arguments.out, arguments.save_every)
    print(path)


def check_alone() -> None:
    """Raise InputError under a launcher: each process would train the same model into the same folder."""
    from training.runtime.farm import launched_size

    if launched_size() > 1:
        raise InputError(f"mpirun: expected one process, found {launched_size()}: one run is not divided among ranks")


def already_trained(path: Path, config: RunConfig, split: "Split") -> bool:
    """Whether `path` is this run's finished checkpoint, with its other files beside it.

    InputError if it is that of another config or other data.
    """
    if not path.exists():
        return False
    from training.fitting.checkpoint import load_checkpoint
    from training.fitting.results import is_complete, is_written

    found = load_checkpoint(path)
    different = [
        f"{name} {getattr(found.config, name)}"
        for name in vars(config)
        if getattr(found.config, name) != getattr(config, name)
    ]
    if found.data_digest != split.digest:
        different.append("other data")
    if different:
        raise InputError(
            f"{path}: expected no other run's checkpoint, found one of {', '.join(different)}; choose another --out"
        )
    return is_complete(config, found.metrics) and is_written(path.parent, found.digest)


def train_to_folder(
    config: RunConfig, split: "Split", device: "torch.device", folder: Path, save_every: int = 0
) -> None:
    from tqdm import tqdm

    from training.fitting.fit import train
    from training.fitting.results import write_results
    from training.fitting.resume import forget_state, kept_state
    from training.fitting.trajectory import Trajectory

    what = {"mvtec": config.category, "folder": "images"}.get(config.dataset, config.normal)
    name = f"{config.loss}, {'all digits' if config.task == 'classify' else what}"
    bar = tqdm(desc=f"training ({name})", total=config.epochs, unit="epoch", disable=None)
    start, history = kept_state(folder, config, split)
    visit = Trajectory(folder, save_every, begins=start is None) if save_every else None
    bar.update(history[-1]["epoch"] if history else 0)
    keep = partial(keep_run, folder, config, split, history)
    for evaluation in train(config, split, device, start, keep, visit):
        row = evaluation.row
        history.append(row)
        bar.update(row["epoch"] - bar.n)
        bar.set_postfix({name: f"{row[name]:.4g}" for name in ("loss", "auroc", "accuracy") if name in row})
        write_results(folder, evaluation, history, split)
    bar.close()
    forget_state(folder)


def keep_run(
    folder: Path, config: RunConfig, split: "Split", history: "list[dict[str, Any]]", _: int, state: "Snapshot"
) -> None:
    from training.fitting.resume import keep_state

    keep_state(folder, config, split, state, history)


if __name__ == "__main__":
    raise SystemExit(command(main)())

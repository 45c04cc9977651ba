"""Checkpoints along a training run: where the weights have been, for the principal components of a trajectory."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from training.fitting import checkpoint
from training.fitting.checkpoint import load_checkpoint, save_checkpoint
from training.fitting.results import make_run_folder
from training.fitting.run import Run
from training.runtime.command import InputError

NAME = "trajectory"


def file_of(folder: Path, updates: int) -> Path:
    """The checkpoint after so many updates of the run in `folder`."""
    return folder / NAME / f"{updates:06d}.pt"


def files_of(folder: Path) -> list[Path]:
    """The checkpoints of the run in `folder`, in the order of its updates."""
    files = [path for path in (folder / NAME).glob("*.pt") if path.stem.isdecimal()]
    return sorted(files, key=lambda path: int(path.stem))


class Trajectory:
    """Saves a run's model before its first update, after every `every` updates and at its end.

    The files are checkpoints (:mod:`training.fitting.checkpoint`) whose metrics hold the number of `updates`. A run
    that goes on in its middle finds its earlier files; one that begins removes those of an earlier beginning. Raises
    InputError for a run in its middle without a trajectory.
    """

    def __init__(self, folder: Path, every: int, begins: bool):
        self.folder, self.every = folder, every
        if begins:
            for path in files_of(folder):
                path.unlink()
        elif not file_of(folder, 0).is_file():
            raise InputError(
                f"{folder}: expected a run that has saved its trajectory from its beginning, found one in its middle "
                "without; leave out --save-every, or choose another --out"
            )
        make_run_folder(folder / NAME)

    def __call__(self, run: Run, model: Callable[[], nn.Module]) -> None:
        """See to `run` after an update, or before its first; `model` gives its model as it stands."""
        if run.updates % self.every == 0 or run.finished:
            epoch, metrics = run.updates // run.steps, {"updates": run.updates}
            taken = checkpoint.take(run.config, epoch, model(), metrics, run.split)
            save_checkpoint(taken, file_of(self.folder, run.updates))


def check_trajectory(folder: Path, every: int) -> None:
    """Raise InputError unless the finished run in `folder` has saved its trajectory, every so many updates."""
    files = files_of(folder)
    updates = load_checkpoint(folder / "checkpoint.pt").metrics["updates"]
    expected = {*range(0, updates + 1, every), updates}
    if not expected <= {int(path.stem) for path in files}:
        raise InputError(
            f"--save-every: expected a checkpoint every {every} updates of the finished run in {folder}, "
            f"found {len(files)} in all; choose another --out"
        )

"""The training loop: configs and data become evaluations; several runs at once where they fit together."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from training.data.config import RunConfig
from training.data.splits import Split
from training.fitting.engine import Engine, Snapshot, make_engine
from training.fitting.run import Evaluation, Run
from training.runtime.command import RunError

Keep = Callable[[int, Snapshot], None]
Visit = Callable[[Run, Callable[[], nn.Module]], None]  # a run, and what gives its model as it stands
KEEP_SECONDS = 60.0  # between states kept: little is lost with a kill, and writing them is not felt


def train(
    config: RunConfig,
    split: Split,
    device: torch.device,
    start: Snapshot | None = None,
    keep: Keep | None = None,
    visit: Visit | None = None,
) -> Iterator[Evaluation]:
    """Train a model from `config.seed`, yielding at each evaluation that `config.evaluate` asks for.

    `start`, `keep` and `visit` are as in :func:`train_together`. The same config and split give the same weights on the
    same machine with the same number of threads. Raises RunError, naming epoch and step, if the loss is not finite.
    """
    for _, event in train_together([config], [split], device, [start], keep, visit):
        if isinstance(event, RunError):
            raise event
        yield event


def train_together(
    configs: Sequence[RunConfig],
    splits: Sequence[Split],
    device: torch.device,
    starts: Sequence[Snapshot | None] = (),
    keep: Keep | None = None,
    visit: Visit | None = None,
) -> Iterator[tuple[int, Evaluation | RunError]]:
    """Train a model for each of `configs`, yielding (its number, evaluation) at each of its evaluations.

    Where the configs allow it (:func:`training.fitting.engine.together_key`) they are one network, with the results of
    separate training up to rounding. A run that diverges yields its RunError and ends; the others go on.

    About once a minute `keep` is called with the number and the state of each run that goes on; a run whose state is
    among `starts` goes on from there, without the evaluations that it has had. `visit` is called with each run before
    its first update here and after every one, and changes nothing.
    """
    runs = [Run(config, split, device) for config, split in zip(configs, splits, strict=True)]
    engine = make_engine(configs, device)
    for number, start in enumerate(starts):
        if start is not None:
            engine.load(number, start["engine"])
            runs[number].go_on(start["run"])
    numbers = list(range(len(runs)))
    visit = visit or (lambda run, model: None)
    for number, run in enumerate(runs):
        visit(run, functools.partial(engine.model, number))
    kept = time.monotonic()
    while numbers:
        active = [runs[number] for number in numbers]
        ended: set[int] = set()
        for index in update(engine, active):
            run = active[index]
            model = functools.partial(engine.model, index)
            run.look(model)
            visit(run, model)
            if not run.due:
                continue
            try:
                yield numbers[index], run.evaluate(model())
            except RunError as error:
                yield numbers[index], error
                ended.add(index)
            if run.finished:
                ended.add(index)
        numbers = [number for index, number in enumerate(numbers) if index not in ended]
        if ended and numbers:
            engine = engine.without(ended)
        if keep is not None and time.monotonic() - kept > KEEP_SECONDS:
            for index, number in enumerate(numbers):
                keep(number, {"engine": engine.state(index), "run": runs[number].state()})
            kept = time.monotonic()


def update(engine: Engine, runs: Sequence[Run]) -> Sequence[int]:
    """One update of all runs together if their batches are whole, or of the ragged ones alone; returns which."""
    start = time.perf_counter()
    ragged = [index for index, run in enumerate(runs) if run.ragged]
    if ragged:
        # An epoch's last batch; the others wait an update, and meet again in whole batches.
        for index in ragged:
            batch = runs[index].take()
            loss = engine.step_one(index, batch)
            now = time.perf_counter()
            runs[index].record(loss, len(batch.inputs), now - start)
            start = now
        return ragged
    batches = [run.take() for run in runs]
    losses = engine.step(batches)
    seconds = (time.perf_counter() - start) / len(runs)
    for run, batch, loss in zip(runs, batches, losses, strict=True):
        run.record(loss, len(batch.inputs), seconds)
    return range(len(runs))

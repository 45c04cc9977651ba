"""`python -m training.probe`: a linear head on the frozen encoder of a trained autoencoder, trained to name digits.

The second reading of the paper's Fig. 3, "the encoder part trained to predict the class labels": the encoder is the
anomaly detector's own, learned from one digit; the head learns all ten. What comes of it is a classifier's checkpoint
like those of `training.train --task classify`; its surface moves the weights of encoder and head alike.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.config import DIGIT_SETS, LATER_FIELDS, LossName, RunConfig, resolve
from training.runtime.command import InputError, command, parse

if TYPE_CHECKING:
    import torch
    from torch import nn

    from training.data.splits import Split
    from training.fitting.checkpoint import Checkpoint
    from training.fitting.run import Evaluation

DESCRIPTION = """Train a linear head with softmax on the frozen encoder of an autoencoder of digits.

Example: python -m training.probe --ckpt runs/a/checkpoint.pt --out runs/a-probe
Writes what training.train --task classify writes, the encoder unchanged; the last line is the checkpoint."""

OF_THE_PARENT = ("normal", "loss", "batch_size", "epochs", "seed")


@dataclass(frozen=True)
class Arguments:
    ckpt: Path
    """The autoencoder, a checkpoint written by training.train on MNIST."""
    out: Path
    """Folder for the results; made if absent."""
    loss: LossName | None = None
    """Between softmax output and one-hot digit, summed over classes; default: the autoencoder's own."""
    epochs: int = 10
    """Passes over the training images."""
    lr: float | None = None
    """Learning rate; default: the autoencoder's own."""
    batch_size: int | None = None
    """Images an update of the head; default: the autoencoder's own."""
    max_train: int = 0
    """Train the head on at most so many images; 0: all of all digits."""
    data_dir: str | None = None
    """Folder that holds mnist/; the same as LANDSCAPE_DATA. Never written to."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads; 0: OMP_NUM_THREADS if set, else all CPUs that may be used."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "training.probe", DESCRIPTION)
    from training.train import already_trained, check_alone

    check_alone()
    from training.data.splits import load_split
    from training.fitting.checkpoint import load_checkpoint
    from training.fitting.origin import data_where_trained
    from training.fitting.results import RUN_FILES, make_folder
    from training.runtime.device import choose_device, use_threads
    from training.runtime.lock import Lock

    use_threads(arguments.threads)
    device = choose_device(arguments.device)
    parent = load_checkpoint(arguments.ckpt)
    config = probe_config(parent.config, arguments)
    found = data_where_trained(arguments.ckpt, parent) if arguments.data_dir is None else None
    split = load_split(config, found.folder if found else arguments.data_dir)
    path = arguments.out / "checkpoint.pt"
    if already_trained(path, config, split):
        check_parent(path, load_checkpoint(path), parent)
    else:
        make_folder(arguments.out, RUN_FILES)
        with Lock(arguments.out):
            probe_to_folder(parent, config, split, device, arguments.out)
    print(path)


def probe_config(parent: RunConfig, arguments: Arguments) -> RunConfig:
    """The classifier's configuration: the autoencoder's but for the task and what `arguments` name.

    Nothing is held out or augmented: all digits' features are computed once. The head is trained plainly, for all
    epochs. Raises InputError if `parent` has no encoder of whole digits.
    """
    check_autoencoder(parent, str(arguments.ckpt))
    given = {name: getattr(arguments, name) for name in ("loss", "epochs", "lr", "batch_size", "max_train")}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    plain = {name: getattr(RunConfig, name) for name in ("validation", "augment", "evaluate", *LATER_FIELDS)}
    return resolve(dataclasses.replace(parent, **changes, **plain, task="classify"))


def check_autoencoder(parent: RunConfig, source: str) -> None:
    """Raise InputError unless a linear head can be put on the encoder of `parent` to name digits."""
    for holds, expected, found in (
        (parent.task == "reconstruct", "an autoencoder", "a classifier"),
        (parent.dataset in DIGIT_SETS, "an autoencoder of MNIST's digits", f"one of {parent.dataset}"),
        (parent.patches == 1, "an autoencoder of whole images", f"one of {parent.patches} patches"),
    ):
        if not holds:
            raise InputError(f"{source}: expected {expected}, found {found}; name another checkpoint")


def check_parent(path: Path, found: "Checkpoint", parent: "Checkpoint") -> None:
    """Raise InputError unless the probe `found` is one of `parent`."""
    if found.metrics.get("probe", {}).get("digest") != parent.digest:
        raise InputError(f"{path}: expected no other model's probe, found one; choose another --out")


def probe_to_folder(
    parent: "Checkpoint", config: RunConfig, split: "Split", device: "torch.device", folder: Path
) -> None:
    from tqdm import tqdm

    from training.fitting.results import write_results

    history: list[dict[str, Any]] = []
    with tqdm(desc=f"probe ({config.loss})", total=config.epochs, unit="epoch", disable=None) as bar:
        for evaluation in probe(parent, config, split, device):
            history.append(evaluation.row)
            bar.update()
            bar.set_postfix({name: f"{evaluation.row[name]:.4g}" for name in ("loss", "accuracy")})
            write_results(folder, evaluation, history, split)


def probe(parent: "Checkpoint", config: RunConfig, split: "Split", device: "torch.device") -> "Iterator[Evaluation]":
    """Train the head of `config` on the codes that the encoder of `parent` gives, yielding after each epoch.

    Batch norm of the encoder is in evaluation mode, and no weight or statistic of it changes. The head starts from
    `config.seed`. The checkpoints are of the whole classifier; their metrics say under `probe` of what autoencoder.
    """
    from training.fitting import checkpoint
    from training.fitting.engine import Separate
    from training.fitting.fit import update
    from training.fitting.run import Run

    classifier = classifier_of(parent, config).to(device)
    head = classifier.get_submodule("head")
    run = Run(config, encoded(classifier.get_submodule("encoder"), split, device), device)
    engine = Separate([config], [head])
    about = {"digest": parent.digest, **{name: getattr(parent.config, name) for name in OF_THE_PARENT}}
    while not run.finished:
        update(engine, [run])
        if run.due:
            found = run.evaluate(head)
            metrics = {**found.checkpoint.metrics, "probe": about}
            whole = checkpoint.take(config, found.checkpoint.epoch, classifier, metrics, split)
            yield dataclasses.replace(found, checkpoint=whole)


def classifier_of(parent: "Checkpoint", config: RunConfig) -> "nn.Module":
    """The encoder of `parent` below the head that `config.seed` initialises, in evaluation mode."""
    from training.fitting.checkpoint import load_weights
    from training.models.autoencoder import build_model, seeded_model

    autoencoder = build_model(parent.config)
    load_weights(autoencoder, parent, "--ckpt")
    classifier = seeded_model(config)
    classifier.get_submodule("encoder").load_state_dict(autoencoder.get_submodule("encoder").state_dict())
    return classifier.eval()


def encoded(encoder: "nn.Module", split: "Split", device: "torch.device") -> "Split":
    """`split` with the codes (·, C, h, w) of its images in their place, computed once."""
    import torch

    from training.fitting.evaluation import per_batch
    from training.fitting.run import on_device

    def codes(images: "torch.Tensor") -> "torch.Tensor":
        return torch.cat(per_batch(encoder, images, lambda code, _: code))

    split = on_device(split, device)
    return dataclasses.replace(split, train=codes(split.train), test=codes(split.test))


if __name__ == "__main__":
    raise SystemExit(command(main)())

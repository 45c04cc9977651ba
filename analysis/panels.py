"""`python -m analysis.panels`: what figures that need losses or models draw, computed and stored as NPZ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from training.runtime.command import InputError, command, make_parent, parse_one_of, whole_file
from training.runtime.kinds import npz_kind

DESCRIPTION = """Compute what a figure draws, as an NPZ file.

Example: python -m analysis.panels fig2 --out fig2.npz, then python -m figures.fig2 fig2.npz --out fig2.png
Example: python -m analysis.panels fig4 runs/a/checkpoint.pt runs/b/checkpoint.pt --out fig4.npz, then
python -m figures.fig4 fig4.npz --out fig4.png"""

FIG2_LOSSES = ("l1", "l2", "l1-lamp", "l2-lamp")


@dataclass(frozen=True)
class Fig2:
    """Loss and gradient of L1, L2 and their LAMP forms against the residual of one pixel."""

    out: Path
    """The NPZ file."""
    points: int = 401
    """Residuals, evenly spaced up to 1."""


@dataclass(frozen=True)
class Fig4:
    """Test images, their reconstructions by some models, and error maps. Models of the same data alone.

    The images are drawn blindly from the seed: normal ones, and one of each class of anomalies (digit or defect).
    """

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Checkpoints of training.train; each is two rows of the figure."""
    out: Path
    """The NPZ file."""
    normal_images: int = 2
    """Normal test images."""
    anomalous_images: int = 0
    """Anomalous test images, taken from the classes in turn; 0: one of each class."""
    ids: tuple[str, ...] = ()
    """Images by their ids in scores.csv, in place of drawn ones."""
    seed: int = 0
    """Seed that the images are drawn with."""
    data_dir: str | None = None
    """Folder that holds mnist/ or mvtec/; the same as LANDSCAPE_DATA. Never written to."""
    threads: int = 0
    """CPU threads; 0: OMP_NUM_THREADS if set, else all CPUs that may be used."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_one_of({"fig2": Fig2, "fig4": Fig4}, argv, "analysis.panels", DESCRIPTION)
    panels = fig2(arguments) if isinstance(arguments, Fig2) else fig4(arguments)
    with whole_file(arguments.out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **panels)
    print(arguments.out)


def fig2(arguments: Fig2) -> dict[str, np.ndarray]:
    if arguments.points < 2:
        raise InputError(f"--points: expected at least 2, found {arguments.points}")
    make_parent(arguments.out, npz_kind("residual"))
    return fig2_curves(arguments.points)


def fig4(arguments: Fig4) -> dict[str, np.ndarray]:
    if arguments.seed < 0:
        raise InputError(f"--seed: expected at least 0, found {arguments.seed}")
    make_parent(arguments.out, npz_kind("input"))
    from analysis.pictures.reconstructions import fig4_panels
    from training.runtime.device import use_threads

    use_threads(arguments.threads)
    return fig4_panels(
        arguments.checkpoints,
        arguments.data_dir,
        arguments.ids,
        arguments.normal_images,
        arguments.anomalous_images,
        arguments.seed,
    )


def fig2_curves(points: int) -> dict[str, np.ndarray]:
    """`residual` (points,), and `loss_<name>` and `gradient_<name>` of the losses at scale=none, by autograd."""
    import torch

    from training.models.losses import FIXED_LAMP, per_sample_loss

    # From just above 0, where the gradient of L1 has no value.
    residual = torch.linspace(1 / points, 1, points, dtype=torch.float64).view(-1, 1, 1, 1)
    curves = {"residual": residual.flatten().numpy(), "eps": np.array(FIXED_LAMP.eps)}
    for name in FIG2_LOSSES:
        output = residual.clone().requires_grad_()
        loss = per_sample_loss(name, FIXED_LAMP)(output, torch.zeros_like(output))
        (gradient,) = torch.autograd.grad(loss.sum(), output)
        curves[f"loss_{name}"] = loss.detach().numpy()
        curves[f"gradient_{name}"] = gradient.flatten().numpy()
    return curves


if __name__ == "__main__":
    raise SystemExit(command(main)())

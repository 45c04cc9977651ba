"""`python -m analysis.panels`: what figures that need losses or models draw, computed and stored as NPZ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.command import InputError, command, make_parent, parse_one_of, whole_file

DESCRIPTION = """Compute what a figure draws, as an NPZ file.

Example: python -m analysis.panels fig2 --out fig2.npz, then python -m figures.fig2 fig2.npz --out fig2.png"""

FIG2_LOSSES = ("l1", "l2", "l1-lamp", "l2-lamp")


@dataclass(frozen=True)
class Fig2:
    """Loss and gradient of L1, L2 and their LAMP forms against the residual of one pixel."""

    out: Path
    """The NPZ file."""
    points: int = 401
    """Residuals, evenly spaced up to 1."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_one_of({"fig2": Fig2}, argv, "analysis.panels", DESCRIPTION)
    if arguments.points < 2:
        raise InputError(f"--points: expected at least 2, found {arguments.points}")
    make_parent(arguments.out)
    curves = fig2_curves(arguments.points)
    with whole_file(arguments.out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **curves)
    print(arguments.out)


def fig2_curves(points: int) -> dict[str, np.ndarray]:
    """`residual` (points,), and `loss_<name>` and `gradient_<name>` of the losses at scale=none, by autograd."""
    import torch

    from training.losses import FIXED_LAMP, per_sample_loss

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

"""Which plane a surface is computed on: the options that say so, and the axes each kind of plane has by default.

No torch here: wrong usage is answered before anything heavy is imported.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from landscape.directions.axes import AUTO, Axes, AxisLike, as_axis, is_point
from training.runtime.command import InputError


@dataclass(frozen=True)
class PlaneOptions:
    """What the plane goes through; without any of these, seeded random directions."""

    to: Path | None = None
    """Another model of the same architecture, at x = 1: linear interpolation, of all parameters. A checkpoint, or
    a state_dict saved with torch.save."""
    and_: Annotated[Path | None, tyro.conf.arg(name="and")] = None
    """With --to, a third model, at y = 1: the plane through three."""
    trajectory: tuple[Path, ...] = ()
    """A folder of checkpoints named by their updates (000000.pt, 000123.pt, …), or the files in order: x and y are
    their first two principal components."""
    directions: Path | None = None
    """A grid file whose directions are used again, as they are."""
    eigenvectors: Literal["none", "extreme", "largest"] = "none"
    """Eigenvectors of the first metric's Hessian, of unit norm: extreme is x of the largest and y of the smallest
    eigenvalue, largest is those of the two largest."""
    renormalize: bool = False
    """Scale the directions of --directions or --eigenvectors to this model's weights by --normalization."""
    mark: tuple[Path, ...] = ()
    """Other models, or folders of checkpoints, projected onto the plane; figures draw them."""

    @property
    def kind(self) -> str:
        """The kind of plane, a key of `landscape.directions.planes.PLANES`; InputError if several are asked for."""
        asked = {
            "between": self.to is not None,
            "trajectory": bool(self.trajectory),
            "saved": self.directions is not None,
            "eigenvectors": self.eigenvectors != "none",
        }
        names = [name for name, wanted in asked.items() if wanted]
        if len(names) > 1:
            options = {"between": "--to", "saved": "--directions"}
            found = " and ".join(options.get(name, f"--{name}") for name in names)
            raise InputError(f"{found}: expected one kind of directions, found {len(names)}; choose one")
        return names[0] if names else "random"


#: kind of plane -> its axes where none are given; auto: from the trajectory's extent; "": a line
DEFAULT_AXES = {
    "random": ("-1:1:51", ""),
    "between": ("0:1:51", ""),
    "three": ("-0.25:1.25:61", "-0.25:1.25:61"),  # 0 and 1 are among the steps
    "trajectory": (AUTO, AUTO),
    "saved": ("-1:1:51", ""),
    "eigenvectors": ("-1:1:51", ""),
}


def axes_of(options: PlaneOptions, x: AxisLike | None, y: AxisLike | None) -> Axes:
    """The axes as they are given, or by default; None where they are to come from the trajectory."""
    kind = "three" if options.kind == "between" and options.and_ else options.kind
    given = [
        default if value is None or (isinstance(value, str) and value == "") else value
        for value, default in zip((x, y), DEFAULT_AXES[kind], strict=True)
    ]
    x_axis, y_axis = (
        None
        if kind == "trajectory" and isinstance(value, str) and value == AUTO
        else as_axis(name, "0:0:1" if isinstance(value, str) and value == "" else value)
        for name, value in zip("xy", given, strict=True)
    )
    if kind == "between" and not is_point(y_axis):
        raise InputError("--y: expected --and beside --to, found one other model alone; name a third, or leave out --y")
    return x_axis, y_axis


def check_options(options: PlaneOptions, planes: int, batch_norm: str) -> None:
    """Raise InputError for options of planes that exclude each other or mean nothing together."""
    kind = options.kind
    if options.and_ and not options.to:
        raise InputError("--and: expected --to with it, found none; name the second model with --to")
    if options.renormalize and kind not in ("saved", "eigenvectors"):
        raise InputError(
            f"--renormalize: expected --directions or --eigenvectors, found {kind} directions; leave it out"
        )
    if planes > 1 and (kind not in ("random", "saved") or options.mark):
        raise InputError(f"--planes {planes}: expected one plane with --mark, or of this kind, found {planes}")
    if batch_norm == "interpolate" and kind not in ("between", "trajectory"):
        raise InputError(
            f"--batch-norm interpolate: expected --to or --trajectory, found {kind} directions, which do not say where "
            "running statistics go; choose recalibrate"
        )

"""What analysis.sharpness wrote of one model as JSON: losses along directions and the Hessian's spectral density."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures.parts.style import COLORS
from training.runtime.command import InputError, unusable

Floats = NDArray[np.float64]
DASHES = ("-", "--", ":")  # for more models than colours
MOST = len(COLORS) * len(DASHES)


@dataclass(frozen=True)
class Bands:
    """ΔL (directions, radii) of a model along random directions, and its loss L₀."""

    name: str
    radii: Floats
    delta: Floats
    base: float


@dataclass(frozen=True)
class Density:
    """The spectral density of a model's Hessian on a grid of eigenvalues."""

    name: str
    grid: Floats
    density: Floats


def check_count(files: Sequence[Path], names: Sequence[str]) -> None:
    if not 1 <= len(files) <= MOST:
        raise InputError(f"files: expected 1 to {MOST} that analysis.sharpness wrote, found {len(files)}")
    if names and len(names) != len(files):
        raise InputError(f"--names: expected a name for each of {len(files)} files, found {len(names)}")


def read_section(path: Path, section: str, loss: str) -> tuple[str, dict[str, Any]]:
    """The model's name and what `section` holds for `loss`; InputError if the file has no such part."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise unusable(path, "what analysis.sharpness writes as JSON", error) from None
    parts = content.get(section) if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not parts:
        raise InputError(f"{path}: expected a part {section!r}, found none; measure it with analysis.sharpness")
    if not isinstance(parts.get(loss), dict):
        raise InputError(f"{path}: expected {section} of a loss among {', '.join(parts)}, found no {loss}; see --loss")
    return str(content.get("name") or path.parent.name or path.stem), parts[loss]


def array(path: Path, part: dict[str, Any], name: str, ndim: int) -> Floats:
    """An array of numbers; null is NaN."""
    try:
        values = np.array(part[name], np.float64)
    except (KeyError, ValueError, TypeError):
        values = np.empty((0,) * ndim)
    if values.ndim != ndim or not values.size:
        raise InputError(f"{path}: expected {name} as numbers in {ndim} dimensions, found none such; re-make the file")
    return values


def read_bands(path: Path, loss: str) -> Bands:
    name, part = read_section(path, "directional", loss)
    radii, delta = array(path, part, "radii", 1), array(path, part, "delta", 2)
    if delta.shape[1] != len(radii):
        raise InputError(f"{path}: expected {len(radii)} values of delta a direction, found {delta.shape[1]}")
    base = float(array(path, {"base": [part.get("base")]}, "base", 1)[0])
    return Bands(name, radii, delta, base)


def read_density(path: Path, loss: str) -> Density:
    name, part = read_section(path, "density", loss)
    grid, density = array(path, part, "grid", 1), array(path, part, "density", 1)
    if grid.shape != density.shape:
        raise InputError(f"{path}: expected {len(grid)} values of density, found {len(density)}")
    return Density(name, grid, density)


def line_style(number: int) -> dict[str, Any]:
    """Colour, then dashes, of a model's line."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": DASHES[number // len(COLORS)]}

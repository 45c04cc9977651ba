"""What the measures of sharpness depend on: one set of numbers for all models that are compared. No torch."""

from dataclasses import dataclass
from typing import Literal

from training.data.config import check

PartName = Literal["directional", "worst-case", "hessian"]
PARTS: tuple[PartName, ...] = ("directional", "worst-case", "hessian")
RADII = (0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
FEWEST_DRAWS = 64  # by which the standard error of asam_mean can be judged


@dataclass(frozen=True)
class Settings:
    """How sharpness is measured; stored with every result, and equal for all models of a table."""

    losses: tuple[str, ...] = ("l2", "own")
    """Losses that every measure is taken under: the common L2, and the training loss as that model was trained."""
    parts: tuple[PartName, ...] = PARTS
    """Which measures: growth and areas along directions; Keskar's, SAM's and ASAM's; traces and eigenvalues."""
    images: int = 256
    """Training images that losses are measured on: the first of one seeded order, the same for all models of a task."""
    test_images: int = 250
    """Normal, and anomalous, test images that AUROC along the directions is measured on."""
    seed: int = 0
    """Seed of directions, probes and starts."""
    directions: int = 8
    """Filter-normalized random directions."""
    planes: int = 2
    """Random planes whose sublevel areas are measured."""
    small: float = 0.2
    """Smaller of the two radii at which growth is a measure: one of 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1."""
    large: float = 0.5
    """Larger of the two radii, one of the same."""
    level: float = 40.0
    """The common L2 whose radius and area are measured."""
    fall: float = 0.05
    """Fall of AUROC whose radius is measured."""
    keskar_eps: float = 1e-3
    """Size of Keskar's box."""
    restarts: int = 8
    """Starts of each search at the most, the middle and random points: it ends when two agree on the highest rise."""
    steps: int = 100
    """Steps of each ascent at the most."""
    patience: int = 8
    """An ascent has converged when so many steps raise it by less than --gain of its rise."""
    gain: float = 0.002
    """That share."""
    agreement: float = 0.01
    """Two starts agree when their rises differ by at most this share of the higher."""
    rho: float = 0.05
    """Radius of SAM's ball."""
    adaptive_rho: float = 0.5
    """Radius of ASAM's ball."""
    sigma: float = 0.05
    """Relative size of the noise of asam_mean."""
    precision: float = 0.05
    """Standard error of asam_mean that is aimed at, relative to its value."""
    draws: int = 256
    """Draws of that noise at the most, each with its opposite."""
    probes: int = 16
    """Probes of the traces."""
    tolerance: float = 0.03
    """Relative residual of the extreme eigenvalues."""
    max_products: int = 150
    """Hessian-vector products after which eigenvalues count as not converged."""
    density_steps: int = 0
    """Lanczos steps of the spectral density, such as 60; 0: none."""
    density_probes: int = 3
    """Probes of the spectral density."""


def check_settings(settings: Settings) -> None:
    """Raise InputError at the first value that cannot be measured with."""
    counts = ("images", "test_images", "directions", "restarts", "steps", "patience", "draws", "probes", "planes")
    for name in (*counts, "density_probes"):
        value = getattr(settings, name)
        check(1 <= value <= 10**6, "--" + name.replace("_", "-"), "1 to 1000000", value)
    check(5 <= settings.max_products <= 10**6, "--max-products", "5 to 1000000", settings.max_products)
    check(0 <= settings.density_steps <= 1000, "--density-steps", "0 to 1000", settings.density_steps)
    for name in ("directions", "draws", "probes"):  # a spread needs two
        check(getattr(settings, name) >= 2, "--" + name, "at least 2, for a standard error", getattr(settings, name))
    for name in ("level", "fall", "keskar_eps", "rho", "adaptive_rho", "sigma", "precision", "tolerance"):
        value = getattr(settings, name)
        check(0 < value < float("inf"), "--" + name.replace("_", "-"), "a positive number", value)
    for name in ("gain", "agreement"):
        check(0 <= getattr(settings, name) < 1, f"--{name}", "0 to less than 1", getattr(settings, name))
    for name in ("small", "large"):
        value = getattr(settings, name)
        check(value in RADII, f"--{name}", f"one of {', '.join(f'{r:g}' for r in RADII)}", value)
    check(settings.seed >= 0, "--seed", "at least 0", settings.seed)
    check(
        len(set(settings.parts)) == len(settings.parts) > 0,
        "--parts",
        "different names",
        " ".join(settings.parts) or "none",
    )
    check(
        len(set(settings.losses)) == len(settings.losses) > 0,
        "--losses",
        "different names",
        " ".join(settings.losses) or "none",
    )

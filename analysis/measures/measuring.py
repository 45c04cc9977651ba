"""All measures of sharpness of one problem, as plain values."""

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch

from analysis.measures.ascent import Rise, Search
from analysis.measures.average_case import mean_rise
from analysis.measures.catalogue import column
from analysis.measures.curvature import Spectrum, curvature, smoothed, spectral_density
from analysis.measures.directional import Growth, Planes, along_directions, over_planes
from analysis.measures.settings import FEWEST_DRAWS, PARTS, RADII, Settings
from analysis.measures.worst_case import ball, keskar
from landscape.engine.metrics import resolve_metrics, usable
from landscape.hessian.eigen import extreme_eigenvalues
from landscape.hessian.objective import Objective
from landscape.problem.problem import Problem, first
from training.data.config import RunConfig

Value = TypeVar("Value")
AUROC = "auroc"
COMMON_ALONE = ("radius_level", "area_level", "auroc_radius")  # of fixed levels of the common L2, and of AUROC
WIDTH, GRID = 0.01, 400  # of the smoothed density: Gaussians of this share of the range, points


@dataclass
class Found:
    """Measures by column, notes on those that have no value, and the curves that figures draw.

    beyond: the columns whose value is greater than any that was measured: radii not reached, and losses that diverged.
    """

    measures: dict[str, float | None] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    directional: dict[str, Any] = field(default_factory=dict)
    density: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def put(self, measure: str, loss: str, value: float, stderr: float | None = None, note: str = "") -> None:
        """Store a value, with its standard error if it has one; what is NaN is missing, and `note` says why."""
        self.measures[column(measure, loss)] = finite(value)
        if stderr is not None:
            self.measures[column(f"{measure}:stderr", loss)] = finite(stderr)
        if math.isinf(value):
            self.beyond.append(column(measure, loss))
        if not math.isfinite(value):
            self.notes[column(measure, loss)] = note or f"{value}"

    def detail(self, measure: str, loss: str, **values: float) -> None:
        """Store how a value came about, in columns `MEASURE@LOSS:NAME`."""
        for name, value in values.items():
            self.measures[column(f"{measure}:{name}", loss)] = finite(value)


def measure(problem: Problem, settings: Settings, device: torch.device) -> Found:
    """All measures of `problem` under `settings.losses`, and the radius to which AUROC holds where there is one."""
    problem = smaller(problem, settings)
    found = Found()
    known = "l2" in settings.losses
    losses = [name for name in settings.losses if not (known and same_as_l2(problem, name))]
    for part, measures in GROUPS.items():
        if part in PARTS and part not in settings.parts:
            continue
        start = time.perf_counter()
        measures(problem, settings, losses, device, found)
        found.seconds[part] = round(time.perf_counter() - start, 3)
    for name in set(settings.losses) - set(losses):  # the common L2 under another name
        found.measures |= renamed(found.measures, name)
        found.notes |= renamed(found.notes, name)
        found.beyond += renamed(dict.fromkeys(found.beyond, True), name)
        for curves in (found.directional, found.density):
            if "l2" in curves:
                curves[name] = curves["l2"]
    return found


def renamed(values: dict[str, Value], loss: str) -> dict[str, Value]:
    """What is there under the common L2, as that of `loss`; fixed levels of the common L2 are its alone."""
    copies = {}
    for key, value in values.items():
        measure, _, rest = key.partition("@")
        of, colon, kind = rest.partition(":")
        if of == "l2" and measure not in COMMON_ALONE:
            copies[f"{measure}@{loss}{colon}{kind}"] = value
    return copies


def smaller(problem: Problem, settings: Settings) -> Problem:
    """`problem` with its first set cut to `settings.images` samples, its test sets to `settings.test_images`.

    The sets of a checkpoint's problem are in a seeded order, so that models of the same data meet the same images.
    """
    sets = {
        name: first(samples, settings.test_images if name.startswith("test") else settings.images)
        for name, samples in problem.sets.items()
    }
    return replace(problem, sets=sets)


def same_as_l2(problem: Problem, loss: str) -> bool:
    """Whether `loss` is `own` of a model that was trained with the plain common L2, so that nothing is new in it."""
    config = problem.meta.get("config")
    if loss != "own" or config is None or config["patches"] != 1:
        return False
    plain = RunConfig()
    return all(config[name] == getattr(plain, name) for name in ("loss", "loss_factor", "reduction"))


def directional(problem: Problem, settings: Settings, losses: list[str], device: torch.device, found: Found) -> None:
    names = [*losses, *([AUROC] if AUROC in usable(problem) else [])]
    metrics = resolve_metrics(problem, names)
    growths = along_directions(problem, metrics, RADII, settings.directions, settings.seed, device)
    planes = over_planes(problem, metrics[: len(losses)], settings.planes, settings.seed, device)
    for name in losses:
        put_growth(found, name, growths[name], planes[name], settings)
        found.directional[name] = curves_of(growths[name])
    if AUROC in growths:
        growth = growths[AUROC]
        beyond = f"AUROC has not fallen by {settings.fall:g} within radius {RADII[-1]:g}"
        found.put("auroc_radius", "l2", *reached(growth.radius_of(growth.base - settings.fall)), beyond)
        found.directional[AUROC] = curves_of(growth)


def put_growth(found: Found, loss: str, growth: Growth, planes: Planes, settings: Settings) -> None:
    for size in ("small", "large"):
        radius = getattr(settings, size)
        found.put(f"delta_{size}", loss, *growth.delta(radius))
        found.put(f"ratio_{size}", loss, *growth.ratio(radius))
    within = f"within radius {RADII[-1]:g}"
    found.put("radius_double", loss, *reached(growth.radius_of(2 * growth.base)), f"L does not double {within}")
    found.put("area_double", loss, *planes.area(2 * growth.base))
    if loss == "l2":
        below = growth.base <= settings.level
        radius = reached(growth.radius_of(settings.level)) if below else (0.0, 0.0)
        found.put("radius_level", loss, *radius, f"L does not reach {settings.level:g} {within}")
        found.put("area_level", loss, *planes.area(settings.level))


def reached(radius: tuple[float, float]) -> tuple[float, float]:
    """A radius and its error as it is, or infinite where it was not reached within the radii measured."""
    return radius if math.isfinite(radius[0]) else (math.inf, math.nan)


def curves_of(growth: Growth) -> dict[str, Any]:
    """What a figure of bands draws."""
    return {
        "radii": growth.radii.tolist(),
        "base": growth.base,
        "delta": [[finite(value) for value in row] for row in growth.values - growth.base],
    }


def worst_case(problem: Problem, settings: Settings, losses: list[str], device: torch.device, found: Found) -> None:
    for name, objective in objectives(problem, losses, device):
        base = objective.value()
        search = search_of(settings)
        rise = keskar(objective, settings.keskar_eps, search)
        put_rise(found, "keskar", name, rise)
        found.put("keskar_ratio", name, rise.value / base if base else math.nan, note="L is 0 at the model")
        found.put("keskar_paper", name, 100 * rise.value / (1 + base))
        put_rise(found, "sam", name, ball(objective, settings.rho, search))
        put_rise(found, "asam", name, ball(objective, settings.adaptive_rho, search, objective.base.abs()))
        noise = (settings.sigma, settings.seed, settings.precision, FEWEST_DRAWS, settings.draws)
        mean = mean_rise(objective, *noise)
        found.put("asam_mean", name, mean.value, mean.stderr)
        found.detail("asam_mean", name, draws=mean.draws, converged=mean.precise)


def search_of(settings: Settings) -> Search:
    return Search(
        settings.steps, settings.restarts, settings.patience, settings.gain, settings.agreement, settings.seed
    )


def put_rise(found: Found, measure: str, loss: str, rise: Rise) -> None:
    """Store the highest rise, and what its search was worth: it is a lower bound, and the better the more agreed."""
    found.put(measure, loss, rise.value)
    found.detail(
        measure,
        loss,
        steps=rise.steps,
        starts=rise.starts,
        agreeing=rise.agreeing,
        spread=rise.spread,
        converged=rise.converged,
    )


def hessian(problem: Problem, settings: Settings, losses: list[str], device: torch.device, found: Found) -> None:
    for name, objective in objectives(problem, losses, device):
        traces = curvature(objective, settings.probes, settings.seed)
        for measure, estimate in (("half_curvature", traces.half_curvature), ("trace", traces.trace)):
            found.put(measure, name, estimate.value, estimate.stderr)
        extremes = extreme_eigenvalues(
            objective.products,
            objective.size,
            largest=1,
            smallest=1,
            tol=settings.tolerance,
            seed=settings.seed,
            max_products=settings.max_products,
        )
        for measure, pairs in (("lambda_max", extremes.largest), ("lambda_min", extremes.smallest)):
            value, residual = float(pairs.values[0]), float(pairs.residuals[0])
            note = f"not converged to {settings.tolerance:g} after {extremes.products} products, at {value:.6g}"
            found.put(measure, name, value if pairs.converged[0] else math.nan, note=note)
            found.detail(measure, name, residual=residual)
        if settings.density_steps:
            spectrum = spectral_density(
                objective.products, objective.size, settings.density_steps, settings.density_probes, settings.seed
            )
            found.density[name] = density_curve(spectrum)


def density_curve(spectrum: Spectrum) -> dict[str, Any]:
    """What a figure of the spectral density draws: nodes with weights, and their density smoothed on a grid."""
    low, high = float(spectrum.nodes.min()), float(spectrum.nodes.max())
    width = WIDTH * (high - low or 1.0)
    grid = np.linspace(low - 4 * width, high + 4 * width, GRID)
    density, error = smoothed(spectrum, grid, width)
    return {
        "grid": grid.tolist(),
        "density": density.tolist(),
        "stderr": [finite(value) for value in error],
        "width": width,
        "nodes": spectrum.nodes.tolist(),
        "weights": spectrum.weights.tolist(),
    }


def objectives(problem: Problem, losses: list[str], device: torch.device) -> list[tuple[str, Objective]]:
    return [(name, Objective(problem, resolve_metrics(problem, [name])[0], device)) for name in losses]


#: groups of measures -> what computes them, in turn
GROUPS = {"directional": directional, "worst-case": worst_case, "hessian": hessian}


def finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

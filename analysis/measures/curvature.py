"""Curvature of a loss by random probes: the Hessian's trace, the mean along filter-normalized directions, its spectrum.

The probes are Rademacher vectors, independent signs from one seeded CPU generator, the first of which do not depend on
how many there are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from landscape.directions.normalization import filter_sums, movable_parameters, transposed_groups
from landscape.hessian.objective import Objective, Products

AT_ONCE = 8  # probes multiplied at a time
LANCZOS_BYTES = 2**30  # of the bases of the probes that go through Lanczos at a time

TRACE = "trace of the Hessian of {}; Hutchinson's estimator, standard error over {} Rademacher probes"
HALF_CURVATURE = (
    "half the expected curvature of {} along filter-normalized random directions, ½ Σ_f (‖w_f‖²/n_f) tr H_ff; "
    "Hutchinson's estimator, standard error over {} Rademacher probes"
)


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes. stderr: NaN from one probe. samples: what each probe gave."""

    value: float
    stderr: float
    definition: str
    measured_on: str
    samples: tuple[float, ...]


@dataclass(frozen=True)
class Curvature:
    """Both from one set of probes, so their errors are correlated."""

    trace: Estimate
    half_curvature: Estimate


def rademacher(size: int, probes: int, seed: int) -> Tensor:
    """Random signs (probes, size) in double precision."""
    if probes < 1:
        raise ValueError(f"probes: expected at least 1, found {probes}")
    source = torch.Generator().manual_seed(seed)
    rows = [torch.randint(2, (size,), generator=source, dtype=torch.int8) for _ in range(probes)]
    return torch.stack(rows).double().mul_(2).sub_(1)


def quadratic_forms(products: Products, vectors: Tensor) -> Tensor:
    """v'Hv of each row of `vectors` (k, P); (k,)."""
    return torch.cat([(part * products(part)).sum(1) for part in vectors.split(AT_ONCE)])


def trace(products: Products, size: int, probes: int, seed: int, measured_on: str = "") -> Estimate:
    """tr H = E[z'Hz] over Rademacher z, for the symmetric matrix (P, P) of `products`, P = `size`.

    Hutchinson (Communications in Statistics 1989). The variance of a probe is 2 Σ_{i≠j} H_ij², so the diagonal costs
    nothing.
    """
    return estimate(quadratic_forms(products, rademacher(size, probes, seed)), TRACE, measured_on)


def half_curvature(objective: Objective, probes: int, seed: int) -> Estimate:
    """½ E[d'Hd] over filter-normalized random directions d: what random planes through the weights show on average.

    Such a direction is, in each filter f, uniform on the sphere of radius ‖w_f‖ in n_f dimensions and independent of
    the others, so E[d d'] is ‖w_f‖²/n_f on the diagonal: ½ Σ_f (‖w_f‖²/n_f) tr H_ff. Estimated by probes d that have
    the same second moments, Rademacher signs times ‖w_f‖/√n_f, and 0 where directions do not move. In units of the
    loss per squared step; unchanged when filters before a batch norm are rescaled.
    """
    probe = rademacher(objective.size, probes, seed) * filter_scales(objective.model, objective.names)
    forms = objective.quadratic_forms(probe)
    return estimate(forms / 2, HALF_CURVATURE, measured_on(objective))


def curvature(objective: Objective, probes: int, seed: int) -> Curvature:
    """:func:`trace` and :func:`half_curvature` of the same signs, two products a probe; equal to each alone."""
    signs = rademacher(objective.size, probes, seed)
    scales = filter_scales(objective.model, objective.names)
    forms = objective.quadratic_forms(torch.cat([signs, signs * scales]))
    where = measured_on(objective)
    return Curvature(
        estimate(forms[:probes], TRACE, where),
        estimate(forms[probes:] / 2, HALF_CURVATURE, where),
    )


def filter_scales(model: nn.Module, names: list[str]) -> Tensor:
    """‖w_f‖/√n_f of each weight's filter in one row (P,), 0 for biases and norm layers, as directions have it."""
    movable, groups = movable_parameters(model), transposed_groups(model)
    parts = []
    for name in names:
        weight = model.get_parameter(name).detach().cpu().double()
        if name in movable:
            count = filter_sums(torch.ones_like(weight), groups.get(name))
            parts.append((filter_sums(weight.square(), groups.get(name)) / count).sqrt())
        else:
            parts.append(torch.zeros_like(weight))
    return torch.cat([part.flatten() for part in parts])


def measured_on(objective: Objective) -> str:
    return f"{objective.metric.name} over {objective.count} samples of {objective.metric.over[0]}"


def estimate(samples: Tensor, definition: str, where: str) -> Estimate:
    """The mean of one value a probe, and its standard error."""
    error = float(samples.std()) / len(samples) ** 0.5 if len(samples) > 1 else float("nan")
    definition = definition.format(where or "the function", len(samples))
    return Estimate(float(samples.mean()), error, definition, where, tuple(samples.tolist()))


@dataclass(frozen=True)
class Spectrum:
    """A spectral density as point masses: Ritz values and weights (probes, steps) of each probe, which add up to 1.

    For a function f, `size`·Σ weights·f(nodes) of a probe z estimates tr f(H), exactly z'f(H)z where f is a polynomial
    of degree below 2·steps; of f(λ) = λ it is Hutchinson's estimate of the trace from the same signs.
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int
    measured_on: str = ""


def spectral_density(
    products: Products, size: int, steps: int, probes: int, seed: int, measured_on: str = ""
) -> Spectrum:
    """The density of the eigenvalues of the symmetric matrix (P, P) of `products` by stochastic Lanczos quadrature.

    Ubaru, Chen and Saad (SIAM J. Matrix Anal. Appl. 2017); for Hessians Ghorbani, Krishnan and Xiao (ICML 2019). Each
    Rademacher probe goes through `steps` steps of Lanczos with full reorthogonalisation; the eigenvalues of its
    tridiagonal matrix are nodes, the squared first components of their eigenvectors weights. Of a space that is used up
    earlier, the missing nodes have weight 0.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, found {steps}")
    steps = min(steps, size)
    together = max(1, min(AT_ONCE, LANCZOS_BYTES // (8 * size * steps)))
    starts = rademacher(size, probes, seed).split(together)
    diagonals, couplings = (
        torch.cat(parts).numpy() for parts in zip(*(tridiagonal(products, part, steps) for part in starts), strict=True)
    )
    nodes, weights = np.zeros((2, probes, steps))
    for probe, (diagonal, coupling) in enumerate(zip(diagonals, couplings, strict=True)):
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(coupling, 1) + np.diag(coupling, -1))
        nodes[probe], weights[probe] = values, vectors[0] ** 2
    return Spectrum(nodes, weights, size, measured_on)


def tridiagonal(products: Products, starts: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Lanczos from each row of `starts` (k, P): diagonals (k, steps) and off-diagonals (k, steps - 1).

    A coupling that is nothing but rounding is set to 0, and what would follow it as well.
    """
    basis = starts.new_empty(len(starts), steps, starts.shape[1])
    diagonals, couplings = starts.new_zeros(len(starts), steps), starts.new_zeros(len(starts), steps)
    vector = starts / starts.norm(dim=1, keepdim=True)
    for step in range(steps):
        basis[:, step] = vector
        image = products(vector)
        diagonals[:, step] = (image * vector).sum(1)
        size = image.norm(dim=1)
        known = basis[:, : step + 1]
        for _ in range(2):
            overlap = torch.bmm(known, image[:, :, None])
            image = image - torch.bmm(overlap.transpose(1, 2), known)[:, 0]
        coupling = image.norm(dim=1)
        going_on = coupling > 1e-10 * size
        couplings[:, step] = torch.where(going_on, coupling, 0.0)
        vector = torch.where(going_on, 1 / coupling, 0.0)[:, None] * image
    return diagonals, couplings[:, :-1]


def smoothed(spectrum: Spectrum, grid: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The density on `grid`, point masses widened to Gaussians of standard deviation `width`; and its standard error.

    (G,) each, per unit of eigenvalue; the integral over all eigenvalues is 1. The error is over probes, NaN from one.
    """
    if not width > 0:
        raise ValueError(f"width: expected a positive standard deviation, found {width}")
    distances = (np.asarray(grid)[:, None, None] - spectrum.nodes) / width
    bumps = np.exp(-0.5 * distances**2) / (width * np.sqrt(2 * np.pi))
    each = (bumps * spectrum.weights).sum(2)
    error = each.std(1, ddof=1) / np.sqrt(each.shape[1]) if each.shape[1] > 1 else np.full(len(each), np.nan)
    return each.mean(1), error

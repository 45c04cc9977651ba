"""The cubic radial spline through scattered points of a plane, and what leaving out each of them does to it.

    s(p) = Σ_i c_i ‖p − p_i‖³ + q(p),   q a quadratic,   Σ_i c_i m(p_i) = 0 for every monomial m of q,

is the smoothest interpolant of scattered points in the sense of Duchon, "Splines minimizing rotation-invariant
semi-norms in Sobolev spaces" (1977). The errors of leaving out need one matrix inverse in all (Rippa, "An algorithm for
selecting a good value for the parameter c in radial basis function interpolation", 1999), which SciPy's
`RBFInterpolator`, held against this in the tests, does not give.
"""

from collections.abc import Iterator

import numpy as np

from landscape.files.grid import Floats, Indices

DENSE = 400  # samples in one linear system; above, overlapping tiles have one each
OVERLAP = 0.25  # of a tile's size, on each side
RIDGE = 1e-10  # keeps a system solvable whose samples lie on a curve that a quadratic describes, such as a few rows


def spline(samples: Floats, values: Floats, points: Floats) -> Floats:
    """The cubic radial spline through `values` (n, metrics) at `samples` (n, 2), at `points` (m, 2): (m, metrics).

    Exact for quadratics, if the samples determine one.
    """
    result = np.empty((len(points), values.shape[1]))
    for near, inside in tiles(samples, points):
        origin, scale = _frame(samples[near])
        here, there = (samples[near] - origin) / scale, (points[inside] - origin) / scale
        coefficients = np.linalg.solve(_system(here), _padded(values[near]))
        result[inside] = np.hstack([_kernel(there, here), _monomials(there)]) @ coefficients
    return result


def left_out_errors(samples: Floats, values: Floats) -> Floats:
    """|value − spline through all other samples| at each sample, (n, metrics).

    Rippa's identity: with the coefficients c = A⁻¹ v of the whole system, e_i = c_i / (A⁻¹)_ii.
    """
    result = np.empty(values.shape)
    for near, inside in tiles(samples, samples):
        origin, scale = _frame(samples[near])
        inverse = np.linalg.inv(_system((samples[near] - origin) / scale))
        errors = np.abs(inverse @ _padded(values[near]))[: len(near)] / np.abs(np.diag(inverse))[: len(near), None]
        result[inside] = errors[np.searchsorted(near, inside)]
    return result


def tiles(samples: Floats, points: Floats) -> Iterator[tuple[Indices, Indices]]:
    """Divide `points` among overlapping systems of about DENSE samples at most: (samples of one, its points)."""
    waiting = [(np.arange(len(samples)), np.arange(len(points)))]
    while waiting:
        near, inside = waiting.pop()
        if len(near) <= DENSE or len(inside) < 2:
            yield near, inside
            continue
        size = np.ptp(points[inside], axis=0)
        along = points[inside, size.argmax()]
        lower = along <= np.median(along)
        if lower.all():  # more than half lie on the last row: without it, or nothing would ever be divided
            lower = along < along.max()
        for half in (inside[lower], inside[~lower]):
            if len(half):
                low, high = points[half].min(0), points[half].max(0)
                outside = np.maximum(low - samples[near], samples[near] - high).max(1)
                reach = max(OVERLAP * (high - low).max(), np.partition(outside, DENSE // 4)[DENSE // 4])
                waiting.append((near[outside <= reach], half))


def _frame(samples: Floats) -> tuple[Floats, float]:
    """Middle and half size of the samples' box: systems are solved in these coordinates for the sake of rounding."""
    low, high = samples.min(0), samples.max(0)
    return (low + high) / 2, float((high - low).max()) / 2 or 1.0


def _kernel(a: Floats, b: Floats) -> Floats:
    squared = (a[:, None, 0] - b[None, :, 0]) ** 2 + (a[:, None, 1] - b[None, :, 1]) ** 2
    return np.asarray(squared * np.sqrt(squared))


def _monomials(a: Floats) -> Floats:
    x, y = a.T
    return np.stack([np.ones(len(a)), x, y, x * x, x * y, y * y], 1)


def _system(samples: Floats) -> Floats:
    """The symmetric matrix of the spline's conditions: s(p_i) = v_i, Σ c_i m(p_i) = 0."""
    monomials = _monomials(samples)
    return np.block([[_kernel(samples, samples), monomials], [monomials.T, -RIDGE * np.eye(monomials.shape[1])]])


def _padded(values: Floats) -> Floats:
    return np.vstack([values, np.zeros((6, values.shape[1]))])

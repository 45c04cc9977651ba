"""Rank correlations of a measure with AUROC, of weighted rows, so that one call serves a whole bootstrap.

Every coefficient takes `weights` (R, n), whole numbers that say how often each of the n rows stands in each of R
resamples, and returns (R,): what the coefficient of the repeated rows is, without repeating or sorting them again. A
coefficient that is not defined (a constant, fewer than two rows) is NaN.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NOTHING = 1e-9  # a variance of ranks below it is one of rounding: the least possible is near 1/2


def codes(values: Floats) -> NDArray[np.int64]:
    """The place of each value among the distinct ones, ascending; so inf is greater than all and equal to itself."""
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Mid-ranks (R, n) of the values (n,), each repeated as often as `weights` (R, n) says; ties share the mean rank.

    `rank_i = Σ_{v_j < v_i} w_j + (Σ_{v_j = v_i} w_j + 1) / 2`.

    >>> weighted_ranks(np.array([5.0, 3.0, 5.0]), np.ones((1, 3))).tolist()
    [[2.5, 1.0, 2.5]]
    """
    place = codes(values)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    totals = np.add.reduceat(weights[:, order], starts, axis=1)
    return ((np.cumsum(totals, axis=1) - totals) + (totals + 1) / 2)[:, place]


def rank_products(columns: Sequence[Floats], weights: Floats) -> Floats:
    """Sums of products of centred mid-ranks (R, k, k) of k columns (n,)."""
    ranks = np.stack([weighted_ranks(column, weights) for column in columns])
    totals = np.maximum(weights.sum(axis=1), 1)  # a resample may hold none of the rows
    ranks -= (np.einsum("krn,rn->kr", ranks, weights) / totals)[:, :, None]
    weighted = ranks * weights
    products = np.empty((len(weights), len(columns), len(columns)))
    for i in range(len(columns)):
        for j in range(i + 1):
            products[:, i, j] = products[:, j, i] = np.einsum("rn,rn->r", weighted[i], ranks[j])
    return products


def as_weights(n: int, weights: Floats | None) -> Floats:
    return np.ones((1, n)) if weights is None else weights


def ratio(numerator: Floats, squared: Floats, defined: NDArray[np.bool_]) -> Floats:
    """numerator / sqrt(squared), within -1 to 1; NaN where it is not defined."""
    result = np.full(len(numerator), np.nan)
    result[defined] = np.clip(numerator[defined] / np.sqrt(squared[defined]), -1, 1)
    return result


def spearman(x: Floats, y: Floats, weights: Floats | None = None) -> Floats:
    """Spearman's rho (1904): Pearson's correlation of the mid-ranks -> (R,).

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])).tolist()
    [1.0]
    """
    if len(x) < 2:
        return np.full(len(as_weights(len(x), weights)), np.nan)
    products = rank_products((x, y), as_weights(len(x), weights))
    squares = products[:, 0, 0], products[:, 1, 1]
    return ratio(products[:, 0, 1], squares[0] * squares[1], (squares[0] > NOTHING) & (squares[1] > NOTHING))


def kendall(x: Floats, y: Floats, weights: Floats | None = None) -> Floats:
    """Kendall's tau-b (1945) -> (R,).

    `Σ sign(x_i - x_j) sign(y_i - y_j) / √(Σ |sign(x_i - x_j)| · Σ |sign(y_i - y_j)|)` over pairs of rows.
    """
    w = as_weights(len(x), weights)
    signs = [np.sign(np.subtract.outer(place, place)).astype(np.float64) for place in (codes(x), codes(y))]
    agreeing, of_x, of_y = (
        np.einsum("rn,rn->r", w @ matrix, w) for matrix in (signs[0] * signs[1], np.abs(signs[0]), np.abs(signs[1]))
    )
    return ratio(agreeing, of_x * of_y, (of_x > 0) & (of_y > 0))


def partial_spearman(x: Floats, y: Floats, covariates: Sequence[Floats], weights: Floats | None = None) -> Floats:
    """Partial rank correlation of x and y given the covariates (each (n,)) -> (R,).

    Pearson's correlation of the residuals that are left when the mid-ranks of x and of y are each regressed, with an
    intercept, on the mid-ranks of the covariates (Conover and Iman 1981, "Rank transformations as a bridge between
    parametric and nonparametric statistics"; for one covariate it is the partial correlation formula on Spearman's
    coefficients). A covariate's logarithm has the same ranks. A constant covariate takes nothing away. NaN where the
    covariates leave nothing of x or y.
    """
    if len(x) < 2:
        return np.full(len(as_weights(len(x), weights)), np.nan)
    products = rank_products((x, y, *covariates), as_weights(len(x), weights))
    if covariates:
        of_both, of_covariates = products[:, :2, 2:], products[:, 2:, 2:]
        inverse = np.linalg.pinv(of_covariates, rcond=NOTHING, hermitian=True)
        rest = products[:, :2, :2] - of_both @ inverse @ of_both.transpose(0, 2, 1)
    else:
        rest = products
    # Of a variance that the covariates explain wholly, rounding leaves a 10^-15th.
    left = [rest[:, i, i] > NOTHING * np.maximum(products[:, i, i], 1) for i in range(2)]
    return ratio(rest[:, 0, 1], rest[:, 0, 0] * rest[:, 1, 1], left[0] & left[1])


def granulated_kendall(x: Floats, y: Floats, alike: Sequence[Hashable]) -> tuple[Floats, list[int]]:
    """Kendall's tau within each group of rows that are `alike` in all hyperparameters but one, and a row of each group.

    `τ = Σ_{i ≠ j} sign(x_i - x_j) sign(y_i - y_j) / (k (k - 1))` over the k rows of a group, ties counted 0, as in
    Jiang et al., "Fantastic generalization measures and where to find them" (ICLR 2020). Their ψ of that hyperparameter
    is the mean over the groups, their Ψ the mean of ψ over hyperparameters. A row that is alike to no other makes no
    group.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(alike):
        groups.setdefault(key, []).append(row)
    found, first = [], []
    for rows in groups.values():
        if len(rows) > 1:
            signs = [np.sign(np.subtract.outer(place, place)) for place in (codes(x[rows]), codes(y[rows]))]
            found.append(float((signs[0] * signs[1]).sum()) / (len(rows) * (len(rows) - 1)))
            first.append(rows[0])
    return np.array(found, np.float64), first


#: coefficients of (x, y, covariates, weights), by the name that the long table has
COEFFICIENTS: dict[str, Callable[[Floats, Floats, Sequence[Floats], Floats | None], Floats]] = {
    "spearman": lambda x, y, covariates, weights: spearman(x, y, weights),
    "kendall": lambda x, y, covariates, weights: kendall(x, y, weights),
    "partial": partial_spearman,
}

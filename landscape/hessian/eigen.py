"""Eigenvalues at the ends of the spectrum of a large symmetric matrix that is known by its products with vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Products = Callable[[Tensor], Tensor]  # (k, P) -> (k, P)

SMALL_SIZE = 32  # up to here the matrix is multiplied with a whole basis at once
LARGEST_BASIS = 200
RANK_TOLERANCE = 1e-10  # what is left of a vector that lies within the space, relative to it
BASIS_BYTES = 2**30  # of the basis of the Krylov space; beyond it the search is restarted
FLOOR = 1e-4  # of the largest |eigenvalue|: what tolerances are relative to at the least; rounding is below it


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues (m,) from the end of the spectrum inwards, with what they are worth.

    residuals: ‖Hv − λv‖ of each, from products of their own; some eigenvalue lies within it of λ (H symmetric).
    vectors: (m, P), of norm 1. converged: whether each residual is within the tolerance.
    """

    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    vectors: Tensor


@dataclass(frozen=True)
class Extremes:
    """The largest eigenvalues (descending) and the smallest (ascending), algebraic: signs count.

    products: matrix-vector products spent, those for the residuals included. converged: whether all have.
    """

    largest: Eigenpairs
    smallest: Eigenpairs
    tol: float
    products: int

    @property
    def converged(self) -> bool:
        return bool(self.largest.converged.all() and self.smallest.converged.all())


def extreme_eigenvalues(
    products: Products,
    size: int,
    largest: int = 1,
    smallest: int = 0,
    tol: float = 1e-3,
    seed: int = 0,
    max_products: int = 500,
    block: int = 1,
) -> Extremes:
    """The `largest` largest and `smallest` smallest eigenvalues of the symmetric matrix H (P, P), P = `size`.

    Thick-restart Lanczos (Wu and Simon, SIAM J. Matrix Anal. Appl. 2000) with full reorthogonalisation, both ends from
    one Krylov space. An eigenvalue has converged when ‖Hv − λv‖ <= tol·max(|λ|, 10⁻⁴·max|λ|), far below which
    a Ritz value that is still on its way to the end of the spectrum does not pass. The search ends when all
    have, or before it would spend more than `max_products` products, and the result says which. Of an eigenvalue that
    occurs several times only `block` copies are sure to be found, where `block` vectors are multiplied at a time.

    `products` maps (k, P) to (k, P) in double precision; what it computes in limits the residuals. Raises ValueError
    for counts that make no sense.
    """
    block = size if size <= SMALL_SIZE else block  # the whole matrix, all copies of an eigenvalue included
    check_counts(size, largest, smallest, max_products, block)
    space = Space(size, largest, smallest, block, seed)
    while space.products + largest + smallest + block <= max_products and not space.has_converged(tol):
        space.expand(products)
    return space.measured(products, tol)


class Space:
    """A growing Krylov space: an orthonormal basis, the matrix projected on it, and the block to be multiplied next."""

    def __init__(self, size: int, largest: int, smallest: int, block: int, seed: int):
        self.size, self.wanted = size, (largest, smallest)
        self.source = torch.Generator().manual_seed(seed)
        room = min(size, basis_size(size, largest + smallest, block))
        self.basis = torch.empty(room, size, dtype=torch.float64)
        self.projected = torch.zeros(room, room, dtype=torch.float64)
        self.done = self.filled = self.products = 0  # rows multiplied, rows there, products spent
        self.values = self.estimates = torch.zeros(0, dtype=torch.float64)  # Ritz values, ascending, and residuals
        self.coordinates = torch.zeros(0, 0, dtype=torch.float64)  # of the Ritz vectors in the basis, in columns
        self.add(torch.randn(block, size, generator=self.source, dtype=torch.float64))

    def add(self, vectors: Tensor) -> None:
        """Make the space's next block of what is new in `vectors`; of a random vector where one has nothing new."""
        for row in vectors[: len(self.basis) - self.filled]:
            basis = self.basis[: self.filled]
            scale, new = row.norm(), row
            while True:
                for _ in range(2):  # once leaves what rounding makes of a row almost within the space
                    new = new - (basis @ new) @ basis
                norm = new.norm()
                if norm > RANK_TOLERANCE * scale:
                    break
                new = torch.randn(self.size, generator=self.source, dtype=torch.float64)
                scale = new.norm()
            self.basis[self.filled] = new / norm
            self.filled += 1

    def expand(self, products: Products) -> None:
        """Multiply the block that waits, and let what of it leaves the space wait next; restart a full space."""
        old, filled = self.done, self.filled
        basis, projected = self.basis[:filled], self.projected[:filled, :filled]
        images = products(basis[old:])
        self.products += len(images)
        self.done = filled
        overlap = images @ basis.T
        projected[old:] = overlap
        projected[:, old:] = overlap.T
        projected[old:, old:] = (overlap[:, old:] + overlap[:, old:].T) / 2
        outside = images - overlap @ basis
        self.values, self.coordinates = torch.linalg.eigh(projected)
        last = self.coordinates[old:]
        self.estimates = (last * (outside @ outside.T @ last)).sum(0).clamp_min(0).sqrt()
        if filled < self.size:
            if filled + len(outside) > len(self.basis):
                self._restart()
            self.add(outside)

    def _restart(self) -> None:
        """Keep the Ritz vectors nearest to the wanted ends, about half as many as there is room for."""
        spare = (len(self.basis) - sum(self.wanted)) // 2 // sum(count > 0 for count in self.wanted)
        top, bottom = (count + spare if count else 0 for count in self.wanted)
        kept = torch.cat([torch.arange(bottom), torch.arange(self.done - top, self.done)])
        self.basis[: len(kept)] = self.coordinates[:, kept].T @ self.basis[: self.done]
        self.values, self.estimates = self.values[kept], self.estimates[kept]
        self.coordinates = torch.eye(len(kept), dtype=torch.float64)
        self.projected[: len(kept), : len(kept)] = torch.diag(self.values)
        self.done = self.filled = len(kept)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Places of the largest Ritz values, descending, and of the smallest, ascending."""
        top, bottom = self.wanted
        return torch.arange(self.done - 1, self.done - 1 - top, -1), torch.arange(bottom)

    def tolerances(self, values: Tensor, tol: float) -> Tensor:
        return tol * values.abs().clamp_min(FLOOR * float(self.values.abs().max()))

    def has_converged(self, tol: float) -> bool:
        """Whether the residuals of the wanted ends, as Lanczos' recurrence gives them, are within the tolerance."""
        if self.done < sum(self.wanted):
            return False
        wanted = torch.cat(self.ends())
        within = self.estimates[wanted] <= self.tolerances(self.values[wanted], tol)
        return self.done == self.size or bool(within.all())

    def measured(self, products: Products, tol: float) -> Extremes:
        """The wanted ends, with residuals from products of their own."""
        wanted = torch.cat(self.ends())
        values, vectors = self.values[wanted], self.coordinates[:, wanted].T @ self.basis[: self.done]
        residuals = (products(vectors) - values[:, None] * vectors).norm(dim=1)
        within = residuals <= self.tolerances(values, tol)
        parts = zip(*(part.split(self.wanted) for part in (values, residuals, within, vectors)), strict=True)
        largest, smallest = (Eigenpairs(a.numpy(), b.numpy(), c.numpy(), d) for a, b, c, d in parts)
        return Extremes(largest, smallest, tol, self.products + len(wanted))


def basis_size(size: int, wanted: int, block: int) -> int:
    """Rows of the basis: as many as fit in its memory, enough to keep half at a restart and go on."""
    return max(min(BASIS_BYTES // (8 * size), LARGEST_BASIS), 2 * wanted + 2 * block + 10)


def check_counts(size: int, largest: int, smallest: int, max_products: int, block: int) -> None:
    """Raise ValueError unless there are as many eigenvalues as asked for, and products enough to begin."""
    wanted = largest + smallest
    if min(largest, smallest) < 0 or not 0 < wanted <= size:
        raise ValueError(f"largest, smallest: expected 1 to {size} eigenvalues in all, found {largest} and {smallest}")
    if not 0 < block <= size:
        raise ValueError(f"block: expected 1 to {size} vectors, found {block}")
    if max_products < 2 * wanted + block:
        raise ValueError(
            f"max_products: expected at least {2 * wanted + block} for {wanted} eigenvalues, found {max_products}"
        )

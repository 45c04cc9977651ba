"""Eigenvalues at the ends of a spectrum, against matrices whose spectrum is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.hessian import eigen
from landscape.hessian.eigen import Products, extreme_eigenvalues


def symmetric(values: np.ndarray, seed: int = 0) -> Tensor:
    """A dense matrix with these eigenvalues."""
    source = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=source, dtype=torch.float64))
    return (basis * torch.as_tensor(values)) @ basis.T


def product_with(matrix: Tensor, counts: list[int] | None = None) -> Products:
    def products(vectors: Tensor) -> Tensor:
        assert vectors.dtype == torch.float64
        if counts is not None:
            counts.append(len(vectors))
        return vectors @ matrix.T

    return products


def spectrum(size: int) -> np.ndarray:
    """Like a Hessian's: a bulk about zero, a few large eigenvalues, some negative ones."""
    bulk = np.random.default_rng(1).normal(0, 0.05, size)
    bulk[:9] = [10, 7, 4, 3, 2, 1, -1.5, -0.8, -0.5]
    return bulk


@pytest.mark.parametrize("block", [1, 3])
def test_both_ends_of_an_indefinite_spectrum(block: int) -> None:
    values, counts = spectrum(400), []
    matrix = symmetric(values)
    found = extreme_eigenvalues(product_with(matrix, counts), 400, 5, 3, tol=1e-6, block=block)
    assert found.converged
    np.testing.assert_allclose(found.largest.values, np.sort(values)[::-1][:5], rtol=1e-9)
    np.testing.assert_allclose(found.smallest.values, np.sort(values)[:3], rtol=1e-9)
    for pairs in (found.largest, found.smallest):
        residuals = pairs.vectors @ matrix - torch.as_tensor(pairs.values)[:, None] * pairs.vectors
        np.testing.assert_allclose(pairs.residuals, residuals.norm(dim=1), rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(pairs.vectors.norm(dim=1), 1, rtol=1e-12)
        assert (pairs.residuals <= 1e-6 * np.abs(pairs.values)).all()
    assert found.products == sum(counts) < 300


def test_restarts_change_nothing_but_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.concatenate([np.linspace(-1, 1, 290), 1 + 0.05 * np.arange(1, 6), -1 - 0.05 * np.arange(1, 6)])
    monkeypatch.setattr(eigen, "BASIS_BYTES", 0)  # the least basis there can be
    counts: list[int] = []
    found = extreme_eigenvalues(product_with(symmetric(values), counts), 300, 3, 2, tol=1e-6)
    assert found.converged
    assert len(counts) > 2 * eigen.basis_size(300, 5, 1)
    np.testing.assert_allclose(found.largest.values, [1.25, 1.2, 1.15], rtol=1e-9)
    np.testing.assert_allclose(found.smallest.values, [-1.25, -1.2], rtol=1e-9)


def test_a_search_that_runs_out_of_products_says_so() -> None:
    values = np.linspace(0, 1, 500) ** 2  # no gaps at either end
    found = extreme_eigenvalues(product_with(symmetric(values)), 500, 2, 1, tol=1e-9, max_products=30)
    assert not found.converged
    assert not found.largest.converged.any()
    assert 25 < found.products <= 30
    for value, residual in zip(found.largest.values, found.largest.residuals, strict=True):
        assert np.abs(values - value).min() <= residual  # holds for any symmetric matrix
        assert residual > 1e-9 * value


def test_copies_of_an_eigenvalue_up_to_the_block() -> None:
    values = np.concatenate([[5, 5, 5, 3], np.linspace(-1, 1, 196)])
    found = extreme_eigenvalues(product_with(symmetric(values)), 200, 4, 0, tol=1e-8, block=3)
    np.testing.assert_allclose(found.largest.values, [5, 5, 5, 3], rtol=1e-12)
    assert found.converged
    np.testing.assert_allclose(found.largest.vectors @ found.largest.vectors.T, np.eye(4), atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 20, 32])
def test_small_matrices_are_exact_with_all_copies(size: int) -> None:
    values = np.repeat(np.arange(1.0, 1 + -(-size // 4)), 4)[:size] - 2
    found = extreme_eigenvalues(product_with(symmetric(values)), size, size, tol=1e-10)
    np.testing.assert_allclose(found.largest.values, np.sort(values)[::-1], atol=1e-12)
    assert found.converged


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_space_that_is_used_up_goes_on_with_a_random_vector(rank: int) -> None:
    values = np.zeros(100)
    values[:rank] = [4, -2, 1][:rank]
    found = extreme_eigenvalues(product_with(symmetric(values)), 100, 2, 2, tol=1e-8)
    assert found.converged
    np.testing.assert_allclose(found.largest.values, np.sort(values)[::-1][:2], atol=1e-12)
    np.testing.assert_allclose(found.smallest.values, np.sort(values)[:2], atol=1e-12)


def test_products_in_single_precision_bound_what_converges() -> None:
    matrix = symmetric(spectrum(200))

    def products(vectors: Tensor) -> Tensor:
        return (vectors.float() @ matrix.float()).double()

    found = extreme_eigenvalues(products, 200, 2, 1, tol=1e-4)
    assert found.converged
    np.testing.assert_allclose(found.largest.values, [10, 7], rtol=1e-5)
    assert not extreme_eigenvalues(products, 200, 2, 1, tol=1e-12, max_products=150).converged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"largest": 0}, "expected 1 to 100 eigenvalues in all, found 0 and 0"),
        ({"largest": -1, "smallest": 3}, "found -1 and 3"),
        ({"largest": 60, "smallest": 50}, "expected 1 to 100"),
        ({"largest": 5, "max_products": 8}, "max_products: expected at least 11 for 5 eigenvalues, found 8"),
        ({"block": 0}, "block: expected 1 to 100 vectors, found 0"),
    ],
)
def test_counts_that_make_no_sense_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extreme_eigenvalues(product_with(torch.eye(100, dtype=torch.float64)), 100, **options)


def test_an_end_near_zero_is_not_taken_for_found_on_the_way() -> None:
    """A smallest eigenvalue of a hundredth of the largest: a Ritz value that is still above 0 must not pass."""
    values = np.concatenate([[-100.0], np.linspace(-5, 5, 298), [30_000.0]])
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 300)))[0]
    matrix = torch.from_numpy(basis * values @ basis.T)
    found = extreme_eigenvalues(lambda v: v @ matrix, 300, 1, 1, tol=0.03)
    assert found.converged
    assert found.smallest.values[0] == pytest.approx(-100, rel=0.01)

"""What one residual carries of the gradient, against the derivatives written out."""

import numpy as np
import pytest
import torch

from analysis.pictures.gradient_share import (
    READINGS,
    batches,
    largest_share,
    output_gradient,
    share_at_sizes,
    share_below,
    shares,
)
from training.models.losses import Lamp

EPS = 1e-3


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    output, target = (torch.rand(6, 1, 4, 4, generator=source, dtype=torch.float64) for _ in range(2))
    return output, target


def test_of_l2_it_is_the_share_of_the_squared_residuals(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    squares = (images[1] - images[0]).square()
    assert largest_share("l2", Lamp(), *images) == pytest.approx(float(squares.max() / squares.sum()), rel=1e-12)


def test_of_a_detached_maximum_it_is_nearly_all(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    r = (images[1] - images[0]).abs()
    m = r.max() ** 2
    # d/dr of -log(1 - b(1 - ε)/m), b = r², m a constant: at the maximum the denominator is ε
    sizes = ((1 - EPS) / m * 2 * r / (1 - (1 - EPS) * r**2 / m)).square()
    share = largest_share("l2-lamp", Lamp(detach=True), *images)
    assert share == pytest.approx(float(sizes.max() / sizes.sum()), rel=1e-9)
    assert share > 0.99


def test_an_attached_maximum_raises_the_largest_residual(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    found = shares(*images)
    raises = {name for name, values in found.items() if values["raises"]}
    assert raises == {"LAMP, batch, attached", "LAMP, sample, attached"}
    gradient = output_gradient("l2-lamp", Lamp(), *images)
    assert float((gradient * (images[0] - images[1])).sum()) == pytest.approx(0, abs=1e-12)


def test_the_curve_of_l2_is_that_of_the_summed_residuals(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    residuals, share = share_below("l2", Lamp(), *images)
    assert np.allclose(share, residuals.cumsum() / residuals.sum())
    assert (share_below("l4", Lamp(), *images)[1][:-1] < share[:-1]).all()


def test_shares_are_means_over_whole_batches(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    by_size = share_at_sizes(*images, sizes=(2, 4, 6))
    assert set(by_size) == set(READINGS)
    first = np.mean([largest_share("l2", Lamp(), images[0][i : i + 2], images[1][i : i + 2]) for i in (0, 2, 4)])
    assert by_size["L2"][0] == pytest.approx(first)
    assert by_size["L2"][1] == pytest.approx(largest_share("l2", Lamp(), images[0][:4], images[1][:4]))
    with pytest.raises(ValueError, match="expected at least 7 samples"):
        batches(*images, 7)

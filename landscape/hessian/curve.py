"""A loss as a function of a network's outputs: value, gradient, and products with its Hessian."""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets of whole groups of samples -> their share of the mean


class Curve:
    """φ(σ(y)) of a loss φ about outputs y before the sigmoid, (1, B, H, W, C).

    `loss` takes outputs and targets (B, C, H, W). value: of the loss; slope: its gradient in y.
    """

    def __init__(self, loss: Loss, outputs: Tensor, targets: Tensor):
        self.loss, self.targets = loss, targets
        self.outputs = outputs.detach().requires_grad_()
        with torch.enable_grad():
            value = loss(self.outputs.sigmoid()[0].permute(0, 3, 1, 2), targets)
            (self._slope,) = torch.autograd.grad(value, self.outputs, create_graph=True)
        self.value = float(value.detach())
        self.slope = self._slope.detach()
        self._diagonal: Tensor | None = None
        self._asked = False

    def products(self, tangents: Tensor) -> Tensor:
        """The Hessian in y times each tangent (k, B, H, W, C)."""
        if not self._asked:  # not before it is needed, and once
            self._asked = True
            if Curve(self.loss, self.outputs.double(), self.targets.double())._is_diagonal():
                self._diagonal = self._product(torch.ones_like(self.slope))
        if self._diagonal is not None:
            return tangents * self._diagonal
        return torch.cat([self._product(row[None]) for row in tangents])

    def _product(self, row: Tensor) -> Tensor:
        if not self._slope.requires_grad:
            return torch.zeros_like(row)
        (product,) = torch.autograd.grad(self._slope, self.outputs, row, retain_graph=True)
        return product

    def _is_diagonal(self) -> bool:
        """Whether a random vector is multiplied as by the diagonal alone, as where the loss is a sum over pixels.

        Otherwise a coincidence of probability 0. To be asked in double precision: the curvatures of pixels differ by as
        much as the inverse square of LAMP's ε.
        """
        source = torch.Generator().manual_seed(0)
        row = (torch.rand(self.slope.shape, generator=source, dtype=torch.float64) + 0.5).to(self.slope)
        found, expected = self._product(row), self._product(torch.ones_like(row)) * row
        scale = expected.abs()
        return bool(((found - expected).abs() <= 1e-9 * scale + 1e-14 * scale.max()).all())

"""What the reference tool (Li et al. 2018) does at each point of a surface, written afresh to be timed beside ours."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape.directions.normalization import Direction

BATCH = 128


class Reference:
    """Eager evaluation in the default layout: a new DataLoader pass at each point, the loss read batch by batch."""

    def __init__(self, model: nn.Module, images: Tensor, directions: Sequence[Direction]):
        self.model = copy.deepcopy(model).eval()
        self.images = images
        self.base = [parameter.detach().clone() for parameter in model.parameters()]
        self.directions = [list(direction.params.values()) for direction in directions]

    def at(self, alpha: float, beta: float) -> float:
        """The mean over images of the squared error summed over pixels, at θ + α·d₁ + β·d₂."""
        changes = [a * alpha + b * beta for a, b in zip(*self.directions, strict=True)]
        for parameter, base, change in zip(self.model.parameters(), self.base, changes, strict=True):
            parameter.data = base + change
        criterion = nn.MSELoss()
        total, count = 0.0, 0
        with torch.no_grad():
            for (batch,) in DataLoader(TensorDataset(self.images), batch_size=BATCH, num_workers=0):
                total += criterion(self.model(batch), batch).item() * batch.numel()
                count += len(batch)
        return total / count

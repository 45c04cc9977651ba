"""
Basins of a known landscape
===========================

Himmelblau's function has four minima, all of them 0. Persistent homology of the sublevel sets finds them, and says how
high the pass out of each one is.
"""

import torch
from torch import nn

import landscape


class Himmelblau(nn.Module):
    """(u² + v - 11)² + (u + v² - 7)² of two weights, as the squared length of the outputs."""

    def __init__(self):
        super().__init__()
        self.u = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.v = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, ones):
        return ones * torch.cat([self.u**2 + self.v - 11, self.u + self.v**2 - 7])


# %%
# Weights normalized to a length of 0 would not move, so the plane is one that goes through other models: u = 1 at
# x = 1, and v = 1 at y = 1.

import tempfile
from pathlib import Path

from landscape import PlaneOptions

folder = Path(tempfile.mkdtemp())
for name, u, v in (("right", 1, 0), ("up", 0, 1)):
    state = {"u": torch.tensor([u], dtype=torch.float64), "v": torch.tensor([v], dtype=torch.float64)}
    torch.save(state, folder / f"{name}.pt")

ones = torch.ones(2, 2, dtype=torch.float64)
problem = landscape.Problem(Himmelblau(), {"only": landscape.Samples(ones, torch.zeros_like(ones))}, name="Himmelblau")
plane = PlaneOptions(to=folder / "right.pt", and_=folder / "up.pt")
grid = landscape.compute(problem, x="-5:5:81", y="-5:5:81", metrics="l2", plane=plane)

# %%
# The table is that of :mod:`analysis.topology`. The minima are known to be at (3, 2), (-2.81, 3.13), (-3.78, -3.28) and
# (3.58, -1.85); a grid finds them to within half a step, 0.06.

from analysis.topology import features_of, surface_of

values = surface_of(grid, "l2", 0, "Himmelblau")
features = features_of(grid, "l2", 0, values, sigmas=2)
for basin in [feature for feature in features if feature.dimension == 0]:
    print(f"minimum {basin.birth:6.3f} at ({basin.x:5.2f}, {basin.y:5.2f}), pass at {basin.death:7.2f}")

# %%
# In the diagram each basin is a point: the higher above the diagonal, the deeper.

from figures.persistence import draw

figure = draw(grid, "l2", 0, features)

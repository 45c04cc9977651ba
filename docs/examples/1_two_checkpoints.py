"""
Two losses, one plane
=====================

Two autoencoders learn the digit 3, one by the L2 loss, one by L2-LAMP. The surfaces of both are drawn under the same
loss, along the same random directions, with shared levels.
"""

# %%
# On the command line this is :mod:`training.train`, twice. Here each model trains for four epochs on 600 digits, in a
# few seconds.

import tempfile
from pathlib import Path

from training.train import main as train

folder = Path(tempfile.mkdtemp())
for loss in ("l2", "l2-lamp"):
    options = "--normal 3 --max-train 600 --width 8 --batch-size 16 --epochs 4 --threads 1"
    train([*options.split(), "--loss", loss, "--out", str(folder / loss)])

# %%
# :func:`landscape.from_checkpoint` brings a model with the images it was trained on, :func:`landscape.compute` its
# surface. With `adaptive=0.05` a part of the points is evaluated; the rest is interpolated to within 5% of the range.

import landscape

grids = []
for loss in ("l2", "l2-lamp"):
    problem = landscape.from_checkpoint(folder / loss / "checkpoint.pt", data_dir=None, max_samples=200)
    grid = landscape.compute(problem, x="-1:1:25", y="-1:1:25", metrics="l2,auroc", adaptive=0.05, threads=1)
    print(f"{loss}: {grid.evaluated.mean():.0%} of {grid.done.size} points evaluated")
    grids.append((loss, grid))

# %%
# Below each surface stands the AUROC of its model, with its 95% interval. Two models say nothing about two losses:
# :doc:`what many of them say </docs/paper>`.

from figures.fig1 import draw

figure = draw(grids, "l2")

# %%
# The same plane, with the AUROC at each point in place of the loss:

figure = draw(grids, "auroc")

"""
The path of a training
======================

The weights of a run, saved every few updates, drawn on the plane of their first two principal components.
"""

import tempfile
from pathlib import Path

from training.train import main as train

run = Path(tempfile.mkdtemp()) / "run"
options = "--normal 3 --max-train 600 --width 4 --batch-size 64 --epochs 5 --save-every 5 --threads 1"
train([*options.split(), "--out", str(run)])

# %%
# :class:`landscape.PlaneOptions` names the plane, and the plane brings its axes along. The running
# statistics of batch norm stay those of the trained model; :doc:`/docs/concepts` says what else they may do.

import landscape
from landscape import PlaneOptions

problem = landscape.from_checkpoint(run / "checkpoint.pt", data_dir=None, max_samples=100)
plane = PlaneOptions(trajectory=(run / "trajectory",))
grid = landscape.compute(problem, x="auto", y="auto", plane=plane, adaptive=0.1, threads=1)

# %%
# The contour under a point is the loss of the plane there, not that of the checkpoint; the caption says how far the
# checkpoints are from it.

from figures.trajectory import draw

figure = draw(grid, "run")

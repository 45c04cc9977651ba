"""
Lines, and what one plane hides
===============================

A small ResNet (`pictures.py` of :doc:`/docs/your-model`) along six random directions. Their spread is the noise of
drawing one direction, which a picture of a single one does not show.
"""

import landscape
import pictures

problem = pictures.problem()
line = landscape.compute(problem, x="-1:1:15", planes=6, metrics=["loss", "loss@test"], threads=1)
print(line.values["loss"].shape, "planes, rows, columns")

# %%
# At other weights the running statistics of batch norm are no longer those of the data. They can be collected anew at
# each point; :doc:`/docs/concepts` says when to.

fresh = landscape.compute(problem, x="-1:1:15", planes=6, metrics="loss", batch_norm="recalibrate", threads=1)

# %%
# Solid: the mean over the directions; band: from the lowest to the highest.

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(4.5, 3), layout="constrained")
drawn = {
    "training images": line.values["loss"],
    "test images": line.values["loss@test"],
    "training images, statistics collected anew": fresh.values["loss"],
}
for name, values in drawn.items():
    losses = values[:, 0]
    ax.plot(line.x.values, losses.mean(0), label=name)
    ax.fill_between(line.x.values, losses.min(0), losses.max(0), alpha=0.2)
ax.set(xlabel="step (1: each filter as long as the model's)", ylabel="cross-entropy", yscale="log")
ax.legend()

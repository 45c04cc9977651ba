"""
A model of one's own
====================

A small transformer that is given a dict of inputs. Nothing of it belongs to this project; `words.py` is the file of
:doc:`/docs/your-model`.
"""

import landscape
import words

problem = words.problem()
print(problem.model)

# %%
# `auto` goes as far as the first metric grows by the factor, here twofold. Both metrics come from the same forward
# passes, with a standard error at each point.

grid = landscape.compute(problem, x="auto:2:17", y="auto:2:17", metrics="cross-entropy,accuracy", threads=1)
loss = grid.values["cross-entropy"][0]  # plane 0: row = y, column = x
error = grid.stderr["cross-entropy"][0]
print(f"at the model {loss[8, 8]:.3f} ± {error[8, 8]:.3f}, at a corner {loss[0, 0]:.3f} ± {error[0, 0]:.3f}")

# %%
# A grid is arrays; any library draws them.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
for ax, (name, values) in zip(axes, grid.values.items(), strict=True):
    drawn = ax.contourf(grid.x.values, grid.y.values, values[0], levels=15)
    figure.colorbar(drawn, ax=ax, label=name)
    ax.plot(0, 0, "w+")
    ax.set(xlabel="step along direction 1", ylabel="step along direction 2", aspect="equal")

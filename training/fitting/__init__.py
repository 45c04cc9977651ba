"""The training loop, stacks of models trained together, and the files of a run."""

"""From grids and scores to numbers and tables."""

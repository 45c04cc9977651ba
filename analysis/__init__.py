"""From grids and scores to numbers and tables."""

from lamp_landscape import check_packages

check_packages("training", "landscape")

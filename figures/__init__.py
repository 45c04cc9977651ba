"""From numbers to pictures; NumPy and matplotlib alone."""

from lamp_landscape import check_packages

check_packages("training", "landscape", "analysis")

"""From numbers to pictures; NumPy and matplotlib alone."""

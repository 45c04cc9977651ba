"""Tables read and written: results of sweeps, scores, rows of text."""

"""Parts of figures: each is drawn on an `ax` and returns it."""

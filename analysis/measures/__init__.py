"""Measures of sharpness of one model."""

"""Data sets, run settings and scores of images."""

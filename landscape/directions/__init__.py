"""Planes in weight space: random, between models, along trajectories; their axes."""

"""Data, losses, models and training runs: what produces checkpoints."""

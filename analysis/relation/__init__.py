"""Measures of many models against AUROC, and between groups of models."""

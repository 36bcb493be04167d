"""Fusion of stored probabilities."""

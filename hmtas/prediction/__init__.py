"""Slide over a half: embeddings to probabilities (thesis Section 4.3)."""

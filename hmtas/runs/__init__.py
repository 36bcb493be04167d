"""A run folder: one fitted model or ensemble, its record and its stored probabilities."""

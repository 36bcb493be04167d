"""Many models' probabilities aligned into one (M, T, A) array, and their weighted means."""

from ensemble.stack.align import ModelOutput, Stack, stack
from ensemble.stack.mean import combine, weights_of_scores

__all__ = ["ModelOutput", "Stack", "combine", "stack", "weights_of_scores"]

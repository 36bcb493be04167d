"""From probabilities to spots: suppression, and its best windows."""

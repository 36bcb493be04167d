"""Greedy selection with replacement on the metric itself, from hundreds of models."""

from ensemble.greedy.library import Library, build_library
from ensemble.greedy.select import GreedyConfig, Selection

__all__ = ["GreedyConfig", "Library", "Selection", "build_library"]

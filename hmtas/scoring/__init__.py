"""Score run folders by their stored probabilities."""

from hmtas.scoring.run import count_run

__all__ = ["count_run"]

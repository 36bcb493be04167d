"""How sure a score is: intervals over games, verdicts on differences, the corrected winner."""

from hmtas.statistics.folds import game_folds
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import Resampled, bootstrap_interval, paired_difference, resample
from hmtas.statistics.verdicts import Comparison, compare_to
from hmtas.statistics.winner import corrected_winner

__all__ = [
    "Comparison",
    "GameCounts",
    "Resampled",
    "bootstrap_interval",
    "compare_to",
    "corrected_winner",
    "game_folds",
    "paired_difference",
    "resample",
]

"""The score of the best of many, corrected for having been picked.

The best of many candidates on some games is good, and was lucky on these games: of 24 equal models
on 50 games the best shows 2 points more than it delivers. The picking is therefore repeated on
resampled games, and what was picked is scored on the games that the resample left out, which had
no part in it: the bootstrap bias correction of I. Tsamardinos, E. Greasidou and G. Borboudakis,
Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation, Machine
Learning 107, 2018.

Difference from that article: a score depends on the number of games, and about a third of them is
left out. So what is averaged is how far the picked model is above the mean of all candidates on the
games left out, and that is added to the mean of all candidates on all games.

A resample has fewer different games to pick by than there are. Where the candidates do differ, it
picks a little worse, and the corrected score errs to the low side.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hmtas.statistics import GameCounts, check_paired, draw_weights, resampled_averages


class Winner(NamedTuple):
    """The best of some candidates, Average-mAP in [0, 1]."""

    candidate: int  # which of them
    score: float  # on the games that picked it
    corrected: float  # what to expect of it on as many other games


def corrected_winner(models: Sequence[GameCounts], num: int = 200, seed: int = 0) -> Winner:
    """Pick the best model, and say what its score would be had these games not picked it.

    Args:
        models: The candidates, all of them: those left out were picked from as well.
        num: Resamples.
        seed: Of the resamples.

    Raises:
        InputError: If the models are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    check_paired(models)
    num_games = len(models[0].games)
    drawn = draw_weights(num_games, num, seed)
    left_out = (drawn == 0).astype(np.float64)
    some = left_out.any(axis=1)  # few games may all be drawn
    weights = np.concatenate([np.ones((1, num_games)), drawn[some], left_out[some]])
    averages = np.stack([resampled_averages(counts, weights) for counts in models], axis=1)
    scores, (picking, judging) = averages[0], np.split(averages[1:], 2)
    index = int(scores.argmax())
    return Winner(index, float(scores[index]), float(scores.mean() + _above_mean(picking, judging)))


def _above_mean(picking_RM: np.ndarray, judging_RM: np.ndarray) -> float:
    """How far the model that one score picks is above the mean of all by the other."""
    if len(picking_RM) == 0:
        return 0.0
    picked_R = judging_RM[np.arange(len(picking_RM)), picking_RM.argmax(axis=1)]
    return float((picked_R - judging_RM.mean(axis=1)).mean())

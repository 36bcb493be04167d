"""The score of the best of many, corrected for having been picked.

The best of many candidates on some games is good, and was lucky on these games: of 24 equal models
on 50 games the best shows 2 points more than it delivers. How much of a lead is luck is found by
picking again: the games are halved at random, the best on one half has a lead over the mean of all
candidates there, and another one on the other half, which had no part in picking it. The share of
the lead that survives, over many halvings, is the share of the winner's lead that is kept:
cross-validation of the picking (M. Stone, Cross-validatory choice and assessment of statistical
predictions, Journal of the Royal Statistical Society B 36, 1974) that compares leads on equally
many games, as a score depends on their number.

Of equal models next to nothing survives, and the corrected score is the mean of all. A clear winner
keeps its score. In between, half the games pick a little worse than all of them, and the corrected
score errs to the low side. `benchmarks/statistics.py` compares it with other corrections.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hmtas.statistics.games import Counts, check_paired, resampled_averages


class Winner(NamedTuple):
    """The best of some candidates, Average-mAP in [0, 1]."""

    candidate: int  # which of them
    score: float  # on the games that picked it
    corrected: float  # what to expect of it on as many other games


def corrected_winner(
    models: Sequence[Counts],
    num: int = 100,
    seed: int = 0,
    *,
    groups: Sequence[Sequence[int]] | None = None,
) -> Winner:
    """Pick the best model, and say what its score would be had these games not picked it.

    Args:
        models: All the candidates: any left out here were picked from as well.
        num: Number of halvings of the games.
        seed: Seed of the halvings.
        groups: Which models are trainings of one candidate, whose score is their mean; without
            them every model is a candidate.

    Raises:
        InputError: If the models are not scored on the same games.
        ValueError: If their tolerances or actions differ.
    """
    check_paired(models)
    num_games = len(models[0].games)
    half = _halves(num_games, num, seed)
    weights = np.concatenate([np.ones((1, num_games)), half, 1 - half])
    averages = np.stack([resampled_averages(counts, weights) for counts in models], axis=1)
    if groups is not None:
        means = [averages[:, list(group)].mean(axis=1) for group in groups]
        averages = np.stack(means, axis=1)
    scores, (first, second) = averages[0], np.split(averages[1:], 2)
    candidate = int(scores.argmax())
    lead = scores[candidate] - scores.mean()
    kept = _surviving_share(np.concatenate([first, second]), np.concatenate([second, first]))
    corrected = scores.mean() + (kept if num_games > 1 else 0) * lead
    return Winner(candidate, float(scores[candidate]), float(corrected))


def _halves(num_games: int, num: int, seed: int) -> np.ndarray:
    """Random halves of the games, 1 for each game inside, shape (num, G)."""
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(num_games), (num, 1)), axis=1)
    return (order < num_games // 2).astype(np.float64)


def _surviving_share(picking_RM: np.ndarray, judging_RM: np.ndarray) -> float:
    """Lead of the best by one score under the other score, as a share of its lead."""
    rows, picked_R = np.arange(len(picking_RM)), picking_RM.argmax(axis=1)
    shown, delivered = (
        (score_RM[rows, picked_R] - score_RM.mean(axis=1)).mean()
        for score_RM in (picking_RM, judging_RM)
    )
    return float(delivered / shown) if shown > 0 else 1.0

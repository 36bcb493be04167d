"""Fit a combiner so that no game is combined with what it helped to fit."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ensemble.combiner import Combiner, Evidence, Fitted, nothing
from hmtas.records import HalfId

Folds = Sequence[tuple[str, ...]]


class FoldFit(NamedTuple):
    """What was fitted without the games of one fold, for these games."""

    games: tuple[str, ...]
    fitted: Fitted


class CrossFit(NamedTuple):
    """A combiner fitted on all games, and the probabilities it gives when cross-fitted.

    Attributes:
        halves: Half to float32 (T, A), each from what was fitted on the other folds.
        fitted: On all games.
        folds: The fits behind `halves`; empty for the mean, which is not fitted.
    """

    halves: dict[HalfId, np.ndarray]
    fitted: Fitted
    folds: tuple[FoldFit, ...] = ()


def cross_fit(
    combiner: Combiner,
    evidence: Evidence,
    folds: Folds,
    *,
    on_step: Callable[[], None] = nothing,
) -> CrossFit:
    """Fit on all games, and for each fold on the other folds.

    Takes `len(folds) + 1` fits, or one for a combiner that is not fitted.

    Args:
        combiner: What is fitted.
        evidence: Its games.
        folds: Disjoint games that cover them.
        on_step: Called `combiner.num_steps` times a fit.

    Raises:
        InputError: If a fit has nothing to go by.
    """
    stacked = evidence.stacked
    if not combiner.is_fitted:
        fitted = combiner.fit(evidence, evidence.games, on_step)
        return CrossFit({h: fitted.combine(rows) for h, rows in stacked.halves.items()}, fitted)
    halves: dict[HalfId, np.ndarray] = {}
    fits = []
    for held_out in folds:
        others = tuple(game for game in evidence.games if game not in held_out)
        fit = FoldFit(held_out, combiner.fit(evidence, others, on_step))
        fits.append(fit)
        for half, rows in stacked.of_games(held_out).items():
            halves[half] = fit.fitted.combine(rows)
    fitted = combiner.fit(evidence, evidence.games, on_step)
    # In the order of the stack; a half without a fold would be our own mistake.
    return CrossFit({half: halves[half] for half in stacked.num_rows}, fitted, tuple(fits))

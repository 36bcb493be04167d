"""Fit combiners so that no game is combined with what it helped to fit."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ensemble.combine import combine, combine_weights
from ensemble.fusion import FittedFusion, FusionConfig, fit_fusion, fuse
from ensemble.stack import Stack
from hmtas.errors import InputError
from hmtas.histograms import Histograms
from hmtas.metrics import score
from hmtas.records import Events, HalfId

Folds = Sequence[tuple[str, ...]]


class FoldFit(NamedTuple):
    """What was fitted without the games of one fold, for these games."""

    games: tuple[str, ...]
    weights: np.ndarray | None = None  # (M,)
    held_out_loss: float | None = None


class Fitted(NamedTuple):
    """A combiner fitted on all games, and the probabilities it gives when cross-fitted.

    Attributes:
        halves: Half to float32 (T, A), each from what was fitted on the other folds.
        weights: (M,) fitted on all games, or None for the learned fusion.
        scores: (M,) tight Average-mAP that the weights are made of, or None.
        fusion: Network fitted on all games, or None.
        folds: The fits behind `halves`; empty for the mean, which is not fitted.
    """

    halves: dict[HalfId, np.ndarray]
    weights: np.ndarray | None = None
    scores: np.ndarray | None = None
    fusion: FittedFusion | None = None
    folds: tuple[FoldFit, ...] = ()


def plain_mean(stacked: Stack) -> Fitted:
    """The mean of the models, which needs no fitting."""
    weights = combine_weights(np.ones(len(stacked.models)), 0)
    halves = {half: combine(rows, weights) for half, rows in stacked.halves.items()}
    return Fitted(halves, weights)


def cross_fit_weights(
    stacked: Stack, counts: Sequence[Histograms], folds: Folds, power: int
) -> Fitted:
    """Weights from validation scores; a fold gets the weights of the other folds' scores.

    Args:
        stacked: M models.
        counts: M tight histograms over all games.
        folds: Disjoint games that cover the stack.
        power: See `combine_weights`.

    Raises:
        InputError: If every model scores 0 on some folds.
    """
    scores, weights = _weights_on(stacked, counts, stacked.games, power)
    halves: dict[HalfId, np.ndarray] = {}
    fits = []
    for held_out in folds:
        others = _others(stacked, held_out)
        _, fold_weights = _weights_on(stacked, counts, others, power)
        fits.append(FoldFit(held_out, fold_weights))
        for half, rows in stacked.of_games(held_out).items():
            halves[half] = combine(rows, fold_weights)
    return Fitted(_in_order(stacked, halves), weights, scores, folds=tuple(fits))


def cross_fit_fusion(
    stacked: Stack,
    events: Mapping[HalfId, Events],
    folds: Folds,
    config: FusionConfig,
    *,
    on_epoch: Callable[[], None] | None = None,
) -> Fitted:
    """The learned fusion; a fold is fused by a network that was fitted on the other folds.

    Takes `len(folds) + 1` fits of `config.epochs` epochs.
    """

    def fit(games: Sequence[str]) -> FittedFusion:
        return fit_fusion(
            stacked.of_games(games),
            events,
            stacked.actions,
            config,
            rate_hz=stacked.rate_hz,
            on_epoch=on_epoch,
        )

    halves: dict[HalfId, np.ndarray] = {}
    fits = []
    for held_out in folds:
        fitted = fit(_others(stacked, held_out))
        fits.append(FoldFit(held_out, held_out_loss=fitted.held_out_loss))
        for half, rows in stacked.of_games(held_out).items():
            halves[half] = fuse(fitted.model, rows)
    return Fitted(_in_order(stacked, halves), fusion=fit(stacked.games), folds=tuple(fits))


def _weights_on(
    stacked: Stack, counts: Sequence[Histograms], games: Sequence[str], power: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and weights (M,) from some games; a model that scores 0 there has weight 0."""
    scores = np.array([score(count, games).average_map for count in counts])
    scored = scores > 0
    if not scored.any():
        raise InputError(
            f"every model scores 0 on {len(games)} games, so there are no weights; "
            f"are they trained at all, and are these their labels ({', '.join(stacked.models)})?"
        )
    weights = np.zeros(len(scores))
    weights[scored] = combine_weights(scores[scored], power)
    return scores, weights


def _others(stacked: Stack, held_out: Sequence[str]) -> tuple[str, ...]:
    return tuple(game for game in stacked.games if game not in held_out)


def _in_order(stacked: Stack, halves: Mapping[HalfId, np.ndarray]) -> dict[HalfId, np.ndarray]:
    """In the order of the stack; a half without a fold would be our own mistake."""
    return {half: halves[half] for half in stacked.halves}

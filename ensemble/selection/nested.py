"""Combiners and their NMS windows, fitted so that no game is scored by anything it helped to fit.

For each fold of games, everything is fitted on the other folds: each model's own windows, with them
the scores that rank the models, the shortlist, the weights or the network, and the windows of the
combination. Then the games of the fold are combined, suppressed and counted. A score over all folds
therefore holds for games that nobody has seen, up to the choice between combiners, which
`ensemble.selection.choose` accounts for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ensemble.combiner import Combiner, Evidence, Fitted, nothing
from ensemble.combiners.crossfit import FoldFit, Folds, others, run_fits
from hmtas.config import SpottingConfig
from hmtas.metric.averages import LOOSE_S, TIGHT_S
from hmtas.metric.counts import histograms
from hmtas.records import HalfId, Probabilities, Spots
from hmtas.spotting.spots import FittedFold, FittedWindows, spot
from hmtas.spotting.table import Setting, Table, tabulate
from hmtas.spotting.windows import every_setting, fit_exact
from hmtas.statistics.folds import game_folds
from hmtas.statistics.games import GameCounts

CANDIDATES_S = (*range(1, 12), 13, 15, 17, 20, 24, 30, 40, 60)
"""Full widths in seconds of hard suppression: every width where actions lie close, fewer above."""

INNER_FOLDS = 2  # within the fitting games, for the windows of what flatters them


class FittingSet(NamedTuple):
    """Games to fit on, and the models with the NMS windows that these games choose."""

    games: tuple[str, ...]
    evidence: Evidence


class Nested(NamedTuple):
    """A combiner, fitted on all games, and what it is worth on games it was not fitted on.

    Attributes:
        method: Its name.
        fitted: The combiner fitted on all games.
        windows: Windows of its probabilities, fitted on all games, with those of each fold.
        folds: The fits on the other games of each fold.
        tight: Counts of each game by the fit of its fold, tight tolerances.
        loose: The same, loose ones.
    """

    method: str
    fitted: Fitted
    windows: FittedWindows
    folds: tuple[FoldFit, ...]
    tight: GameCounts
    loose: GameCounts


def settings_to_try(rate_hz: float) -> tuple[Setting, ...]:
    """The NMS settings of a selection at some rows per second."""
    return every_setting(("hard",), CANDIDATES_S, rate_hz=rate_hz)


def fitting_sets(
    evidence: Evidence,
    folds: Folds,
    settings: Sequence[Setting],
    *,
    on_model: Callable[[], None] = nothing,
) -> tuple[FittingSet, ...]:
    """All games, then the other games of each fold, with windows fitted on each.

    Args:
        evidence: All games; its own windows are not used.
        folds: Disjoint games that cover them.
        settings: NMS settings to try.
        on_model: Called after each model.
    """
    games = [evidence.games, *(others(evidence.games, fold) for fold in folds)]
    tables_MS = []
    for name in evidence.stacked.models:
        halves = evidence.stacked.probabilities(evidence.stacked.of_model(name))
        tables_MS.append(tabulate(halves, evidence.events, games, settings))
        on_model()
    sets = []
    for of_set, tables_M in zip(games, zip(*tables_MS, strict=True), strict=True):
        pooled = Table(
            tuple(settings),
            np.mean([table.precision for table in tables_M], axis=0),
            tables_M[0].num_events,
        )
        windows_s = np.array([setting.window_s for setting in fit_exact(pooled)])
        spottings = tuple(_spotting(evidence, fit_exact(table)) for table in tables_M)
        sets.append(FittingSet(of_set, evidence.with_windows(spottings, windows_s)))
    return tuple(sets)


def nested_fit(
    method: str,
    combiner: Combiner,
    sets: Sequence[FittingSet],
    folds: Folds,
    settings: Sequence[Setting],
    *,
    split: str = "valid",
    on_step: Callable[[], None] = nothing,
) -> Nested:
    """Fit a combiner and its windows on all games, and for each fold on the other folds.

    Args:
        method: Name of the combiner.
        combiner: What is fitted.
        sets: From `fitting_sets`, of the same folds.
        folds: The folds.
        settings: NMS settings to try.
        split: Name of the split that the games are.
        on_step: Called `num_steps(combiner, len(folds))` times.

    Raises:
        InputError: If a fit has nothing to go by.
    """
    everything = sets[0].evidence
    actions = everything.stacked.actions
    jobs = [
        (fitting.evidence, games)
        for fitting in sets[1:]
        for games in (fitting.games, *(others(fitting.games, i) for i in _inner(combiner, fitting)))
    ]
    fits = run_fits(combiner, [*jobs, (everything, everything.games)], on_step)
    fold_fits, fold_windows = [], []
    spots: dict[HalfId, Spots] = {}
    unseen: dict[HalfId, Probabilities] = {}
    for held_out, fitting in zip(folds, sets[1:], strict=True):
        games, evidence = fitting
        fitted = next(fits)
        own = evidence.stacked.probabilities(_own_games(combiner, fitted, fitting, fits))
        spotting = _spotting(evidence, _fit_windows(evidence, own, games, settings))
        rows = evidence.stacked.probabilities(_combined(fitted, evidence, held_out))
        spots |= spot(rows, actions, spotting)
        unseen |= rows
        fold_fits.append(FoldFit(held_out, fitted))
        fold_windows.append(FittedFold.model_validate({"games": held_out, **_named(spotting)}))
        on_step()
    final = _spotting(everything, _fit_windows(everything, unseen, everything.games, settings))
    windows = {"method": "exact", "split": split, "folds": fold_windows, **_named(final)}
    tight, loose = (
        GameCounts.of(histograms(spots, everything.events, tolerances_s, len(actions)))
        for tolerances_s in (TIGHT_S, LOOSE_S)
    )
    (fitted,) = fits
    return Nested(
        method, fitted, FittedWindows.model_validate(windows), tuple(fold_fits), tight, loose
    )


def num_steps(combiner: Combiner, num_folds: int) -> int:
    """How often `nested_fit` calls `on_step`."""
    inner = INNER_FOLDS if combiner.flatters else 0
    return num_folds + combiner.num_steps * (1 + num_folds * (1 + inner))


def _inner(combiner: Combiner, fitting: FittingSet) -> Sequence[tuple[str, ...]]:
    """Folds of the fitting games, for the windows of a combiner that flatters them."""
    return game_folds(fitting.games, INNER_FOLDS) if combiner.flatters else ()


def _own_games(
    combiner: Combiner, fitted: Fitted, fitting: FittingSet, fits: Iterator[Fitted]
) -> dict[HalfId, np.ndarray]:
    """What to fit the windows on: the fitting games as unseen ones would look."""
    if not combiner.flatters:
        return _combined(fitted, fitting.evidence, fitting.games)
    halves: dict[HalfId, np.ndarray] = {}
    for inner in _inner(combiner, fitting):
        halves |= _combined(next(fits), fitting.evidence, inner)
    return halves


def _combined(fitted: Fitted, evidence: Evidence, games: Sequence[str]) -> dict[HalfId, np.ndarray]:
    return {half: fitted.combine(rows) for half, rows in evidence.stacked.of_games(games).items()}


def _fit_windows(
    evidence: Evidence,
    halves: Mapping[HalfId, Probabilities],
    games: Sequence[str],
    settings: Sequence[Setting],
) -> list[Setting]:
    return fit_exact(tabulate(halves, evidence.events, [games], settings)[0])


def _spotting(evidence: Evidence, settings_A: Sequence[Setting]) -> SpottingConfig:
    actions = evidence.stacked.actions
    return SpottingConfig(
        nms={a: s.kind for a, s in zip(actions, settings_A, strict=True)},
        windows_s={a: s.window_s for a, s in zip(actions, settings_A, strict=True)},
    )


def _named(spotting: SpottingConfig) -> dict[str, object]:
    return {"windows_s": spotting.windows_s, "kinds": spotting.nms}

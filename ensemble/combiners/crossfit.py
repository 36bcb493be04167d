"""Fit a combiner so that no game is combined with what it helped to fit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ensemble.combiner import Combiner, Evidence, Fitted, nothing
from hmtas.records import HalfId
from hmtas.terminal.signals import interruptible

Folds = Sequence[tuple[str, ...]]

# Rows times epochs from which a fit takes longer than the start of a process to run it in.
LONG_FIT = 200_000


class FoldFit(NamedTuple):
    """What was fitted without the games of one fold, for these games."""

    games: tuple[str, ...]
    fitted: Fitted


class CrossFit(NamedTuple):
    """A combiner fitted on all games, and the probabilities it gives when cross-fitted.

    Attributes:
        halves: Half to float32 (T, A), each from what was fitted on the other folds.
        fitted: The combiner fitted on all games.
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
    jobs = [(evidence, others(evidence.games, fold)) for fold in folds]
    *fitted_F, fitted = run_fits(combiner, [*jobs, (evidence, evidence.games)], on_step)
    fits = tuple(FoldFit(fold, each) for fold, each in zip(folds, fitted_F, strict=True))
    return CrossFit(combine_folds(fits, evidence), fitted, fits)


def run_fits(
    combiner: Combiner,
    jobs: Sequence[tuple[Evidence, Sequence[str]]],
    on_step: Callable[[], None],
) -> Iterator[Fitted]:
    """Fit once for each job, on these games of this evidence; long fits run side by side.

    They run in processes of their own: a fit takes one thread and torch's global generator, which
    it seeds, so that it gives the same either way.
    """
    import joblib

    num_processes = min(len(jobs), joblib.cpu_count())
    num_rows = max(sum(evidence.stacked.num_rows.values()) for evidence, _ in jobs)
    if num_processes == 1 or num_rows * combiner.num_steps < LONG_FIT:
        yield from (combiner.fit(evidence, games, on_step) for evidence, games in jobs)
        return
    # The processes share large arrays as files; they have no use for the greedy one's library.
    parallel = joblib.Parallel(num_processes, return_as="generator", max_nbytes="64K")
    with interruptible():  # or they would outlive this process for minutes
        for fitted in parallel(
            joblib.delayed(combiner.fit)(replace(evidence, _libraries={}), games)
            for evidence, games in jobs
        ):
            for _ in range(combiner.num_steps):
                on_step()
            yield fitted


def combine_folds(folds: Sequence[FoldFit], evidence: Evidence) -> dict[HalfId, np.ndarray]:
    """Half to float32 (T, A), each from the fit of its fold, in the order of the stack."""
    halves = {
        half: fold.fitted.combine(rows)
        for fold in folds
        for half, rows in evidence.stacked.of_games(fold.games).items()
    }
    return {half: halves[half] for half in evidence.stacked.num_rows}


def others(games: Sequence[str], fold: Sequence[str]) -> tuple[str, ...]:
    """The games that are not in the fold."""
    return tuple(game for game in games if game not in set(fold))

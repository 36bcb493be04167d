"""Trials of a study as Optuna knows them."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from tune.options import LOOSE, TIGHT
from tune.record import TrialRow
from tune.space import Space, encoded, suggest


def values_of(row: TrialRow, metrics: Sequence[str]) -> tuple[float, ...] | None:
    """What a trial was told with; None where it failed."""
    if row.status not in ("done", "stopped"):
        return None
    scores = {TIGHT: row.best_tight, LOOSE: row.best_loose}
    found = [score for name in metrics if (score := scores[name]) is not None]
    return tuple(found) if len(found) == len(metrics) else None


def finished_trial(
    point: Mapping[str, Any], values: Sequence[float], space: Space
) -> optuna.trial.FrozenTrial:
    """A point by dimension, and what came of it, as Optuna knows it.

    Args:
        point: A point of the space.
        values: One for each number that is maximised.
        space: Where it lies.
    """
    params, distributions = point_in(point, space)
    return optuna.trial.create_trial(
        params=params, distributions=distributions, values=list(values)
    )


def point_in(
    point: Mapping[str, Any], space: Space
) -> tuple[dict[str, Any], dict[str, optuna.distributions.BaseDistribution]]:
    """Parameters and distributions of a point by dimension, as a trial of Optuna has them."""
    fixed = optuna.trial.FixedTrial(encoded(point))
    suggest(fixed, space=space)
    return dict(fixed.params), dict(fixed.distributions)

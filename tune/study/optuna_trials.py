"""Trials of a study as Optuna knows them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tune.space.dimensions import Space, encoded, suggest
from tune.study.record import TrialRow

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def values_of(row: TrialRow, metrics: Sequence[str]) -> tuple[float, ...] | None:
    """A trial's value for each number that is maximised; None if it failed or lacks one."""
    if not row.succeeded:
        return None
    found = tuple(getattr(row, name) for name in metrics)
    return None if None in found else found


def finished_trial(
    point: Mapping[str, Any], values: Sequence[float], space: Space
) -> "FrozenTrial":
    """A point by dimension and its value for each number that is maximised, as Optuna has it."""
    from optuna.trial import create_trial

    params, distributions = point_in(point, space)
    return create_trial(params=params, distributions=distributions, values=list(values))


def point_in(
    point: Mapping[str, Any], space: Space
) -> tuple[dict[str, Any], dict[str, "BaseDistribution"]]:
    """Parameters and distributions of a point by dimension, as a trial of Optuna has them."""
    from optuna.trial import FixedTrial

    fixed = FixedTrial(encoded(point))
    suggest(fixed, space=space)
    return dict(fixed.params), dict(fixed.distributions)

"""Trials of a study as Optuna knows them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tune.space.dimensions import Space, suggest
from tune.study.rows import TrialRow

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def values_of(row: TrialRow, metrics: Sequence[str]) -> tuple[float, ...] | None:
    """A trial's value for each number that is maximised; None if it failed or lacks one."""
    if not row.succeeded:
        return None
    found = tuple(getattr(row, name) for name in metrics)
    return None if None in found else found


def trial_at(
    params: Mapping[str, Any], space: Space, values: Sequence[float] | None = None
) -> "FrozenTrial":
    """A trial of Optuna at a point in its form (`encoded`): one that runs, or ended with values."""
    from optuna.trial import TrialState, create_trial

    found, distributions = point_in(params, space)
    return create_trial(
        state=TrialState.RUNNING if values is None else TrialState.COMPLETE,
        params=found,
        distributions=distributions,
        values=None if values is None else list(values),
    )


def point_in(
    params: Mapping[str, Any], space: Space
) -> tuple[dict[str, Any], dict[str, "BaseDistribution"]]:
    """Parameters and distributions of a point in Optuna's form, as a trial has them."""
    from optuna.trial import FixedTrial

    fixed = FixedTrial(dict(params))
    suggest(fixed, space=space)
    return dict(fixed.params), dict(fixed.distributions)

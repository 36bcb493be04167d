"""A selection as JSON: what is shown, logged and drawn. Scores are shares of 1."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ensemble.combiner import Fitted
from ensemble.selection.choose import Ranked, Selection
from ensemble.selection.diversity import Diversity
from ensemble.selection.nested import Nested


def document_of(
    selection: Selection, diversity: Diversity, models: Sequence[str], actions: Sequence[str]
) -> dict[str, Any]:
    """Everything that a selection found.

    Args:
        selection: From `ensemble.selection.choose.search`.
        diversity: Of the models of interest.
        models: M names.
        actions: A names.

    Returns:
        `chosen`, `claimed`, `interval`, `reason`, `combiners` (best first; each with `tight`,
        `loose`, their intervals, `against_single`, `members`, `used`) and `diversity`.
    """
    return {
        "chosen": selection.chosen,
        "claimed": selection.claimed,
        "interval": list(selection.interval),
        "reason": selection.reason,
        "combiners": [_combiner(each, models) for each in selection.ranked],
        "diversity": {
            "models": list(diversity.models),
            "mean": _known(diversity.mean),
            "per_action": dict(zip(actions, _known(diversity.pairwise), strict=True)),
            "moments": dict(zip(actions, diversity.moments_A.tolist(), strict=True)),
        },
    }


def members_of(fitted: Fitted, models: Sequence[str]) -> list[dict[str, Any]]:
    """Models with a part in a fit, the largest weight first."""
    if fitted.weights is None:
        return [{"name": models[m], "weight": None} for m in fitted.used]
    weight_M = fitted.weights.reshape(len(models), -1).mean(axis=1)
    order = np.argsort(-weight_M, kind="stable")
    return [
        {"name": models[m], "weight": float(weight_M[m])} for m in order.tolist() if weight_M[m] > 0
    ]


def _combiner(each: Ranked, models: Sequence[str]) -> dict[str, Any]:
    return {
        "name": each.nested.method,
        "tight": each.tight,
        "tight_interval": list(each.tight_interval),
        "loose": each.loose,
        "loose_interval": list(each.loose_interval),
        "against_single": each.against_single and asdict(each.against_single),
        "members": members_of(each.nested.fitted, models),
        "used": _used(each.nested, models),
    }


def _used(nested: Nested, models: Sequence[str]) -> list[str]:
    """Models with a part in any fit, those of the folds too, whose score is the one shown."""
    fits = (nested.fitted, *(fold.fitted for fold in nested.folds))
    return sorted({member["name"] for fitted in fits for member in members_of(fitted, models)})


def _known(values: np.ndarray) -> list[Any]:
    """Nested lists, None for nan."""
    if values.ndim > 1:
        return [_known(row) for row in values]
    return [None if np.isnan(value) else float(value) for value in values]

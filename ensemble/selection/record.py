"""The record of a selection, OUT/selection.json: what is shown, logged and drawn."""

from collections.abc import Sequence

import numpy as np

from ensemble.combiner import Fitted
from ensemble.selection.choose import Ranked
from ensemble.selection.diversity import Diversity
from hmtas.scoring.score import SpotsScore
from hmtas.statistics.verdicts import Comparison
from hmtas.validation import Frozen


class Part(Frozen):
    """A model with a part in a combiner; the weight is the mean over actions, if there is one."""

    name: str
    weight: float | None


class CombinerRecord(Frozen):
    """One combiner, scored on games it was not fitted on; intervals are 95 %."""

    name: str
    tight: float
    tight_interval: tuple[float, float]
    loose: float
    loose_interval: tuple[float, float]
    against_single: Comparison | None  # tight; None for the single model itself
    members: tuple[Part, ...]  # of the fit on all games, the largest weight first
    used: tuple[str, ...] = ()  # models in any fit, those of the folds too, which are scored

    @classmethod
    def of(cls, each: Ranked, models: Sequence[str]) -> "CombinerRecord":
        """What is kept of a combiner that was tried."""
        nested = each.nested
        fits = (nested.fitted, *(fold.fitted for fold in nested.folds))
        return cls(
            name=nested.method,
            tight=each.tight,
            tight_interval=each.tight_interval,
            loose=each.loose,
            loose_interval=each.loose_interval,
            against_single=each.against_single,
            members=_parts(nested.fitted, models),
            used=tuple(sorted({models[m] for fitted in fits for m in fitted.used})),
        )


class DiversityRecord(Frozen):
    """Correlations of the errors of models: of each two, and by action the mean over pairs."""

    models: tuple[str, ...]
    mean: tuple[tuple[float | None, ...], ...]
    per_action: dict[str, float | None]
    moments: dict[str, int]  # that were looked at

    @classmethod
    def of(cls, found: Diversity, actions: Sequence[str]) -> "DiversityRecord":
        """What is kept of them, None in the place of nan."""
        return cls(
            models=found.models,
            mean=tuple(_known(row) for row in found.mean),
            per_action=dict(zip(actions, _known(found.pairwise), strict=True)),
            moments=dict(zip(actions, found.moments_A.tolist(), strict=True)),
        )


class OnTest(Frozen):
    """The answer and the single model on the test split; the difference has an interval."""

    scored: str  # ISO 8601, UTC
    selected: SpotsScore
    single: SpotsScore
    difference: tuple[float, float, float] | None  # tight; None where they are the same


class SelectionRecord(Frozen):
    """Everything that a selection found; scores are shares of 1."""

    split: str
    num_games: int
    num_models: int
    num_folds: int
    seed: int
    experiment: str | None
    filter: str
    skipped: dict[str, str]  # run folder to why it took no part
    stopped_on: dict[str, int]  # model to how many of the games chose its epoch
    suspicious: tuple[str, ...]
    chosen: str
    claimed: float
    interval: tuple[float, float]
    reason: str
    combiners: tuple[CombinerRecord, ...]  # best first
    diversity: DiversityRecord
    test: OnTest | None = None


def _parts(fitted: Fitted, models: Sequence[str]) -> tuple[Part, ...]:
    if fitted.weights is None:
        return tuple(Part(name=models[m], weight=None) for m in fitted.used)
    weight_M = fitted.weights.reshape(len(models), -1).mean(axis=1)
    order = np.argsort(-weight_M, kind="stable")
    return tuple(
        Part(name=models[m], weight=float(weight_M[m])) for m in order.tolist() if weight_M[m] > 0
    )


def _known(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)

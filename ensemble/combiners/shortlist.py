"""Which models a combiner may use at all, and the single model that an ensemble must beat. Numpy.

A mean gives every model its share, even one that says nothing. So models that are far behind the
best are left out first, by their scores on the fitting games: hundreds of trials hold many that
were stopped early or went wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.combiner import Combiner, Evidence, Fitted, FittedWeights, nothing
from hmtas.errors import InputError
from hmtas.runs.ensemble import CombinerSettings
from hmtas.terminal.text import counted

FLOOR = 0.5
"""Share of the best model's score that a model must reach to take part."""

MOST_LEARNED = 4
"""Models of a learned fusion: as many as the thesis fused; its inputs grow with their number."""


@dataclass(frozen=True, kw_only=True)
class Single(Combiner):
    """The model with the best score on the fitting games, alone."""

    @property
    def settings(self) -> CombinerSettings:
        """What the record keeps of it."""
        return CombinerSettings(space="probability")

    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> FittedWeights:
        """All weight to the best; of equals to the first."""
        scores = scores_of(evidence, games)
        weights = np.zeros(len(scores))
        weights[int(scores.argmax())] = 1.0
        return FittedWeights(weights=weights, scores=scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shortlisted(Combiner):
    """A combiner of the better models only."""

    combiner: Combiner  # what is fitted on them
    floor: float = FLOOR  # share of the best model's score that a model must reach
    most: int | None = None  # how many take part, the best ones; None for all that reach it

    @property
    def flatters(self) -> bool:
        """Does the combiner?"""
        return self.combiner.flatters

    @property
    def num_steps(self) -> int:
        """Steps of the combiner."""
        return self.combiner.num_steps

    @property
    def settings(self) -> CombinerSettings:
        """What the record keeps of it."""
        own = {"floor": self.floor, "most": self.most}
        return self.combiner.settings.model_copy(update=own)

    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> Fitted:
        """Choose the models by their scores on these games, then fit on the same games."""
        kept = shortlist(scores_of(evidence, games), self.floor, self.most)
        fitted = self.combiner.fit(evidence.of_models(kept), games, on_step)
        return fitted.among(len(evidence.stacked.models), kept)


def scores_of(evidence: Evidence, games: Sequence[str]) -> np.ndarray:
    """(M,) tight Average-mAP of each model.

    Raises:
        InputError: If every model scores 0.
    """
    scores = np.array([score.average_map for score in evidence.scores(games)])
    if not scores.any():
        raise InputError(
            f"every model scores 0 on {counted(len(games), 'game')}, so none is "
            "better than another; are they trained at all, and are these their labels?"
        )
    return scores


def shortlist(scores_M: np.ndarray, floor: float, most: int | None) -> tuple[int, ...]:
    """Indices, ascending, of the best models that reach a share of the best score."""
    ranked = np.argsort(-np.round(scores_M, 12), kind="stable")[:most]
    return tuple(sorted(int(m) for m in ranked if scores_M[m] >= floor * scores_M.max()))

"""Combiners whose fit is a set of weights: from scores, or by greedy selection. Numpy, numba."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ensemble.combiner import Combiner, Evidence, FittedWeights, nothing
from ensemble.greedy.select import GreedyConfig, select
from ensemble.stack.mean import BORROWED, weights_of_scores
from hmtas.runs.ensemble import BagRecord, CombinerSettings, FitFacts, Space


@dataclass(frozen=True, kw_only=True)
class ScoreWeights(Combiner):
    """Mean, weighted mean and squared weighted mean (thesis Section 5.6)."""

    power: int  # of the score that a weight is made of: 0, 1 or 2
    per_action: bool = False  # does each action have its own weights?
    space: Space = "probability"  # what is averaged
    borrowed: float = BORROWED  # pseudo-events of the common weights, where each action has its own

    @property
    def is_fitted(self) -> bool:
        """The mean asks for no score."""
        return self.power > 0

    @property
    def settings(self) -> CombinerSettings:
        """What the record keeps of it."""
        settings = CombinerSettings(power=self.power, space=self.space)
        own = {"borrowed": self.borrowed} if self.per_action else {}
        return settings.model_copy(update=own)

    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> FittedWeights:
        """Score each model alone, as its own configuration says."""
        if not self.is_fitted:
            num_models = len(evidence.stacked.models)
            return FittedWeights(weights=np.full(num_models, 1 / num_models), space=self.space)
        scores = evidence.scores(games)
        return FittedWeights(
            weights=weights_of_scores(
                scores, self.power, per_action=self.per_action, borrowed=self.borrowed
            ),
            space=self.space,
            scores=np.array([score.average_map for score in scores]),
        )


@dataclass(frozen=True, kw_only=True)
class Greedy(Combiner):
    """Greedy selection with replacement (ensemble.greedy.select)."""

    space: Space = "probability"
    config: GreedyConfig = field(default_factory=GreedyConfig)

    @property
    def num_steps(self) -> int:
        """One for each bag."""
        return self.config.bags

    @property
    def settings(self) -> CombinerSettings:
        """What the record keeps of it."""
        return CombinerSettings(space=self.space, greedy=self.config.model_dump())

    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> FittedWeights:
        """Select under `evidence.windows_s`."""
        library = evidence.library(self.space, self.config.threshold)
        selection = select(
            library, evidence.windows_s, games=games, config=self.config, on_bag=on_step
        )
        weights = [selection.weights.get(name, 0.0) for name in evidence.stacked.models]
        facts = FitFacts(
            windows_s=tuple(evidence.windows_s.tolist()),
            bags=tuple(BagRecord(picked=b.picked, tight=b.scores) for b in selection.bags),
            copies=library.copies,
        )
        return FittedWeights(weights=np.array(weights), space=self.space, facts=facts)

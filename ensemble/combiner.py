"""What every combiner is: fitted on evidence of some games, then it combines any rows. Numpy only.

A `Combiner` knows its settings and nothing else; `fit` gives a `Fitted`, which no longer knows the
games. The caller of `fit` decides the games: `ensemble.combiners.crossfit` never combines one that
was fitted on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from ensemble.greedy.library import Library, build_library
from ensemble.stack.align import Stack
from ensemble.stack.mean import combine
from hmtas.config import SpottingConfig
from hmtas.metric.averages import TIGHT_S, score
from hmtas.metric.counts import Histograms, histograms
from hmtas.records import Events, HalfId, Score
from hmtas.runs.ensemble import CombinerSettings, FitFacts, Space
from hmtas.spotting.spots import spot


def nothing() -> None:
    """Called where nobody listens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What combiners are fitted on: models and annotations of the same games.

    Windows are configured ones, or fitted on the very games that a combiner is fitted on, never
    on others: they would carry a fold's labels into its own weights. Counts and libraries are made
    once and kept, for all fits with these windows; a library also for others.
    """

    stacked: Stack  # M models
    events: Mapping[HalfId, Events]  # of every half
    spottings: tuple[SpottingConfig, ...]  # M configurations, by which each model is scored alone
    windows_s: np.ndarray  # (A,) hard, symmetric windows of the ensembles that a selection tries
    _counts: dict[str, Histograms] = field(default_factory=dict)
    _libraries: dict[tuple[tuple[str, ...], Space, float], Library] = field(default_factory=dict)

    @property
    def games(self) -> tuple[str, ...]:
        """The games, sorted."""
        return self.stacked.games

    def with_windows(
        self, spottings: tuple[SpottingConfig, ...], windows_s: np.ndarray
    ) -> "Evidence":
        """The same models and games with other windows."""
        return replace(self, spottings=spottings, windows_s=windows_s, _counts={})

    def of_models(self, kept: Sequence[int]) -> "Evidence":
        """Some of the models, by their index."""
        return replace(
            self,
            stacked=replace(self.stacked, outputs=tuple(self.stacked.outputs[m] for m in kept)),
            spottings=tuple(self.spottings[m] for m in kept),
        )

    def scores(self, games: Sequence[str]) -> list[Score]:
        """M tight scores on some games."""
        return [
            score(self._counts_of(name, spotting), games)
            for name, spotting in zip(self.stacked.models, self.spottings, strict=True)
        ]

    def _counts_of(self, name: str, spotting: SpottingConfig) -> Histograms:
        if name not in self._counts:
            actions = self.stacked.actions
            halves = self.stacked.probabilities(self.stacked.of_model(name))
            spots = spot(halves, actions, spotting)
            self._counts[name] = histograms(spots, self.events, TIGHT_S, len(actions))
        return self._counts[name]

    def library(self, space: Space, threshold: float) -> Library:
        """The models' codes; only the last one is kept, as it may be large."""
        key = (self.stacked.models, space, threshold)
        if key not in self._libraries:
            self._libraries.clear()
            self._libraries[key] = build_library(
                self.stacked, self.events, space=space, threshold=threshold
            )
        return self._libraries[key]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted(ABC):
    """A combiner fitted on some games, for the rows of M models."""

    # (M,), or (M, A) where each action has its own; None for a network
    weights: np.ndarray | None = None
    # (M,) tight Average-mAP that the weights are made of, if they are
    scores: np.ndarray | None = None
    facts: FitFacts = field(default_factory=FitFacts)  # how the fit went, for the record

    @abstractmethod
    def combine(self, stacked_MTA: np.ndarray) -> np.ndarray:
        """(T, A) float32 in [0, 1]."""

    @property
    @abstractmethod
    def used(self) -> tuple[int, ...]:
        """Indices of the models that have a part."""

    @abstractmethod
    def of_used(self) -> Self:
        """The same for the rows of the used models alone."""

    @abstractmethod
    def among(self, num_models: int, kept: Sequence[int]) -> Self:
        """The same for the rows of more models, its own at the places `kept`."""

    @abstractmethod
    def save(self, run: Path) -> None:
        """Write what the record cannot hold into a run folder."""


class Combiner(ABC):
    """A way to make one model's probabilities of several models'."""

    @property
    def is_fitted(self) -> bool:
        """False for the mean, which is the same on all games."""
        return True

    @property
    def flatters(self) -> bool:
        """Is it surer of the games it was fitted on than of others?

        It is with thousands of parameters, hardly with a weight for each model.
        """
        return False

    @property
    def num_steps(self) -> int:
        """How often one fit calls `on_step`."""
        return 0

    @property
    @abstractmethod
    def settings(self) -> CombinerSettings:
        """Everything that decides a fit beside the evidence, for the record."""

    @abstractmethod
    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> Fitted:
        """Fit on some games of the evidence, and look at no other.

        Raises:
            InputError: If nothing can be fitted, because no model scores anything.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedWeights(Fitted):
    """Weights and what they are an average of: every combiner but the learned fusion."""

    weights: np.ndarray
    space: Space = "probability"

    def combine(self, stacked_MTA: np.ndarray) -> np.ndarray:
        """See `ensemble.stack.mean.combine`."""
        return combine(stacked_MTA, self.weights, self.space)

    @property
    def used(self) -> tuple[int, ...]:
        """Models with a weight on any action."""
        of_any = self.weights.reshape(len(self.weights), -1).any(axis=1)
        return tuple(np.flatnonzero(of_any).tolist())

    def of_used(self) -> Self:
        """Without the models that have no weight."""
        kept = list(self.used)
        scores = None if self.scores is None else self.scores[kept]
        return replace(self, weights=self.weights[kept], scores=scores)

    def among(self, num_models: int, kept: Sequence[int]) -> Self:
        """The same, with weights and scores of 0 for the other models."""

        def spread(values: np.ndarray) -> np.ndarray:
            every = np.zeros((num_models, *values.shape[1:]))
            every[list(kept)] = values
            return every

        scores = None if self.scores is None else spread(self.scores)
        return replace(self, weights=spread(self.weights), scores=scores)

    def save(self, run: Path) -> None:
        """The record holds everything."""

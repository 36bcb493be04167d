"""The learned fusion as a combiner: the network, its fit and its file behind the one interface."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ensemble.combiner import Evidence, nothing
from ensemble.learned.fit import fit_fusion
from ensemble.learned.network import FusionConfig, Network, fuse, load_fusion, save_fusion
from hmtas.runs.ensemble import CombinerSettings, FitFacts

FUSION = "fusion.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedNetwork:
    """A network that takes the place of weights."""

    model: Network
    config: FusionConfig
    num_models: int
    actions: tuple[str, ...]
    facts: FitFacts = field(default_factory=FitFacts)
    weights: None = None
    scores: None = None

    def combine(self, stacked_MTA: np.ndarray) -> np.ndarray:
        """See `ensemble.learned.network.fuse`."""
        return fuse(self.model, stacked_MTA)

    def save(self, run: Path) -> None:
        """Write RUN/fusion.safetensors."""
        save_fusion(run / FUSION, self.model, self.config, self.num_models, self.actions)

    @classmethod
    def load(cls, run: Path, num_models: int, actions: tuple[str, ...]) -> "FittedNetwork":
        """Read RUN/fusion.safetensors.

        Raises:
            InputError: If the file is missing, damaged, or of other models or actions.
        """
        model, config = load_fusion(run / FUSION, num_models, actions)
        return cls(model=model, config=config, num_models=num_models, actions=actions)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The learned fusion; its config says which network and how it is fitted."""

    config: FusionConfig = field(default_factory=FusionConfig)
    is_fitted: bool = True
    flatters: bool = True

    @property
    def num_steps(self) -> int:
        """One for each epoch."""
        return self.config.epochs

    @property
    def settings(self) -> CombinerSettings:
        """For the record."""
        return CombinerSettings(fusion=self.config.model_dump())

    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> FittedNetwork:
        """Fit on the rows of these games; some of them are held out and stop it."""
        stacked = evidence.stacked
        fitted = fit_fusion(
            stacked.of_games(games),
            evidence.events,
            stacked.actions,
            self.config,
            rate_hz=stacked.rate_hz,
            on_epoch=on_step,
        )
        facts = FitFacts(
            best_epoch=fitted.best_epoch,
            held_out_games=fitted.held_out_games,
            held_out_loss=fitted.held_out_loss,
            num_parameters=sum(p.numel() for p in fitted.model.parameters()),
        )
        return FittedNetwork(
            model=fitted.model,
            config=self.config,
            num_models=len(stacked.models),
            actions=stacked.actions,
            facts=facts,
        )

"""The learned fusion as a combiner: the network, its fit and its file behind the one interface."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ensemble.combiner import Combiner, Evidence, Fitted, nothing
from ensemble.learned.fit import fit_fusion
from ensemble.learned.network import FusionConfig, Network, build_fusion, fuse
from hmtas.errors import InputError
from hmtas.files import atomic_path
from hmtas.runs.ensemble import CombinerSettings

FUSION = "fusion.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedNetwork(Fitted):
    """A network that takes the place of weights."""

    model: Network
    config: FusionConfig
    actions: tuple[str, ...]  # A names
    kept: tuple[int, ...]  # indices of its models among those whose rows it is given

    @property
    def used(self) -> tuple[int, ...]:
        """All of its models."""
        return self.kept

    def combine(self, stacked_MTA: np.ndarray) -> np.ndarray:
        """See `ensemble.learned.network.fuse`."""
        return fuse(self.model, stacked_MTA[list(self.kept)])

    def of_used(self) -> Self:
        """The same network for the rows of its models alone."""
        return replace(self, kept=tuple(range(len(self.kept))))

    def among(self, num_models: int, kept: Sequence[int]) -> Self:
        """The same network, which takes only the rows of its own models."""
        return replace(self, kept=tuple(kept))

    def save(self, run: Path) -> None:
        """Write RUN/fusion.safetensors: weights and shape, atomically."""
        shape = {
            "models": len(self.kept),
            "actions": list(self.actions),
            "config": self.config.model_dump(),
        }
        with atomic_path(run / FUSION) as scratch:
            save_file(self.model.state_dict(), scratch, metadata={"fusion": json.dumps(shape)})

    @classmethod
    def load(cls, run: Path, num_models: int, actions: tuple[str, ...]) -> Self:
        """Read RUN/fusion.safetensors.

        Raises:
            InputError: If the file is missing, damaged, or of other models or actions.
        """
        path = run / FUSION
        if not path.is_file():
            raise InputError(f"{path}: no learned fusion here; fit one with `hmtas ensemble fit`")
        try:
            with safe_open(path, "pt") as file:
                shape = json.loads((file.metadata() or {})["fusion"])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{path}: not a learned fusion ({error}); was it cut short?") from None
        if shape["models"] != num_models or shape["actions"] != list(actions):
            raise InputError(
                f"{path}: fuses {shape['models']} models of {len(shape['actions'])} actions, asked "
                f"for {num_models} of {len(actions)} (or other actions); fit it again on these "
                "models"
            )
        config = FusionConfig.model_validate(shape["config"])
        model = build_fusion(num_models, len(actions), config)
        model.load_state_dict(state)
        kept = tuple(range(num_models))
        return cls(model=model.eval(), config=config, actions=actions, kept=kept)


@dataclass(frozen=True, kw_only=True)
class Learned(Combiner):
    """The learned fusion; its config says which network and how it is fitted."""

    config: FusionConfig = field(default_factory=FusionConfig)

    @property
    def flatters(self) -> bool:
        """It has thousands of parameters."""
        return True

    @property
    def num_steps(self) -> int:
        """One for each epoch."""
        return self.config.epochs

    @property
    def settings(self) -> CombinerSettings:
        """What the record keeps of it."""
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
        return FittedNetwork(
            model=fitted.model,
            config=self.config,
            actions=stacked.actions,
            kept=tuple(range(len(stacked.models))),
            facts=fitted.facts,
        )

"""What the record of an ensemble says: what was fitted, on which models, and how the fit went."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Space = Literal["probability", "logit"]
"""What averages are taken of."""


class _AsGiven(BaseModel):
    """Written with the fields it was given, those of other versions included, and no others."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: value for k, value in handler(self).items() if k in self.model_fields_set}


class MemberRecord(_AsGiven):
    """One model of an ensemble.

    Attributes:
        name: Name of its run; where two runs share a name, the folder.
        run: Its run folder, relative to that of the ensemble.
        created: When that run was made: a later one is another model.
        weight: Its weight, the mean over the actions; None where a network combines.
        weight_by_action: Its weights, where each action has its own.
        tight: Its tight Average-mAP on the games that the ensemble was fitted on.
    """

    name: str
    run: str
    created: str
    weight: float | None = None
    weight_by_action: tuple[float, ...] | None = None
    tight: float | None = None

    @property
    def votes(self) -> bool:
        """Does it have a part in any action?"""
        weights = self.weight_by_action or (self.weight,)
        return None in weights or any(weights)


class CombinerSettings(_AsGiven):
    """Everything that decides a fit beside what it is fitted on.

    Attributes:
        power: Power of the scores that the weights are made of.
        space: What averages are taken of.
        borrowed: Pseudo-events of the common weights, where each action has its own.
        greedy: Settings of a greedy selection (`ensemble.greedy.select.GreedyConfig`).
        fusion: Settings of a learned fusion (`ensemble.learned.network.FusionConfig`).
        floor: Share of the best model's score that a model had to reach to be selected.
        most: How many models could be selected; None for all.
    """

    power: int | None = None
    space: Space = "probability"
    borrowed: float | None = None
    greedy: dict[str, Any] | None = None
    fusion: dict[str, Any] | None = None
    floor: float | None = None
    most: int | None = None


class BagRecord(_AsGiven):
    """One greedy selection: names in the order of picking, and the score after each."""

    picked: tuple[str, ...]
    tight: tuple[float, ...]


class FitFacts(_AsGiven):
    """How a fit went.

    Attributes:
        windows_s: NMS windows of each action that a greedy selection scored with.
        bags: Its selections, which the weights are averaged over.
        copies: Models that it left out, each with the one that says exactly the same.
        best_epoch: Epoch of a learned fusion that was kept.
        held_out_games: Games that chose it.
        held_out_loss: Loss on them.
        num_parameters: Parameters of the network.
    """

    windows_s: tuple[float, ...] = ()
    bags: tuple[BagRecord, ...] = ()
    copies: dict[str, str] = {}
    best_epoch: int | None = None
    held_out_games: tuple[str, ...] = ()
    held_out_loss: float | None = None
    num_parameters: int | None = None


class FoldRecord(FitFacts):
    """What combines the games of one fold: fitted on all other games.

    Attributes:
        games: The games of the fold.
        weights: Weights of the members, in their order or by name; None where a network combines.
    """

    games: tuple[str, ...]
    weights: tuple[float, ...] | tuple[tuple[float, ...], ...] | dict[str, float] | None = None


class _Request(_AsGiven):
    """What was fitted; a base of its own so that run.json begins with it."""

    combiner: str
    split: str
    seed: int = 0


class EnsembleRecord(FitFacts, CombinerSettings, _Request):
    """What an ensemble was asked for and how it was fitted on all games of a split.

    Attributes:
        combiner: Name of the combiner (`ensemble.combiners.methods.METHODS`, or "single").
        split: Split that it was fitted on.
        seed: Seed of the folds and of the fits.
        members: The models, in the order of their rows.
        folds: The fits behind its cross-fitted probabilities; empty for a mean.
    """

    members: tuple[MemberRecord, ...]
    folds: tuple[FoldRecord, ...] = ()

    @property
    def is_selected(self) -> bool:
        """Did `hmtas ensemble select` choose the members, among models not recorded here?"""
        return self.floor is not None or self.combiner == "single"

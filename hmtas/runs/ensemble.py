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
    """One model of an ensemble."""

    name: str  # of its run; the folder where two runs share a name
    run: str  # its folder, relative to that of the ensemble
    created: str  # when that run was made: a later one is another model
    weight: float | None = None  # mean over the actions; None where a network combines
    weight_by_action: tuple[float, ...] | None = None  # where each action has its own
    tight: float | None = None  # Average-mAP on the games that the ensemble was fitted on

    @property
    def votes(self) -> bool:
        """Does it have a part in any action?"""
        weights = self.weight_by_action or (self.weight,)
        return None in weights or any(weights)


class CombinerSettings(_AsGiven):
    """Everything that decides a fit beside what it is fitted on."""

    power: int | None = None  # of the scores that the weights are made of
    space: Space = "probability"
    borrowed: float | None = None  # pseudo-events of the common weights (weights by action)
    greedy: dict[str, Any] | None = None  # `ensemble.greedy.select.GreedyConfig`
    fusion: dict[str, Any] | None = None  # `ensemble.learned.network.FusionConfig`
    floor: float | None = None  # share of the best model's score needed to be selected
    most: int | None = None  # how many models could be selected; None for all


class BagRecord(_AsGiven):
    """One greedy selection: names in the order of picking, and the score after each."""

    picked: tuple[str, ...]
    tight: tuple[float, ...]


class FitFacts(_AsGiven):
    """How a fit went."""

    # A greedy selection:
    windows_s: tuple[float, ...] = ()  # NMS window of each action that it scored with
    bags: tuple[BagRecord, ...] = ()  # the weights are averaged over them
    copies: dict[str, str] = {}  # model left out: the one that predicts exactly the same
    # A learned fusion:
    best_epoch: int | None = None  # whose weights were kept
    held_out_games: tuple[str, ...] = ()  # games that chose it
    held_out_loss: float | None = None
    num_parameters: int | None = None


class FoldRecord(FitFacts):
    """What combines the games of one fold: fitted on all other games."""

    games: tuple[str, ...]
    # Of the members, in their order or by name; None where a network combines.
    weights: tuple[float, ...] | tuple[tuple[float, ...], ...] | dict[str, float] | None = None


class _Request(_AsGiven):
    """What was fitted; a separate base so that run.json begins with it."""

    combiner: str  # name in `ensemble.combiners.methods.METHODS`, or "single"
    split: str  # split that it was fitted on
    seed: int = 0  # of the folds and of the fits


class EnsembleRecord(FitFacts, CombinerSettings, _Request):
    """What an ensemble was asked for and how it was fitted on all games of a split."""

    members: tuple[MemberRecord, ...]
    folds: tuple[FoldRecord, ...] = ()  # behind its cross-fitted probabilities; none for a mean

    @property
    def is_selected(self) -> bool:
        """Did `hmtas ensemble select` choose the members, among models not recorded here?"""
        return self.floor is not None or self.combiner == "single"

"""What a run is: the model, its training and its spotting, as frozen pydantic models.

Every default is the thesis's (Sections 4 and 5.3). A run writes its `Config` as JSON beside its
checkpoint; the same file repeats it.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from operator import getitem
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    PositiveFloat,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from hmtas.errors import InputError, join_problems
from hmtas.settings import locate
from hmtas.validation import Frozen, findings_of, validated

THESIS_NMS_WINDOWS_S = {
    "Penalty": 12,
    "Kick-off": 7,
    "Goal": 20,
    "Shots on target": 9,
    "Substitution": 9,
    "Offside": 9,
    "Shots off target": 9,
    "Clearance": 7,
    "Ball out of play": 7,
    "Throw-in": 7,
    "Foul": 7,
    "Indirect free-kick": 7,
    "Direct free-kick": 20,
    "Corner": 20,
    "Yellow card": 9,
    "Red card": 20,
    "Yellow->red card": 20,
}
DEFAULT_WINDOW_S = 9.0  # of an action of which nothing is known
THESIS_WEIGHTS = {
    "Penalty": 20.0,
    "Substitution": 15.0,
    "Red card": 30.0,
    "Yellow->red card": 30.0,
}

Precision = Literal["fp32", "bf16"]
StopOn = Literal["loss", "tight", "loose", "mean"]
NmsKind = Literal["hard", "thesis", "linear", "squared", "gaussian"]
_OneOrByAction = Annotated[
    Annotated[NmsKind, Tag("kind")] | Annotated[dict[str, NmsKind], Tag("by action")],
    # One finding for a bad value, not one for each form it could have had.
    Discriminator(lambda value: "by action" if isinstance(value, dict) else "kind"),
]


class ModelConfig(Frozen):
    """Architecture (thesis Section 4.1, and beyond it Chapter 6: longer relationships).

    `kind` is the step of the ladder (Table 5.2): `fcnn` pools the concatenated embeddings of a
    window, `encoder` runs them through one transformer, `hierarchy` gives each stream its own.
    The others label every step of a long context, each second encoded once: `dense` is the
    hierarchy with attention within a reach and nothing pooled over time, `conv` a stack of dilated
    convolutions over the embeddings side by side.
    """

    kind: Literal["fcnn", "encoder", "hierarchy", "dense", "conv"] = "hierarchy"
    width: int = Field(default=512, ge=1)
    num_heads: int = Field(default=8, ge=1)
    num_layers: int = Field(default=2, ge=1)
    widening: int = Field(default=4, ge=1)
    stream_dropout: float = Field(default=0.4, ge=0, lt=1)
    fusion_dropout: float = Field(default=0.4, ge=0, lt=1)
    head_dropout: float = Field(default=0.4, ge=0, lt=1)
    encoder_dropout: float = Field(default=0.1, ge=0, lt=1)
    attention: Literal["time", "batch"] = Field(
        default="time", description="'batch' repeats the mistake of the thesis's code"
    )
    stream_heads: bool = Field(
        default=True, description="intermediate supervision; needed where gamma < 1"
    )
    exclude_streams: tuple[str, ...] = Field(
        default=(), description="streams of the store that the model does not use"
    )
    reach_s: float = Field(
        default=16.0,
        gt=0,
        description="dense: how far a layer attends to each side; conv: how far a pass sees",
    )
    sequence_layers: int = Field(
        default=0, ge=0, description="dense: layers over the fused sequence"
    )
    output_rate_hz: Literal[1, 2] | None = Field(
        default=None, description="steps per second of dense and conv; null is the store's rate"
    )
    displacement: bool = Field(
        default=False, description="dense and conv: also say how far the event is, by action"
    )
    time_mask: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="dense and conv: share of the rows that training replaces by a learned vector",
    )
    drop_streams: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="dense and conv: how often training leaves a stream of a context out",
    )

    @field_validator("exclude_streams", mode="before")
    @classmethod
    def _names_by_commas(cls, value: Any) -> Any:
        """A list, or as on the command line names with commas between them."""
        if isinstance(value, str):
            return [name.strip() for name in value.split(",") if name.strip()]
        return value

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelConfig":
        if self.kind not in ("fcnn", "conv") and self.width % self.num_heads:
            raise ValueError(
                f"width ({self.width}) must be a multiple of num_heads ({self.num_heads})"
            )
        return self

    @model_validator(mode="after")
    def _batch_attention_is_of_windows(self) -> "ModelConfig":
        if self.labels_steps and self.attention == "batch":
            raise ValueError(
                "attention='batch' repeats a mistake that was made with windows; a model of kind "
                f"{self.kind} has none"
            )
        return self

    @property
    def labels_steps(self) -> bool:
        """Does it label every step of a context, and not the middle of a window?"""
        return self.kind in ("dense", "conv")

    @property
    def supervises_streams(self) -> bool:
        """Has each stream a head of its own (intermediate supervision)?"""
        return self.kind in ("hierarchy", "dense") and self.stream_heads


class ClassWeights(Frozen):
    """Weights of the positive terms of Equation 4.1, in one of two forms.

    By number: `by_action`, and `default` for the others. By rate, when `power` is set:
    `scale * (median rate / rate of the action) ** power`, rates counted on the training games.
    """

    background: float = Field(default=1.0, gt=0)
    default: float = Field(default=10.0, gt=0)
    by_action: dict[str, PositiveFloat] = Field(default_factory=lambda: dict(THESIS_WEIGHTS))
    scale: float = Field(default=10.0, gt=0)
    power: float | None = Field(default=None, ge=0, le=2)


class ContextConfig(Frozen):
    """Contexts and targets of the kinds that label every step (`dense`, `conv`)."""

    context_s: float = Field(default=128.0, ge=1, description="length of a training sample")
    margin_s: float = Field(
        default=16.0, ge=0, description="at each end of a context, read but not labelled"
    )
    radius_s: float = Field(
        default=2.0, ge=0.5, le=60, description="steps so close to an event are positive"
    )
    target: Literal["hard", "triangular", "gaussian"] = Field(
        default="triangular",
        description="1 within the radius, or falling to 0 with the distance; gaussian has a "
        "standard deviation of half the radius",
    )
    displacement_radius_s: float = Field(
        default=6.0, ge=0.5, le=60, description="steps so close to an event learn how far it is"
    )
    displacement_weight: float = Field(default=0.1, gt=0, description="of its loss, beside 1")

    @model_validator(mode="after")
    def _margins_leave_steps(self) -> "ContextConfig":
        if 2 * self.margin_s >= self.context_s:
            raise ValueError(
                f"margin_s ({self.margin_s:g}) at both ends leaves nothing of context_s "
                f"({self.context_s:g}) to label"
            )
        return self


class TrainConfig(Frozen):
    """Training (thesis Sections 4.2 and 5.3)."""

    seq_len: int = Field(default=3, ge=1, le=120, description="L, rows of a window")
    gamma: float = Field(default=0.7, ge=0, le=1, description="share of the fused loss")
    class_weights: ClassWeights = ClassWeights()
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    batch_size: int = Field(default=32, ge=2, description="windows; contexts of dense and conv")
    chunk_windows: int = Field(
        default=0,
        ge=0,
        description="0 trains on single windows; n > 0 on chunks of n consecutive windows, whose "
        "rows are read and projected once; the windows of a batch then resemble each other, which "
        "costs accuracy (docs/training.md)",
    )
    max_epochs: int = Field(default=30, ge=1)
    patience: int = Field(default=2, ge=1, description="epochs without improvement")
    stop_on: StopOn = Field(
        default="loss",
        description="what chooses the epoch; 'mean' of tight and loose Average-mAP is less at the "
        "mercy of few games than tight alone (docs/contexts.md)",
    )
    stop_games: Literal["valid", "held_out"] = Field(
        default="valid", description="'held_out' is a seeded tenth of the train games"
    )
    stop_windows: Literal["config", "fitted"] = Field(
        default="config",
        description="NMS windows behind the scores after each epoch: those of `spotting`, or for "
        "each game the best ones of the other games that stop the training",
    )
    protocol: Literal["p1", "p2"] = "p1"
    windows_share: float = Field(
        default=1.0, gt=0, le=1, description="share of the training windows seen in one epoch"
    )
    mixup_alpha: float = Field(default=0.0, ge=0, description="0 is off; the thesis tried 0.2")
    mixup_partner: Literal["random", "balanced"] = Field(
        default="random",
        description="another sample of the batch, or one with an event of an action that is drawn "
        "uniformly",
    )
    focal_exponent: float = Field(
        default=0.0, ge=0, description="weighs the loss by |target - probability| to this power"
    )
    optimizer: Literal["amsgrad", "adamw"] = "amsgrad"
    schedule: Literal["constant", "cosine", "linear"] = Field(
        default="constant", description="of the learning rate, down to 1 % at max_epochs"
    )
    warmup_epochs: float = Field(default=0.0, ge=0, description="over which the rate rises from 0")
    ema_decay: float = Field(
        default=0.0, ge=0, lt=1, description="of an average of the weights over steps; 0 is off"
    )
    clip_norm: float = Field(default=0.0, ge=0, description="of the gradient; 0 is off")
    context: ContextConfig = ContextConfig()
    seed: int = Field(default=0, ge=0)
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _chunks_fill_a_batch(self) -> "TrainConfig":
        if self.chunk_windows and self.batch_size % self.chunk_windows:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of chunk_windows "
                f"({self.chunk_windows}): a batch holds whole chunks"
            )
        return self


class SpottingConfig(Frozen):
    """From probabilities to spots (thesis Sections 4.3 and 5.3)."""

    nms: _OneOrByAction = Field(
        default="hard",
        description="one NMS rule, or one by action with 'hard' for those it does not name",
    )
    # The thesis drops spots below 0.2. Keeping them never costs more than 1e-4 of an average
    # precision and gains wherever a model is less sure of itself than the thesis's.
    threshold: float = Field(default=0.0, ge=0, le=1)
    default_window_s: float | None = Field(
        default=None,
        gt=0,
        description="of actions without one in windows_s; null is what the gaps between their "
        "events in the train games say (hmtas.training.on_store), or 9 s",
    )
    windows_s: dict[str, PositiveFloat] = Field(
        default_factory=lambda: {name: float(w) for name, w in THESIS_NMS_WINDOWS_S.items()}
    )

    def window_of(self, action: str) -> float:
        """Width in seconds of the suppression window of one action."""
        return self.windows_s.get(action, self.default_window_s or DEFAULT_WINDOW_S)

    def kind_of(self, action: str) -> NmsKind:
        """The rule of suppression of one action."""
        return self.nms if isinstance(self.nms, str) else self.nms.get(action, "hard")


class Config(Frozen):
    """Everything that decides a run's result, except the store."""

    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    spotting: SpottingConfig = SpottingConfig()

    @model_validator(mode="after")
    def _supervision(self) -> "Config":
        if self.train.gamma < 1 and not self.model.supervises_streams:
            raise ValueError(
                f"gamma ({self.train.gamma}) must be 1 for a model without stream heads: "
                "the rest of the loss would have nothing to supervise"
            )
        return self

    @model_validator(mode="after")
    def _context_holds_reach(self) -> "Config":
        reach_s, context_s = self.model.reach_s, self.train.context.context_s
        if self.model.labels_steps and reach_s > context_s:
            raise ValueError(
                f"reach_s ({reach_s:g}) goes beyond context_s ({context_s:g}): training would "
                "never see that far"
            )
        return self

    @model_validator(mode="after")
    def _one_sample_form(self) -> "Config":
        if self.model.labels_steps and self.train.chunk_windows:
            raise ValueError(
                f"chunk_windows ({self.train.chunk_windows}) is for windows; a model of kind "
                f"{self.model.kind} trains on contexts (context_s)"
            )
        return self

    def updated(self, settings: Mapping[str, Any]) -> "Config":
        """A copy with some settings replaced, by name.

        A name is a path such as `train.seq_len` or `train.class_weights.by_action.Goal`, or its
        last part where that is unambiguous.

        Raises:
            InputError: If a name or value is not valid; all of them at once.
        """
        document = self.model_dump()
        problems = []
        for name, value in settings.items():
            try:
                parent, key = locate_setting(name)
                reduce(getitem, parent.split("."), document)[key] = value
            except InputError as error:
                problems.append(str(error))
        try:
            config = Config.model_validate(document)
        except ValidationError as error:
            problems.extend(findings_of(error))
        if problems:
            raise InputError(f"bad settings: {join_problems(problems)}")
        return config

    def flat(self) -> dict[str, Any]:
        """Every setting as JSON by its path, such as `train.seq_len`; tables by action whole."""

        def leaves(
            part: Frozen, document: dict[str, Any], prefix: str
        ) -> Iterator[tuple[str, Any]]:
            for name, value in document.items():
                inner = getattr(part, name)
                if isinstance(inner, Frozen):
                    yield from leaves(inner, value, f"{prefix}{name}.")
                else:
                    yield f"{prefix}{name}", value

        return dict(leaves(self, self.model_dump(mode="json"), ""))

    def difference(self, other: "Config") -> str:
        """The first setting that another configuration has otherwise, with both values."""
        mine, theirs = self.flat(), other.flat()
        path = next(path for path in mine if mine[path] != theirs[path])
        return f"{path} {mine[path]!r}, not {theirs[path]!r}"

    def used(self) -> dict[str, Any]:
        """`flat` without what this kind of model does not read."""
        return {path: value for path, value in self.flat().items() if self._reads(path)}

    def unused(self, names: Iterable[str]) -> list[str]:
        """Those of some settings, by name, that this kind of model does not read."""
        paths = {name: ".".join(locate_setting(name)) for name in names}
        return [name for name, path in paths.items() if not self._reads(path)]

    def _reads(self, path: str) -> bool:
        return all(
            self.model.kind in by for begin, by in _READ_BY.items() if path.startswith(begin)
        )


_WINDOWS, _CONTEXTS = ("fcnn", "encoder", "hierarchy"), ("dense", "conv")
_ATTENDING = ("encoder", "hierarchy", "dense")
# Which kinds read a setting, where not all do.
_READ_BY = {
    "train.seq_len": _WINDOWS,
    "train.chunk_windows": _WINDOWS,
    "train.context.": _CONTEXTS,
    "model.reach_s": _CONTEXTS,
    "model.output_rate_hz": _CONTEXTS,
    "model.displacement": _CONTEXTS,
    "model.time_mask": _CONTEXTS,
    "model.drop_streams": _CONTEXTS,
    "model.sequence_layers": ("dense",),
    "model.num_layers": (*_ATTENDING, "conv"),
    "model.encoder_dropout": (*_ATTENDING, "conv"),
    "model.stream_dropout": (*_ATTENDING, "conv"),
    "model.num_heads": _ATTENDING,
    "model.widening": _ATTENDING,
    "model.attention": _ATTENDING,
    "model.fusion_dropout": ("hierarchy", "dense"),
    "model.stream_heads": ("hierarchy", "dense"),
}


def locate_setting(name: str) -> tuple[str, str]:
    """The place of a setting by name; see `hmtas.settings.locate`."""
    return locate(name, list(Config().flat()))


def read_config(document: Any, place: str) -> Config:
    """A `Config` from parsed JSON: a bare configuration, or a run's record that holds one."""
    if isinstance(document, dict) and "config" in document:
        document = document["config"]
    return validated(Config, document, place)

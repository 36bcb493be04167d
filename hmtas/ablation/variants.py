"""What `hmtas ablate` trains: the ladder of thesis Table 5.2 and beyond, and single settings.

A study is a list of variants and says what each is compared with. Variants that are the same on a
store (M6 adds audio: without a stream for it, it is M5) are trained once.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from hmtas.config import Config
from hmtas.errors import InputError, did_you_mean
from hmtas.presets import PRESETS

LADDER = "ladder"
LADDER_PRESETS = ("m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "conv")
REFERENCE = "m7"  # what a single setting of the thesis is changed in
CONTEXT = "conv"  # and one of long contexts: of their kinds the one that trains fastest
# What an ablation holds fixed. The games that stop come from the train split, so that validation
# games stay clean.
FIXED = {"train.stop_games": "held_out"}


class Family(NamedTuple):
    """One setting of a preset and the values to try."""

    title: str
    path: str  # of the setting
    values: tuple[Any, ...]
    label: str  # of a value
    off: str = ""  # label of the value 0, where it turns the setting off
    reference: str = REFERENCE  # the preset
    without: str = ""  # label of a reference that does not use the setting
    also: Mapping[str, Any] = MappingProxyType({})  # settings that go with each value


FAMILIES = {
    "attention": Family(
        "Attention over the batch, the mistake of the thesis's code",
        "model.attention",
        ("batch",),
        "attention over {}",
    ),
    "mixup": Family("Mix-up", "train.mixup_alpha", (0.2,), "mix-up alpha {}"),
    "length": Family("Length of a window", "train.seq_len", (2, 3, 4, 5, 7), "L = {}"),
    "gamma": Family(
        "Share of the fused loss", "train.gamma", (0.3, 0.5, 0.7, 0.9, 1.0), "gamma = {}"
    ),
    "chunks": Family(
        "Batches of chunks of consecutive windows",
        "train.chunk_windows",
        (32,),
        "chunks of {} windows",
        off="single windows",
    ),
    "body": Family(
        "The body of a model of long contexts",
        "model.kind",
        ("dense",),
        "kind {}",
        reference=CONTEXT,
        also={"model.reach_s": 8, "train.context.context_s": 128, "train.batch_size": 8},
    ),
    "learning": Family(
        "Learning rate", "train.learning_rate", (1e-3, 3e-3, 6e-3), "{:g}", reference=CONTEXT
    ),
    "weights": Family(
        "Weights of rare actions",
        "train.class_weights.power",
        (0.0, 0.3, 0.6),
        "by rate, to the power {}",
        reference=CONTEXT,
    ),
    "context": Family(
        "Length of a context",
        "train.context.context_s",
        (64, 128, 256, 512),
        "{:g} s",
        reference=CONTEXT,
    ),
    "reach": Family(
        "Reach to each side", "model.reach_s", (3, 7, 15, 31, 63, 127), "{:g} s", reference=CONTEXT
    ),
    "radius": Family(
        "Radius of a target", "train.context.radius_s", (1, 2, 3, 4, 6), "{:g} s", reference=CONTEXT
    ),
    "target": Family(
        "Form of a target",
        "train.context.target",
        ("hard", "triangular", "gaussian"),
        "{}",
        reference=CONTEXT,
    ),
    "rate": Family(
        "Output rate",
        "model.output_rate_hz",
        (1, 2),
        "{} Hz",
        reference=CONTEXT,
        without="that of the rows",
    ),
    "displacement": Family(
        "Weight of the displacement's loss",
        "train.context.displacement_weight",
        (0.01, 0.1, 1.0),
        "displacement, weight {}",
        reference=CONTEXT,
        without="none",
        also={"model.displacement": True},
    ),
    "focal": Family(
        "Focal exponent",
        "train.focal_exponent",
        (1.0, 2.0),
        "|y - p| to the power {}",
        reference=CONTEXT,
    ),
    "balanced": Family(
        "Mix-up with balanced partners",
        "train.mixup_alpha",
        (0.2, 1.0),
        "balanced mix-up alpha {}",
        reference=CONTEXT,
        without="no balanced mix-up",
        also={"train.mixup_partner": "balanced"},
    ),
    "blend": Family(
        "Mix-up of contexts",
        "train.mixup_alpha",
        (0.2,),
        "mix-up alpha {}",
        off="none",
        reference=CONTEXT,
    ),
    "schedule": Family(
        "Schedule of the learning rate",
        "train.schedule",
        ("constant", "linear", "cosine"),
        "{}",
        reference=CONTEXT,
    ),
    "average": Family(
        "Average of the weights",
        "train.ema_decay",
        (0.0, 0.99, 0.999),
        "decay {}",
        off="none",
        reference=CONTEXT,
    ),
    "optimizer": Family(
        "Optimizer",
        "train.optimizer",
        ("amsgrad",),
        "{}",
        reference=CONTEXT,
        also={"train.weight_decay": 1e-5},
    ),
    "clip": Family(
        "Clipping of the gradient", "train.clip_norm", (0.0,), "{}", off="none", reference=CONTEXT
    ),
    "mask": Family(
        "Masking of rows", "model.time_mask", (0.1, 0.3), "{} of the rows", reference=CONTEXT
    ),
    "drop": Family(
        "Leaving streams out", "model.drop_streams", (0.1, 0.3), "each with {}", reference=CONTEXT
    ),
}
STUDIES = (LADDER, *FAMILIES)


class Variant(NamedTuple):
    """A name, and what it changes."""

    name: str  # of the runs, followed by `-s<seed>`
    title: str  # for people
    preset: str  # where its configuration starts
    changes: Mapping[str, Any]  # settings that make it this variant; they override the user's


class Study(NamedTuple):
    """Variants in one table; each is compared with the one before, or all with the first."""

    name: str
    title: str
    variants: tuple[Variant, ...]

    @property
    def is_ladder(self) -> bool:
        """Is each variant a step from the one before?"""
        return self.name == LADDER

    @property
    def reference(self) -> str | None:
        """What all are compared with; None for the ladder."""
        return None if self.is_ladder else FAMILIES[self.name].reference


class Planned(NamedTuple):
    """A variant on a store."""

    variant: Variant
    config: Config  # with seed 0
    same_as: str  # name of the variant that is trained in its place; its own if it is trained
    why_same: str  # what makes them equal

    @property
    def is_trained(self) -> bool:
        """Is it trained itself?"""
        return self.same_as == self.variant.name


def choose(what: Iterable[str]) -> tuple[Study, ...]:
    """The studies that some words name: whole studies, or single variants such as "length-5".

    They come in the order of `STUDIES`; a study of single settings starts with its reference.

    Raises:
        InputError: If a word names neither.
    """
    wanted = set(what)
    every = _every_study()
    known = {*STUDIES, *(variant.name for study in every for variant in study.variants)}
    unknown = sorted(wanted - known)
    if unknown or not wanted:
        names = ", ".join(
            f"{study.name} ({', '.join(v.name for v in study.variants if _is_of(study, v))})"
            for study in every
        )
        raise InputError(
            f"--what: unknown {', '.join(map(repr, unknown)) or 'nothing'}"
            f"{did_you_mean(unknown[0], known) if unknown else ''}; "
            f"choose studies or variants of: {names}"
        )
    return tuple(found for study in every if (found := _part(study, wanted)) is not None)


def plan(
    studies: Sequence[Study],
    settings: Mapping[str, Any],
    streams: Iterable[str],
    rate_hz: float = 1.0,
) -> dict[str, Planned]:
    """The configuration of every variant with the user's settings, and which of them are the same.

    Raises:
        InputError: If the settings do not fit a variant, which is named, or the store lacks
            every stream of one.
    """
    available = set(streams)
    planned: dict[str, Planned] = {}
    for variant in (variant for study in studies for variant in study.variants):
        if variant.name in planned:
            continue
        config = configuration(variant, settings, seed=0)
        if not available - set(config.model.exclude_streams):
            raise InputError(
                f"{variant.name}: uses every stream but {', '.join(config.model.exclude_streams)}, "
                f"and the store has no other; choose variants with --what"
            )
        twin = next(
            (
                other
                for other in planned.values()
                if other.is_trained
                and _on(other.config, available, rate_hz) == _on(config, available, rate_hz)
            ),
            None,
        )
        planned[variant.name] = Planned(
            variant,
            config,
            same_as=variant.name if twin is None else twin.variant.name,
            why_same="" if twin is None else _why_same(twin.config, config),
        )
    return planned


def rows_of(study: Study, planned: Mapping[str, Planned]) -> list[Planned]:
    """The variants of a study as it is shown: the reference's own value is not shown twice."""
    reference = study.reference
    return [
        planned[variant.name]
        for variant in study.variants
        if reference is None
        or variant.name == reference
        or planned[variant.name].same_as != planned[reference].same_as
    ]


def configuration(variant: Variant, settings: Mapping[str, Any], seed: int) -> Config:
    """A variant's configuration: its preset, the user's settings, its own changes, the seed.

    Raises:
        InputError: If they do not fit together.
    """
    try:
        config = PRESETS[variant.preset].config.updated({**FIXED, **settings})
        return config.updated({**variant.changes, "train.seed": seed})
    except InputError as error:
        raise InputError(f"{variant.name}: {error}") from None


def title_of(study: Study, planned: Planned) -> str:
    """The title of a variant in a study: the reference shows its value of the setting."""
    if planned.variant.name != study.reference:
        return planned.variant.title
    family = FAMILIES[study.name]
    settings = planned.config.flat()
    value = settings[family.path]
    if family.without and (
        value is None or any(settings[path] != needed for path, needed in family.also.items())
    ):
        return f"{study.reference}: {family.without}"
    label = family.off if family.off and not value else family.label.format(value)
    return f"{study.reference}: {label}"


def _every_study() -> tuple[Study, ...]:
    def whole(preset: str) -> Variant:
        return Variant(preset, PRESETS[preset].title, preset, {})

    rungs = tuple(whole(name) for name in LADDER_PRESETS)
    studies = [Study(LADDER, "The ladder (thesis Table 5.2, then beyond it)", rungs)]
    for name, family in FAMILIES.items():
        values = tuple(
            Variant(
                f"{name}-{value}",
                family.off if family.off and not value else family.label.format(value),
                family.reference,
                {**family.also, family.path: value},
            )
            for value in family.values
        )
        studies.append(Study(name, family.title, (whole(family.reference), *values)))
    return tuple(studies)


def _is_of(study: Study, variant: Variant) -> bool:
    """A reference stands in several studies, and M7 belongs to the ladder."""
    return variant.name != study.reference


def _part(study: Study, wanted: set[str]) -> Study | None:
    """The part of a study that is wanted; the reference comes along with what it is held to."""
    if study.name in wanted:
        return study
    named = [v for v in study.variants if v.name in wanted and _is_of(study, v)]
    if not named:
        return None
    if not study.is_ladder:
        named = [study.variants[0], *named]
    return study._replace(variants=tuple(named))


def _on(config: Config, streams: set[str], rate_hz: float) -> Config:
    """A configuration without what changes nothing on a store.

    That are excluded streams that it does not have, and an output rate that is its own.
    """
    excluded = tuple(sorted(streams.intersection(config.model.exclude_streams)))
    update: dict[str, Any] = {"exclude_streams": excluded}
    if config.model.output_rate_hz == rate_hz:
        update["output_rate_hz"] = None
    model = config.model.model_copy(update=update)
    return config.model_copy(update={"model": model})


def _why_same(first: Config, second: Config) -> str:
    missing = set(first.model.exclude_streams) ^ set(second.model.exclude_streams)
    if missing:
        return f"this store has no stream {', '.join(sorted(missing))}"
    return "by the same settings"

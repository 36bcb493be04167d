"""The dimensions of models of windows and of long contexts, side by side, and what to try first.

The kind comes first; all else that differs between kinds is conditional on it. A setting that one
kind needs and another must not have, such as a batch of sixteen contexts or of hundreds of windows,
is a dimension of one choice.
"""

import math
from typing import Any, NamedTuple

from hmtas.config import Config
from tune.space.dimensions import (
    POWER,
    SCALE,
    Choice,
    Range,
    Space,
    nearest_point,
    setting_of,
    value_at,
)
from tune.space.file import GAMMA, KIND

WINDOWS, CONTEXTS = "hierarchy", ("dense", "conv")
CONTEXTS_S = (64.0, 128.0, 256.0)
BATCH_SIZES = (2, 4, 8, 16, 32)
MANY = 64  # contexts or steps of an epoch: with fewer a training of a few epochs learns little
REACHES_S = {"dense": (4.0, 8.0, 16.0, 32.0), "conv": (15.0, 31.0, 63.0)}
# What did well with the kind, and is not searched.
GIVEN: dict[str, dict[str, Any]] = {
    "windows": {
        "train.batch_size": 256,
        "train.optimizer": "amsgrad",
        "train.weight_decay": 1e-5,
        "train.clip_norm": 0.0,
        "train.warmup_epochs": 0.0,
        "train.schedule": "constant",
        "train.ema_decay": 0.0,
        "train.focal_exponent": 0.0,
        "train.mixup_alpha": 0.0,
    },
    "contexts": {
        "train.optimizer": "adamw",
        "train.weight_decay": 0.01,
        "train.clip_norm": 1.0,
        "train.warmup_epochs": 0.5,
        "train.mixup_partner": "balanced",
    },
    "conv": {"model.num_layers": 1, GAMMA: 1.0},
}
# Tried after the preset: what did well on commentary and on a synthetic season (docs/contexts.md).
_CONV: dict[str, Any] = {
    KIND: "conv",
    "train.context.context_s": 256.0,
    "model.reach_s": 63.0,
    "train.context.radius_s": 2.0,
    "train.context.target": "triangular",
    "model.displacement": False,
    "train.schedule": "cosine",
    "train.ema_decay": 0.99,
    "train.focal_exponent": 0.0,
    "train.mixup_alpha": 0.0,
    "train.learning_rate": 3e-3,
    "train.batch_size": 16,
    "model.stream_dropout": 0.2,
    "model.encoder_dropout": 0.2,
    "model.time_mask": 0.0,
    "model.drop_streams": 0.0,
    SCALE: 8.0,
    POWER: 0.3,
}
_DENSE = {
    KIND: "dense",
    "train.context.context_s": 128.0,
    "model.reach_s": 8.0,
    GAMMA: 0.9,
    "train.learning_rate": 2e-3,
    "train.batch_size": 8,
    "model.stream_dropout": 0.1,
}
PORTFOLIO: tuple[dict[str, Any], ...] = (
    _CONV,
    {**_CONV, "train.context.context_s": 128.0, "model.reach_s": 31.0, "train.batch_size": 8},
    {**_CONV, "model.stream_dropout": 0.3, "model.encoder_dropout": 0.3, "model.time_mask": 0.1,
     "train.mixup_alpha": 0.2},
    {**_CONV, **_DENSE},
    {KIND: WINDOWS, "train.seq_len": 5, GAMMA: 0.85, "train.learning_rate": 3e-3,
     "model.stream_dropout": 0.1, SCALE: 8.0, POWER: 0.4},
)  # fmt: skip


class Season(NamedTuple):
    """What the contexts of a store can be."""

    rate_hz: float
    longest_half_s: float
    train_s: float  # of all halves that are trained on

    @property
    def contexts_s(self) -> tuple[float, ...]:
        """The lengths that fit into a half, and of which there are many; else the shortest."""
        most_s = min(self.longest_half_s, max(CONTEXTS_S[0], self.train_s / MANY))
        return tuple(length for length in CONTEXTS_S if length <= most_s)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Contexts of a batch: so many that an epoch still has many steps."""
        longest_s = max(self.contexts_s, default=CONTEXTS_S[0])
        most = max(BATCH_SIZES[0], 2 * self.train_s / (longest_s * MANY))
        return tuple(size for size in BATCH_SIZES if size <= most)[-3:]

    @property
    def output_rates(self) -> tuple[int, ...]:
        """The output rates that fit the rows, their own first."""
        ratios = {rate: max(rate / self.rate_hz, self.rate_hz / rate) for rate in (1, 2)}
        fit = [rate for rate, ratio in ratios.items() if math.isclose(ratio, round(ratio))]
        return tuple(sorted(fit, key=ratios.__getitem__))


def by_kind(
    base: Config, season: Season, dimensions: dict[str, Range | Choice]
) -> dict[str, Range | Choice]:
    """A space of windows with contexts beside them.

    Args:
        base: What the search starts from; its kind is the first.
        season: What the store allows; without room for a context nothing is added.
        dimensions: Of a search over windows alone.
    """
    margins_s = 2 * base.train.context.margin_s
    contexts_s = tuple(length for length in season.contexts_s if length > margins_s)
    if not contexts_s or base.model.kind not in (WINDOWS, *CONTEXTS):
        return dimensions
    kinds = dict.fromkeys((base.model.kind, WINDOWS, *CONTEXTS))
    found: dict[str, Range | Choice] = {KIND: Choice(choices=tuple(kinds))}
    of_windows = {"train.seq_len": (WINDOWS,), "train.learning_rate": (WINDOWS,),
                  GAMMA: (WINDOWS, "dense")}  # fmt: skip
    for key, dimension in dimensions.items():
        when = {KIND: of_windows[key]} if key in of_windows else {}
        found[key] = dimension.model_copy(update={"when": when})

    def add(path: str, dimension: Range | Choice, kinds: tuple[str, ...], label: str = "") -> None:
        when = {**dimension.when, KIND: kinds}
        found[f"{path}@{label}" if label else path] = dimension.model_copy(update={"when": when})

    searched: dict[str, Range | Choice] = {
        "train.context.context_s": Choice(choices=contexts_s),
        "train.context.radius_s": Range(low=1.0, high=6.0),
        "train.context.target": Choice(choices=("triangular", "gaussian", "hard")),
        "model.displacement": Choice(choices=(False, True)),
        "train.schedule": Choice(choices=("cosine", "constant")),
        "train.ema_decay": Choice(choices=(0.99, 0.999, 0.0)),
        "train.focal_exponent": Range(low=0.0, high=2.0),
        "train.mixup_alpha": Range(low=0.0, high=0.5),
        "model.time_mask": Range(low=0.0, high=0.3),
        "model.drop_streams": Range(low=0.0, high=0.3),
    }
    if season.output_rates:
        searched["model.output_rate_hz"] = Choice(choices=season.output_rates)
    for path, dimension in searched.items():
        add(path, dimension, CONTEXTS)
    if base.model.stream_heads:
        found.setdefault(GAMMA, Range(low=0.5, high=1.0, when={KIND: (WINDOWS, "dense")}))
    weight = Range(low=0.01, high=1.0, log=True, when={"model.displacement": (True,)})
    add("train.context.displacement_weight", weight, CONTEXTS)
    for kind, reaches_s in REACHES_S.items():
        add("model.reach_s", Choice(choices=reaches_s), (kind,), kind)
    add("train.learning_rate", Range(low=3e-4, high=1e-2, log=True), CONTEXTS, "contexts")
    add("train.batch_size", Choice(choices=season.batch_sizes), CONTEXTS, "contexts")
    add("model.encoder_dropout", Range(low=0.0, high=0.4), ("conv",), "conv")
    of_label = {"windows": (WINDOWS,), "contexts": CONTEXTS, "conv": ("conv",)}
    for label, given in GIVEN.items():
        for path, value in given.items():
            # The kind that the search starts from keeps what it came with.
            if base.model.kind not in of_label[label] and value_at(base, path) != value:
                add(path, Choice(choices=(value,)), of_label[label], label)
    return found


def portfolio(base: Config, space: Space) -> tuple[dict[str, Any], ...]:
    """The points to try first in a space that has kinds: of its kinds alone, and inside of it."""
    kinds = space.dimensions.get(KIND)
    if not isinstance(kinds, Choice):
        return ()
    points = (nearest_point(base, space, p) for p in PORTFOLIO if p[KIND] in kinds.choices)
    return tuple({setting_of(key): value for key, value in point.items()} for point in points)

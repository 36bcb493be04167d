"""What the model study searches, as data (thesis Sections 4.2 and 5.3; its search was by hand).

A dimension is named by its path in `hmtas.config.Config`, such as `train.seq_len` or
`train.class_weights.by_action.Goal`, so that a sampled point is a set of settings and nothing
has to be translated. Where a setting has other values under another condition it has several
dimensions, told apart by a label: `model.num_heads@64` and `model.num_heads@96`. Ray splits names
at "/" and nests them; an action may hold one, so names travel percent-encoded and only this
module knows it.

NMS windows need no training and have an exact search of their own (`hmtas.spotting.windows`); they
are part of the model study only when asked for.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field, model_validator

from hmtas.config import Config
from hmtas.errors import quoted
from hmtas.validation import Frozen

Scalar = bool | int | float | str


def _scalars(values: Any) -> Any:
    for value in values if isinstance(values, list | tuple) else ():
        if not isinstance(value, Scalar):  # one finding, not one for each kind it could have had
            raise ValueError(f"must be numbers, words or booleans, got {quoted(value)}")
    return values


_Values = Annotated[tuple[Scalar, ...], BeforeValidator(_scalars)]

SCALE = "train.class_weights.scale"
POWER = "train.class_weights.power"
BY_ACTION = "train.class_weights.by_action"
WINDOWS = "spotting.windows_s"
EXCLUDED = "model.exclude_streams"


class Suggests(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...  # noqa: D102

    def suggest_float(  # noqa: D102
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...  # noqa: D102


class _Dimension(Frozen):
    """`when`: only where each of these other dimensions has one of these values."""

    when: dict[str, _Values] = Field(default_factory=dict)


class Range(_Dimension):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not exceed high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range needs low > 0, got {self.low}")
        if self.log and self.step is not None:
            raise ValueError("a log range has no step")
        if self.integer and (self.low % 1 or self.high % 1 or (self.step or 1) % 1):
            raise ValueError("this setting is a whole number, so its range must be too")
        return self

    def nearest(self, value: float) -> float:
        """The point of the range that is closest to `value`."""
        value = min(max(value, self.low), self.high)
        step = 1.0 if self.integer and self.step is None else self.step
        if step is not None:
            count = min(round((value - self.low) / step), int((self.high - self.low) / step))
            value = self.low + count * step
        return int(value) if self.integer else float(value)

    @property
    def num_values(self) -> float:
        """How many numbers it has; infinity where no step lies between them."""
        step = 1.0 if self.integer and self.step is None else self.step
        if step is None:
            return 1 if self.low == self.high else math.inf
        return 1 + math.floor((self.high - self.low) / step + 1e-9)

    @property
    def values(self) -> list[float]:
        """All of them, where they can be counted."""
        return [self.nearest(self.low + i * (self.step or 1)) for i in range(int(self.num_values))]

    def contains(self, value: Any) -> bool:
        """Is it a point of the range?"""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isclose(self.nearest(value), value, rel_tol=1e-9, abs_tol=1e-12)

    def sample(self, trial: Suggests, name: str) -> float:
        """A number that the sampler of an Optuna trial proposes."""
        if self.integer:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(name, low, high, step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


class Choice(_Dimension):
    """A few values to choose from."""

    choices: _Values = Field(min_length=1)

    def nearest(self, value: Any) -> Scalar:
        """`value` itself where it is a choice, else the closest number, else the first choice."""
        if value in self.choices:
            return self.choices[self.choices.index(value)]
        numbers = [c for c in self.choices if isinstance(c, int | float)]
        if numbers and isinstance(value, int | float):
            return min(numbers, key=lambda choice: abs(choice - value))
        return self.choices[0]

    @property
    def num_values(self) -> int:
        """How many different choices there are."""
        return len(self.values)

    @property
    def values(self) -> list[Scalar]:
        """The choices, each once."""
        return list(dict.fromkeys(self.choices))

    def contains(self, value: Any) -> bool:
        """Is it one of the choices?"""
        return value in self.choices

    def sample(self, trial: Suggests, name: str) -> Scalar:
        """The choice that the sampler of an Optuna trial proposes."""
        value: Scalar = trial.suggest_categorical(name, list(self.choices))
        return value


class Space(Frozen):
    """Dimensions by the path of the setting they vary, and settings that are held fixed."""

    dimensions: dict[str, Range | Choice]  # each after those it depends on
    fixed: dict[str, Any] = Field(default_factory=dict)  # settings that every trial gets
    # A setting to others that take the same value
    tied: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()  # to try first, after the preset's own

    @model_validator(mode="after")
    def _conditions(self) -> "Space":
        before: dict[str, Range | Choice] = {}
        for key, dimension in self.dimensions.items():
            for other, values in dimension.when.items():
                if other not in before:
                    raise ValueError(f"{key} depends on {other}, which is no dimension before it")
                if not all(before[other].contains(value) for value in values):
                    raise ValueError(f"{key} needs {other} at {values}, which it cannot have")
            before[key] = dimension
        return self

    @property
    def num_points(self) -> float:
        """How many points it has; infinity where a dimension has numbers without a step."""
        every = self.dimensions.values()
        if any(one.num_values == math.inf and not one.when for one in every):
            return math.inf
        decisive = {other for dimension in every for other in dimension.when}

        def count(keys: Sequence[str], point: Mapping[str, Any]) -> float:
            if not keys:
                return 1
            key, *rest = keys
            dimension = self.dimensions[key]
            if not _holds(dimension, point):
                return count(rest, point)
            if key not in decisive or dimension.num_values == math.inf:
                return dimension.num_values * count(rest, point)
            return sum(count(rest, {**point, key: value}) for value in dimension.values)

        return count(list(self.dimensions), {})

    def values_of(self, path: str) -> list[Any]:
        """What a setting may become where it is fixed or has choices."""
        found = [self.fixed[path]] if path in self.fixed else []
        for key, dimension in self.dimensions.items():
            if setting_of(key) == path and isinstance(dimension, Choice):
                found += dimension.choices
        return found

    def point(self, value_of: Callable[[str, Range | Choice], Any]) -> dict[str, Any]:
        """A value for each dimension in turn, where those before it have the values it needs."""
        point: dict[str, Any] = {}
        for key, dimension in self.dimensions.items():
            if _holds(dimension, point):
                point[key] = value_of(key, dimension)
        return point


def _holds(dimension: Range | Choice, point: Mapping[str, Any]) -> bool:
    """Is a dimension part of a point whose earlier dimensions have these values?"""
    return all(point.get(other) in allowed for other, allowed in dimension.when.items())


def suggest(trial: Suggests, *, space: Space) -> None:
    """Sample one point of the space, define-by-run."""
    space.point(lambda key, dimension: dimension.sample(trial, _encode(key)))


def settings_of(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings of a point that `suggest` sampled, as Ray hands it to a trial."""
    return settings_of_point({_decode(name): value for name, value in params.items()}, space)


def settings_of_point(point: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings of a point that is given by dimension."""
    settings = dict(space.fixed)
    for key, value in point.items():
        path = setting_of(key)
        settings[path] = value
        settings.update(dict.fromkeys(space.tied.get(path, ()), value))
    return settings


def point_of(settings: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The point, by dimension, that settings of a trial stand for (the way back)."""
    return space.point(lambda key, _: settings[setting_of(key)])


def nearest_point(
    config: Config, space: Space, settings: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The point of the space closest to a configuration changed by some settings, by dimension.

    Class weights by rate cannot express the thesis's four exceptions: there it is scale = the
    default weight, power 0.
    """

    def value_of(key: str, dimension: Range | Choice) -> Any:
        path = setting_of(key)
        return dimension.nearest(settings[path] if path in settings else value_at(config, path))

    return space.point(value_of)


def first_points(
    base: Config, space: Space, tried: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What is tried first, in the form of Optuna trials, each point once.

    The preset, so that a search never loses to what it started from, then the points of the
    space, then those of an earlier study.
    """
    named = [nearest_point(base, space, point) for point in space.points]
    points = [nearest_point(base, space), *named, *map(dict, tried)]
    return [encoded(point) for i, point in enumerate(points) if point not in points[:i]]


def value_at(base: Config, path: str) -> Any:
    """What a configuration has at a setting path."""
    weights = base.train.class_weights
    if path.startswith(f"{BY_ACTION}."):
        return weights.by_action.get(path[len(BY_ACTION) + 1 :], weights.default)
    if path.startswith(f"{WINDOWS}."):
        return base.spotting.window_of(path[len(WINDOWS) + 1 :])
    if weights.power is None and path in (SCALE, POWER):
        return weights.default if path == SCALE else 0.0
    return operator.attrgetter(path)(base)


def setting_of(key: str) -> str:
    """The path of the setting that a dimension varies: its key without the label."""
    by_action = key.startswith((f"{BY_ACTION}.", f"{WINDOWS}."))  # an action may hold an "@"
    return key if by_action else key.partition("@")[0]


def encoded(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point by dimension in the form of an Optuna trial."""
    return {_encode(key): value for key, value in point.items()}


def _encode(path: str) -> str:
    return path.replace("%", "%25").replace("/", "%2F")


def _decode(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")

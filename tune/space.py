"""What the model study searches, as data (thesis Sections 4.2 and 5.3; its search was by hand).

A dimension is named by its path in `hmtas.config.Config`, such as `train.seq_len` or
`train.class_weights.by_action.Goal`, so that a sampled point is a set of settings and nothing
has to be translated. Ray splits names at "/" and nests them; an action may hold one, so names
travel percent-encoded and only this module knows it.

NMS windows need no training and have an exact search of their own (`tune.nms_windows`); they are
part of the model study only when asked for.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hmtas.config import Config, setting_paths
from hmtas.errors import InputError, join_problems

Weights = Literal["rate", "per_action", "fixed"]
Scalar = bool | int | float | str

SEQ_LEN = "train.seq_len"
GAMMA = "train.gamma"
LEARNING_RATE = "train.learning_rate"
WIDTH = "model.width"
DROPOUT = "model.stream_dropout"
SCALE = "train.class_weights.scale"
POWER = "train.class_weights.power"
BY_ACTION = "train.class_weights.by_action"
WINDOWS = "spotting.windows_s"
THRESHOLD = "spotting.threshold"
TIED: dict[str, tuple[str, ...]] = {
    DROPOUT: ("model.fusion_dropout", "model.head_dropout")
}  # one 0.4 in the thesis


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Frozen):
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


class Choice(_Frozen):
    """A few values to choose from."""

    choices: tuple[Scalar, ...] = Field(min_length=1)

    def nearest(self, value: Any) -> Scalar:
        """`value` itself where it is a choice, else the closest number, else the first choice."""
        if value in self.choices:
            return self.choices[self.choices.index(value)]
        numbers = [c for c in self.choices if isinstance(c, int | float)]
        if numbers and isinstance(value, int | float):
            return min(numbers, key=lambda choice: abs(choice - value))
        return self.choices[0]


class Space(_Frozen):
    """Dimensions by the path of the setting they vary, and settings that are held fixed.

    Attributes:
        dimensions: Setting path to what is searched there.
        fixed: Settings every trial gets.
        tied: A dimension's path to other settings that take the same value.
    """

    dimensions: dict[str, Range | Choice]
    fixed: dict[str, Any] = {}
    tied: dict[str, tuple[str, ...]] = {}


class Suggests(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...  # noqa: D102

    def suggest_float(  # noqa: D102
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...  # noqa: D102


def parse_weights(text: str) -> Weights:
    """Check the name of a form of class weights.

    Raises:
        InputError: If there is no such form.
    """
    if text not in get_args(Weights):
        raise InputError(f"--weights must be one of {', '.join(get_args(Weights))}, got {text!r}")
    return cast(Weights, text)


def suggest(trial: Suggests, *, space: Space) -> None:
    """Sample one point of the space, define-by-run."""
    for path, dimension in space.dimensions.items():
        name = _encode(path)
        if isinstance(dimension, Choice):
            trial.suggest_categorical(name, list(dimension.choices))
        elif dimension.integer:
            low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
            trial.suggest_int(name, low, high, step=step, log=dimension.log)
        else:
            trial.suggest_float(
                name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
            )


def settings_of(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings a sampled point stands for, ready for `Config.updated`.

    Args:
        params: What `suggest` sampled, as Ray hands it to a trial.
        space: Where it was sampled.
    """
    settings = dict(space.fixed)
    for name, value in params.items():
        path = _decode(name)
        settings[path] = value
        settings.update(dict.fromkeys(space.tied.get(path, ()), value))
    return settings


def first_point(base: Config, space: Space) -> dict[str, Any]:
    """The point of the space closest to a configuration, in the form of an Optuna trial.

    Every study starts here, so that a search never loses to what it started from. Class weights
    by rate cannot express the thesis's four exceptions: there it is scale = the default weight,
    power 0.
    """
    return {
        _encode(path): dimension.nearest(_value(base, path))
        for path, dimension in space.dimensions.items()
    }


def build_space(
    base: Config,
    actions: Sequence[str],
    *,
    weights: Weights = "rate",
    search_windows: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Space:
    """The default space around a configuration, with a user's changes.

    Args:
        base: What the study starts from; the widths are half, once and twice its width.
        actions: The store's actions.
        weights: Class weights as two numbers (`rate`), one per action (`per_action`), or left as
            they are in `base` (`fixed`).
        search_windows: Also search the NMS window of each action, 7 to 20 s, and the threshold.
        overrides: Setting name to `{"low": ..., "high": ..., "log": ..., "step": ...}`, to a list
            of choices, or to one value that fixes it.

    Raises:
        InputError: If names or values of `overrides` are wrong; all of them at once.
    """
    dimensions: dict[str, Range | Choice] = {
        SEQ_LEN: Range(low=2, high=7, integer=True),
        GAMMA: Range(low=0.5, high=1.0),
        LEARNING_RATE: Range(low=1e-4, high=1e-2, log=True),
        WIDTH: Choice(choices=_widths(base)),
        DROPOUT: Range(low=0.0, high=0.6),
    }
    if not _allows(base, GAMMA, 0.5):  # without stream heads the whole loss is the fused one
        del dimensions[GAMMA]
    fixed: dict[str, Any] = {}
    if weights == "rate":
        dimensions[SCALE] = Range(low=1.0, high=30.0, log=True)
        dimensions[POWER] = Range(low=0.0, high=1.0)
    elif weights == "per_action":
        fixed[POWER] = None
        dimensions |= {f"{BY_ACTION}.{a}": Range(low=1.0, high=80.0, log=True) for a in actions}
    if search_windows:
        dimensions |= {f"{WINDOWS}.{a}": Range(low=7.0, high=20.0, step=1.0) for a in actions}
        dimensions[THRESHOLD] = Range(low=0.0, high=0.5)
    tied = dict(TIED)
    problems = []
    for name, wanted in (overrides or {}).items():
        try:
            path = _resolve(name, actions)
            entry = _read_entry(base, path, wanted, dimensions.get(path))
        except InputError as error:
            problems.append(str(error))
            continue
        tied = {head: tuple(t for t in tail if t != path) for head, tail in tied.items()}
        if isinstance(entry, Range | Choice):
            dimensions[path] = entry
            continue
        dimensions.pop(path, None)
        fixed |= dict.fromkeys((path, *tied.pop(path, ())), entry)
    if problems:
        raise InputError(f"bad space: {join_problems(problems)}")
    return Space(dimensions=dimensions, fixed=fixed, tied=tied)


def _allows(base: Config, path: str, value: Any) -> bool:
    try:
        base.updated({path: value})
    except InputError:
        return False
    return True


def _widths(base: Config) -> tuple[int, ...]:
    width, heads = base.model.width, base.model.num_heads
    fits = [
        w for w in (width // 2, width, 2 * width) if base.model.kind == "fcnn" or w % heads == 0
    ]
    return tuple(w for w in fits if w > 0)


def _resolve(name: str, actions: Sequence[str]) -> str:
    """The one setting path a name stands for, as in `Config.updated`, with known actions only."""
    for open_path in (BY_ACTION, WINDOWS):
        for prefix in (open_path, open_path.rpartition(".")[2]):
            if name.startswith(f"{prefix}."):
                action = name[len(prefix) + 1 :]
                if action not in actions:
                    raise InputError(
                        f"unknown action {action!r} in {name!r}{_hint(action, actions)}"
                    )
                return f"{open_path}.{action}"
    paths = [path for path in setting_paths() if path not in (BY_ACTION, WINDOWS)]
    found = [path for path in paths if path == name or path.endswith(f".{name}")]
    if len(found) > 1:
        raise InputError(f"{name!r} could be any of {', '.join(found)}")
    if not found:
        known = paths + [path.rpartition(".")[2] for path in paths]
        raise InputError(f"unknown setting {name!r}{_hint(name, known)}")
    return found[0]


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _read_entry(
    base: Config, path: str, wanted: Any, default: Range | Choice | None
) -> Range | Choice | Any:
    """One override: a dimension, or the value that fixes it; each of its ends must be valid."""
    entry = wanted
    try:
        if isinstance(wanted, list):
            entry = Choice(choices=tuple(wanted))
        elif isinstance(wanted, dict):
            like = default.model_dump() if isinstance(default, Range) else {}
            current = _value(base, path)
            whole = isinstance(current, int) and not isinstance(current, bool)
            inherited = {"log": like.get("log", False), "integer": like.get("integer", whole)}
            entry = Range(**(inherited | wanted))
    except (ValidationError, TypeError) as error:
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path}: {text}, got {wanted!r}") from None
    if isinstance(entry, Range):
        tried: tuple[Any, ...] = (entry.nearest(entry.low), entry.nearest(entry.high))
    else:
        tried = entry.choices if isinstance(entry, Choice) else (entry,)
    for value in tried:
        try:
            base.updated({path: value})
        except InputError as error:
            raise InputError(str(error).removeprefix("bad settings: ")) from None
    return entry


def _value(base: Config, path: str) -> Any:
    """What a configuration has at a setting path."""
    weights = base.train.class_weights
    if path.startswith(f"{BY_ACTION}."):
        return weights.by_action.get(path[len(BY_ACTION) + 1 :], weights.default)
    if path.startswith(f"{WINDOWS}."):
        return base.spotting.window_of(path[len(WINDOWS) + 1 :])
    if weights.power is None and path in (SCALE, POWER):
        return weights.default if path == SCALE else 0.0
    value: Any = base
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _encode(path: str) -> str:
    return path.replace("%", "%25").replace("/", "%2F")


def _decode(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")

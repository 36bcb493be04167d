"""The entries of a space file: names, ranges, choices, conditions and points, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

from hmtas.config import Config, locate_setting
from hmtas.errors import InputError, did_you_mean
from hmtas.settings import short_names
from hmtas.validation import validated
from tune.space.dimensions import (
    BY_ACTION,
    WINDOWS,
    Choice,
    Range,
    Space,
    nearest_point,
    setting_of,
    value_at,
)

WIDTH = "model.width"
HEADS = "model.num_heads"
KIND = "model.kind"
GAMMA = "train.gamma"
_BY_ACTION = tuple(f"{prefix}." for path in (BY_ACTION, WINDOWS) for prefix in short_names(path))


def resolve(name: str, actions: Sequence[str]) -> str:
    """The one dimension a name stands for, as in `Config.updated`, with known actions only.

    Raises:
        InputError: If there is no such setting or action, or there are several.
    """
    # An action may hold an "@"; elsewhere it begins a label.
    by_action = name.startswith(_BY_ACTION)
    plain, at, label = (name, "", "") if by_action else name.partition("@")
    parent, key = locate_setting(plain)
    path = f"{parent}.{key}"
    if parent in (BY_ACTION, WINDOWS) and key not in actions:
        raise InputError(f"unknown action {key!r} in {name!r}{did_you_mean(key, actions)}")
    if path in (BY_ACTION, WINDOWS):
        raise InputError(f"{name!r} has a setting for each action, such as {path}.{actions[0]}")
    return f"{path}{at}{label}"


def read_entry(
    base: Config,
    key: str,
    wanted: Any,
    default: Range | Choice | None,
    *,
    actions: Sequence[str],
    apart: bool,
) -> tuple[Range | Choice | Any, Any]:
    """One entry of a user: a dimension, or the value that fixes it; its ends must be valid.

    `default` is what would be searched there otherwise. With `apart` a width is judged without the
    number of heads, and heads without the width: they are fitted to each other later.

    Returns:
        The entry without its condition, and the condition as it was given.

    Raises:
        InputError: If it is neither, or a value is not valid for the setting.
    """
    entry, when = wanted, None
    path = setting_of(key)
    if isinstance(wanted, list):
        entry = validated(Choice, {"choices": wanted}, key)
    elif isinstance(wanted, dict):
        given = dict(wanted)
        when = given.pop("when", None)
        if "choices" in given:
            entry = validated(Choice, given, key)
        else:
            like = default.model_dump() if isinstance(default, Range) else {}
            current = value_at(base, path)
            whole = isinstance(current, int) and not isinstance(current, bool)
            inherited = {"log": like.get("log", False), "integer": like.get("integer", whole)}
            entry = validated(Range, inherited | given, key)
    if isinstance(entry, Range):
        tried: tuple[Any, ...] = (entry.nearest(entry.low), entry.nearest(entry.high))
    else:
        tried = entry.choices if isinstance(entry, Choice) else (entry,)
    beside = _beside(when, actions)
    for value in tried:
        try:
            base.updated(beside | (_alone(path, value) if apart or path == KIND else {path: value}))
        except InputError as error:
            raise InputError(str(error).removeprefix("bad settings: ")) from None
    return entry, when


def read_when(
    key: str, when: Any, dimensions: Mapping[str, Range | Choice], actions: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    """A condition: other dimensions and the values they must have.

    Raises:
        InputError: If it is none, or names something that is not searched.
    """
    if when is None:
        return {}
    if not isinstance(when, dict):
        raise InputError(
            f"{key}: a condition is an object from settings to values, "
            f'such as {{"train.mixup_alpha": [0.2]}}; got {when!r}'
        )
    found: dict[str, tuple[Any, ...]] = {}
    for name, values in when.items():
        other = resolve(name, actions)
        dimension = dimensions.get(other)
        if dimension is None or other == key:
            raise InputError(f"{key} depends on {name!r}, which is not searched")
        if isinstance(dimension, Range) and not (dimension.integer or dimension.step):
            raise InputError(
                f"{key} depends on {name!r}, which has no values to tell apart: give it choices"
            )
        found[other] = tuple(values) if isinstance(values, list) else (values,)
    return found


def check_point(
    base: Config, space: Space, number: int, point: Any, actions: Sequence[str]
) -> dict[str, Any]:
    """A point to try first: settings by path, each a point of its dimension.

    Raises:
        InputError: If it names something that is not searched, or a value outside.
    """
    place = f"bad space: point {number}"
    if not isinstance(point, dict):
        raise InputError(f"{place} must be an object from settings to values, got {point!r}")
    settings = {resolve(name, actions): value for name, value in point.items()}
    beside = _alone(KIND, settings[KIND]) if KIND in settings else {}
    searched = {setting_of(key) for key in space.dimensions}
    for path, value in settings.items():
        if path not in searched:
            raise InputError(f"{place}: {path} is not searched; a point names dimensions only")
        try:
            base.updated(beside | _alone(path, value))
        except InputError as error:
            raise InputError(f"{place}: {str(error).removeprefix('bad settings: ')}") from None
    for key in nearest_point(base, space, settings):
        path = setting_of(key)
        if path in settings and not space.dimensions[key].contains(settings[path]):
            raise InputError(f"{place}: {path} is {settings[path]!r}, outside of {key}")
    return settings


def _beside(when: Any, actions: Sequence[str]) -> dict[str, Any]:
    """Settings under which a condition holds, so that a value is judged where it may come."""
    if not isinstance(when, dict):
        return {}
    beside: dict[str, Any] = {}
    for name, values in when.items():
        path = setting_of(resolve(name, actions))
        value = values[0] if isinstance(values, list) and values else values
        beside |= _alone(path, value)
    return beside


def _alone(path: str, value: Any) -> dict[str, Any]:
    """A width or a number of heads is judged without the other: they are fitted later.

    So is a kind without gamma: each has a gamma of its own.
    """
    if path == KIND:
        return {KIND: value, GAMMA: 1.0}
    if path == WIDTH:
        return {WIDTH: value, HEADS: 1}
    if path == HEADS and isinstance(value, int):
        return {WIDTH: max(value, 1), HEADS: value}
    return {path: value}

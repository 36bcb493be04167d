"""The entries of a space file: names, ranges, choices, conditions and points, checked."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from hmtas.config import Config, setting_paths
from hmtas.errors import InputError
from hmtas.validation import validated
from tune.space.dimensions import (
    BY_ACTION,
    WINDOWS,
    Choice,
    Range,
    Space,
    is_active,
    setting_of,
    value_at,
)

WIDTH = "model.width"
HEADS = "model.num_heads"


def resolve(name: str, actions: Sequence[str]) -> str:
    """The one dimension a name stands for, as in `Config.updated`, with known actions only.

    Raises:
        InputError: If there is no such setting or action, or there are several.
    """
    for open_path in (BY_ACTION, WINDOWS):
        for prefix in (open_path, open_path.rpartition(".")[2]):
            if name.startswith(f"{prefix}."):
                action = name[len(prefix) + 1 :]
                if action not in actions:
                    raise InputError(
                        f"unknown action {action!r} in {name!r}{_hint(action, actions)}"
                    )
                return f"{open_path}.{action}"
    plain, at, label = name.partition("@")
    paths = [path for path in setting_paths() if path not in (BY_ACTION, WINDOWS)]
    found = [path for path in paths if path == plain or path.endswith(f".{plain}")]
    if len(found) > 1:
        raise InputError(f"{name!r} could be any of {', '.join(found)}")
    if not found:
        known = paths + [path.rpartition(".")[2] for path in paths]
        raise InputError(f"unknown setting {name!r}{_hint(plain, known)}")
    return f"{found[0]}{at}{label}"


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def read_entry(
    base: Config, key: str, wanted: Any, default: Range | Choice | None, *, apart: bool
) -> tuple[Range | Choice | Any, Any]:
    """One entry: a dimension, or the value that fixes it; each of its ends must be valid.

    Args:
        base: What the study starts from.
        key: The dimension.
        wanted: What a user wrote.
        default: What would be searched there.
        apart: Judge a width without the number of heads, and heads without the width, as they are
            fitted together later.

    Returns:
        The entry without its condition, and the condition as it was given.

    Raises:
        InputError: If it is none, or a value is not valid for the setting.
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
    for value in tried:
        try:
            base.updated(_alone(path, value) if apart else {path: value})
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
    searched = {setting_of(key) for key in space.dimensions}
    for path, value in settings.items():
        if path not in searched:
            raise InputError(f"{place}: {path} is not searched; a point names dimensions only")
        try:
            base.updated(_alone(path, value))
        except InputError as error:
            raise InputError(f"{place}: {str(error).removeprefix('bad settings: ')}") from None
    values: dict[str, Any] = {}
    for key, dimension in space.dimensions.items():
        if not is_active(dimension, values):
            continue
        path = setting_of(key)
        if path in settings and not dimension.contains(settings[path]):
            raise InputError(f"{place}: {path} is {settings[path]!r}, outside of {key}")
        values[key] = dimension.nearest(settings.get(path, value_at(base, path)))
    return settings


def _alone(path: str, value: Any) -> dict[str, Any]:
    """A width or a number of heads is judged without the other: they are fitted later."""
    if path == WIDTH:
        return {WIDTH: value, HEADS: 1}
    if path == HEADS and isinstance(value, int):
        return {WIDTH: max(value, 1), HEADS: value}
    return {path: value}

"""A space as a table: what is searched, under which condition, and where the search starts."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from hmtas.config import Config
from hmtas.console import say, show
from tune.space import Choice, Range, Space, nearest_point, setting_of


def show_space(base: Config, space: Space) -> None:
    """Print every dimension with the value it has first, then what is fixed."""
    first = nearest_point(base, space)
    table = Table(title=f"{len(space.dimensions)} dimensions", title_justify="left")
    for heading in ("setting", "values", "only where", "first", "and as well"):
        table.add_column(heading, justify="right" if heading == "first" else "left")
    for key, dimension in space.dimensions.items():
        tied = [_last(path) for path in space.tied.get(setting_of(key), ())]
        value = _number(first[key]) if key in first else ""
        table.add_row(key, ranges(dimension), _when(dimension.when), value, ", ".join(tied))
    show(table)
    for path, value in space.fixed.items():
        say(f"fixed: {path} = {_number(value)}")
    for i, point in enumerate(space.points, 1):
        named = ", ".join(f"{_last(path)} {_number(value)}" for path, value in point.items())
        say(f"tried first, after the preset: point {i}: {named or 'the preset'}")


def ranges(dimension: Range | Choice) -> str:
    """The values of a dimension in words."""
    if isinstance(dimension, Choice):
        return "one of " + ", ".join(map(_number, dimension.choices))
    text = f"{_number(dimension.low)} to {_number(dimension.high)}"
    if dimension.step is not None:
        text += f", every {_number(dimension.step)}"
    return text + (", log" if dimension.log else "") + (", whole" if dimension.integer else "")


def _when(when: Mapping[str, tuple[Any, ...]]) -> str:
    return "; ".join(f"{_last(k)} is {' or '.join(map(_number, v))}" for k, v in when.items())


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _number(value: Any) -> str:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if plain else str(value)

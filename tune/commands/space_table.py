"""A space as a table: what is searched, under which condition, and where the search starts."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from hmtas.config import Config
from hmtas.terminal.console import say, show
from tune.space.dimensions import Space, nearest_point, setting_of
from tune.space.labels import range_text, text_of


def show_space(base: Config, space: Space) -> None:
    """Print every dimension with the value it has first, then what is fixed."""
    first = nearest_point(base, space)
    table = Table(title=f"{len(space.dimensions)} dimensions", title_justify="left")
    for heading in ("setting", "values", "only where", "first", "and as well"):
        table.add_column(heading, justify="right" if heading == "first" else "left")
    for key, dimension in space.dimensions.items():
        tied = [_last(path) for path in space.tied.get(setting_of(key), ())]
        value = text_of(first[key], 6) if key in first else ""
        table.add_row(key, range_text(dimension), _when(dimension.when), value, ", ".join(tied))
    show(table)
    for path, value in space.fixed.items():
        say(f"fixed: {path} = {text_of(value, 6)}")
    for i, point in enumerate(space.points, 1):
        named = ", ".join(f"{_last(path)} {text_of(value, 6)}" for path, value in point.items())
        say(f"tried first, after the preset: point {i}: {named or 'the preset'}")


def _when(when: Mapping[str, tuple[Any, ...]]) -> str:
    return "; ".join(
        f"{_last(k)} is {' or '.join(text_of(x, 6) for x in v)}" for k, v in when.items()
    )


def _last(path: str) -> str:
    return path.rpartition(".")[2]

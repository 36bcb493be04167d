"""Short names for what a study searches, and the order people look at it in."""

from typing import Any

from hmtas.config import Config
from hmtas.terminal.table import Table
from hmtas.terminal.text import counted
from tune.space.default import LEARNING_RATE, SEQ_LEN, THRESHOLD
from tune.space.dimensions import (
    BY_ACTION,
    POWER,
    SCALE,
    WINDOWS,
    Choice,
    Range,
    Space,
    nearest_point,
    setting_of,
)
from tune.space.file import GAMMA, KIND, WIDTH

_NAMES = {
    SEQ_LEN: "window length L",
    GAMMA: "gamma",
    SCALE: "class weight, scale",
    POWER: "class weight, power",
    "model.num_heads": "heads",
    "model.num_layers": "layers",
    "model.stream_dropout": "dropout",
    "train.mixup_alpha": "mix-up alpha",
}
_FIRST = (KIND, SEQ_LEN, GAMMA, SCALE, POWER, BY_ACTION, LEARNING_RATE, WIDTH)
_LAST = (THRESHOLD, WINDOWS)


def label_of(key: str, space: Space) -> str:
    """A dimension in words; one class weight may stand for a group of actions in its space."""
    path = setting_of(key)
    if path.startswith(f"{BY_ACTION}."):
        others = len(space.tied.get(path, ()))
        return f"weight: {path[len(BY_ACTION) + 1 :]}" + (f" and {others} more" if others else "")
    if path.startswith(f"{WINDOWS}."):
        return f"NMS window: {path[len(WINDOWS) + 1 :]}"
    name = _NAMES.get(path, last_name(path).replace("_", " "))
    label = key[len(path) + 1 :]
    return f"{name} ({label})" if label else name


def in_order(space: Space) -> list[str]:
    """Dimensions: kind, L, gamma and class weights first, NMS windows last."""

    def place(key: str) -> int:
        for i, head in enumerate(_FIRST):
            if key == head or key.startswith((f"{head}.", f"{head}@")):
                return i
        late = any(key == tail or key.startswith(f"{tail}.") for tail in _LAST)
        return len(_FIRST) + late

    return sorted(space.dimensions, key=place)


def searched(space: Space) -> list[str]:
    """`in_order` without what has one value alone: a setting that comes with a kind of model."""
    return [key for key in in_order(space) if space.dimensions[key].num_values > 1]


def range_text(dimension: Range | Choice) -> str:
    """The values of a dimension in words."""
    if isinstance(dimension, Choice):
        return "one of " + ", ".join(text_of(v, 6) for v in dimension.choices)
    text = f"{text_of(dimension.low, 6)} to {text_of(dimension.high, 6)}"
    if dimension.step is not None:
        text += f", every {text_of(dimension.step, 6)}"
    return text + (", log" if dimension.log else "") + (", whole" if dimension.integer else "")


def text_of(value: Any, digits: int = 4) -> str:
    """A setting's value, short."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.{digits}g}" if plain else str(value)


def space_table(base: Config, space: Space) -> Table:
    """Every dimension with the value it has first, then what is fixed."""
    first = nearest_point(base, space)
    rows = [
        (
            label_of(key, space),
            setting_of(key),
            range_text(dimension),
            "; ".join(
                f"{label_of(other, space)} is {' or '.join(text_of(value, 6) for value in values)}"
                for other, values in dimension.when.items()
            ),
            text_of(first[key], 6) if key in first else "",
            ", ".join(last_name(path) for path in space.tied.get(setting_of(key), ())),
        )
        for key in in_order(space)
        for dimension in (space.dimensions[key],)
    ]
    rows += [
        (last_name(path), path, f"fixed: {text_of(value, 6)}", "", "", "")
        for path, value in space.fixed.items()
    ]
    return Table(
        heads=("what", "setting", "values", "only\nwhere", "first", "and as well"),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 3, 5}),
        title=counted(len(space.dimensions), "dimension"),
    )


def last_name(path: str) -> str:
    """The last name of a path; an action may hold a dot."""
    for table in (BY_ACTION, WINDOWS):
        if path.startswith(f"{table}."):
            return path[len(table) + 1 :]
    return path.rpartition(".")[2]

"""The actions in their fixed order, and `Labels-v2.json` to `Events` (thesis Table 5.1)."""

import difflib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hmtas.errors import InputError
from hmtas.files import read_json, walk_files
from hmtas.records import Events, HalfId

ACTIONS = (
    "Penalty",
    "Kick-off",
    "Goal",
    "Substitution",
    "Offside",
    "Shots on target",
    "Shots off target",
    "Clearance",
    "Ball out of play",
    "Throw-in",
    "Foul",
    "Indirect free-kick",
    "Direct free-kick",
    "Corner",
    "Yellow card",
    "Red card",
    "Yellow->red card",
)
"""The 17 actions of SoccerNet-v2, in the order of every array of this project."""

LABEL_FILE = "Labels-v2.json"
HALVES = (1, 2)
Times = Literal["position", "game_time"]
_GAME_TIME = re.compile(r"\s*([12])\s*-\s*(\d+):(\d{1,2})\s*")


def find_games(root: Path, files: str = "[12]_*.npy") -> list[str]:
    """List the games below `root`: every folder that holds labels or `files`.

    Returns:
        Paths relative to `root` with forward slashes, sorted.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder of games")
    folders = {
        path.parent
        for path in walk_files(root)
        if path.name == LABEL_FILE or fnmatchcase(path.name, files)
    }
    return sorted(folder.relative_to(root).as_posix() for folder in folders)


def read_events(
    root: Path,
    game: str,
    actions: Sequence[str] = ACTIONS,
    times: Times = "position",
) -> dict[int, Events]:
    """Read one game's annotations.

    A label's time is its `position` in milliseconds; without one, its `gameTime`, in whole
    seconds. A label without `visibility` counts as visible. Times are kept as annotated: the
    half-second grid belongs to the metric.

    Args:
        root: Tree of games.
        game: Folder below it.
        actions: Names, in the order of the indices.
        times: `game_time` always takes whole seconds, as the evaluator did when the scores of
            2021 were published.

    Returns:
        Events of half 1 and half 2, each sorted by time.

    Raises:
        InputError: If the file is unreadable, a label is unknown, or a time is malformed.
    """
    path = root / game / LABEL_FILE
    document = read_json(path)
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        raise InputError(f"{path}: no list named 'annotations'; is this a SoccerNet label file?")
    index = {action: i for i, action in enumerate(actions)}
    rows: dict[int, list[tuple[float, int, bool]]] = {half: [] for half in HALVES}
    for number, annotation in enumerate(annotations):
        place = f"{path}, annotation {number}"
        half, time_s = _read_time(annotation, place, times)
        action = find_action(annotation.get("label"), index, place)
        rows[half].append((time_s, action, annotation.get("visibility") != "not shown"))
    return {half: _to_events(HalfId(game, half), rows[half]) for half in HALVES}


def find_action(label: object, index: Mapping[str, int], place: str) -> int:
    """The index of an action that a file at `place` names.

    Raises:
        InputError: If there is no such action, naming the closest.
    """
    if not isinstance(label, str) or label not in index:
        close = difflib.get_close_matches(str(label), index, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{place}: unknown action {label!r}; the actions are those of the store, "
            f"the closest is {close!r} (a typo, or a file of another data set?)"
        )
    return index[label]


def _to_events(half: HalfId, rows: list[tuple[float, int, bool]]) -> Events:
    ordered = sorted(rows, key=lambda row: row[0])  # stable: ties keep the order of the file
    return Events(
        half=half,
        time_s=np.array([row[0] for row in ordered], dtype=np.float64),
        action=np.array([row[1] for row in ordered], dtype=np.int64),
        visible=np.array([row[2] for row in ordered], dtype=np.bool_),
    )


def _read_time(annotation: Any, place: str, times: Times) -> tuple[int, float]:
    """Half and seconds of one annotation, by the evaluator's rule."""
    game_time = annotation.get("gameTime") if isinstance(annotation, dict) else None
    match = _GAME_TIME.fullmatch(str(game_time))
    if match is None:
        raise InputError(f"{place}: gameTime must read like '1 - 12:34', got {game_time!r}")
    half, minutes, seconds = (int(group) for group in match.groups())
    position = annotation.get("position")
    if times == "game_time" or position is None or position == "":
        return half, float(60 * minutes + seconds)
    try:
        time_s = int(position) / 1000
    except (TypeError, ValueError):
        raise InputError(f"{place}: position must be milliseconds, got {position!r}") from None
    if time_s < 0:
        raise InputError(f"{place}: position must not be negative, got {position!r} ms")
    return half, time_s

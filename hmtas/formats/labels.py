"""The actions in their fixed order, and `Labels-v2.json` to `Events` (thesis Table 5.1)."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hmtas.errors import InputError, quoted
from hmtas.files import read_json, walk_files
from hmtas.records import Events, HalfId
from hmtas.terminal.text import counted

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
_Row = tuple[float, int, bool]  # seconds, action, visible
MOST_APART_S = 1.0  # between position and gameTime, which has whole seconds
LATEST_MS = 2**53  # of a position; above it milliseconds are no longer exact
FEW_LABELS = 20  # a half without labels is odd where the other has more
MOST_REPEATED = 0.25  # of a file's labels; in SoccerNet's it is 0.02 at most
_GAME_TIME = re.compile(r"\s*([12])\s*-\s*(\d{1,3}):([0-5]?\d)\s*")
_VISIBLE = {
    **dict.fromkeys(("", "visible", "shown", "true"), True),
    **dict.fromkeys(("not shown", "not visible", "unshown", "invisible", "false"), False),
}


class Oddity(NamedTuple):
    """Labels of a game that contradict themselves, and are taken all the same."""

    game: str
    what: str
    num_labels: int


def game_time_s(text: object) -> tuple[int, int] | None:
    """Half and seconds of a gameTime such as "1 - 12:34"; None if it is no such text."""
    match = _GAME_TIME.fullmatch(str(text))
    if match is None:
        return None
    half, minutes, seconds = (int(group) for group in match.groups())
    return half, 60 * minutes + seconds


def find_games(
    root: Path,
    files: str = "[12]_*.npy",
    *,
    on_dead_link: Callable[[Path], None] = lambda path: None,
) -> list[str]:
    """List the games below `root`: every folder that holds labels or `files`.

    `on_dead_link` is called with each other file that is a link to nothing.

    Returns:
        Paths relative to `root` with forward slashes, sorted.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder of games")
    folders = set()
    for path in walk_files(root):
        if path.name == LABEL_FILE or fnmatchcase(path.name, files):
            folders.add(path.parent)
        elif path.is_symlink() and not path.exists():
            on_dead_link(path)
    return sorted(folder.relative_to(root).as_posix() for folder in folders)


def read_events(
    root: Path,
    game: str,
    actions: Sequence[str] = ACTIONS,
    times: Times = "position",
    *,
    on_oddity: Callable[[Oddity], None] = lambda oddity: None,
) -> dict[int, Events]:
    """Read one game's annotations.

    A label's time is its `position` in milliseconds; without one, its `gameTime`, in whole
    seconds. Where the two are more than a second apart, the position counts. A label without
    `visibility` counts as visible; the evaluator knows "not shown" in this spelling alone. Times
    are kept as annotated: the half-second grid belongs to the metric.

    Args:
        root: Tree of games.
        game: Folder below it.
        actions: Names, in the order of the indices.
        times: `game_time` always takes whole seconds, as the evaluator did when the scores of
            2021 were published.
        on_oddity: Called with what contradicts itself, and is taken all the same.

    Returns:
        Events of half 1 and half 2, each sorted by time.

    Raises:
        InputError: If the file is unreadable, a label or visibility is unknown, a time is
            malformed, or most labels have a position that is not their gameTime.
    """
    path = root / game / LABEL_FILE
    document = read_json(path)
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        raise InputError(f"{path}: no list named 'annotations'; is this a SoccerNet label file?")
    index = {action: i for i, action in enumerate(actions)}
    rows: dict[int, list[_Row]] = {half: [] for half in HALVES}
    apart = []
    for number, annotation in enumerate(annotations):
        place = f"{path}, annotation {number}"
        half, whole_s, time_s = _read_time(annotation, place, times)
        action = find_action(annotation.get("label"), index, place)
        rows[half].append((time_s, action, _is_visible(annotation, place)))
        if are_apart(whole_s, time_s):
            apart.append(annotation)
    check_apart(str(path), apart, len(annotations), "label")
    for what, count in _oddities(document, game, rows, apart):
        on_oddity(Oddity(game, what, count))
    return {half: _to_events(HalfId(game, half), rows[half]) for half in HALVES}


def are_apart(whole_s: int, time_s: float) -> bool:
    """Do gameTime and position contradict each other? One of 00:00 names no more than the half."""
    return whole_s > 0 and abs(time_s - whole_s) > MOST_APART_S


def check_apart(place: str, apart: Sequence[Mapping[str, Any]], number: int, noun: str) -> None:
    """Refuse positions most of which are not where their gameTime is.

    Raises:
        InputError: If more than half of `number` labels or predictions are `apart`.
    """
    if 2 * len(apart) > number:
        raise InputError(
            f"{place}: position and gameTime must be the same moment, but are not in {len(apart)} "
            f"of {counted(number, noun)}, {example_of(apart)}; a position is milliseconds from the "
            "start of its half: are these seconds, or all 0?"
        )


def example_of(apart: Sequence[Mapping[str, Any]]) -> str:
    """The first label or prediction whose times contradict each other, in words."""
    first = apart[0]
    half = f" of half {quoted(first['half'])}" if "half" in first else ""
    return (
        f"the first at gameTime {quoted(first['gameTime'])} and position "
        f"{quoted(first['position'])}{half}"
    )


def is_another(named: object, game: str) -> bool:
    """Is what a file says in UrlLocal another game? It may begin further up, or further down."""
    if not isinstance(named, str):
        return False
    path = f"/{named.replace(chr(92), '/').strip('/')}"
    return path != "/" and not path.endswith(f"/{game}") and not f"/{game}".endswith(path)


def _oddities(
    document: Mapping[str, Any], game: str, rows: Mapping[int, list[_Row]], apart: Sequence[Any]
) -> Iterator[tuple[str, int]]:
    """What contradicts itself in the labels of a game, and in how many of them."""
    number = sum(map(len, rows.values()))
    if apart:
        yield f"position and gameTime differ by seconds, {example_of(apart)}", len(apart)
    if is_another(document.get("UrlLocal"), game):
        yield f"UrlLocal is another game, {quoted(document['UrlLocal'])}", number
    for half, other in (HALVES, HALVES[::-1]):
        if not rows[half] and len(rows[other]) > FEW_LABELS:
            yield f"no label in half {half}, all in half {other}", number
    repeated = number - sum(len(set(found)) for found in rows.values())
    if repeated > MOST_REPEATED * number:
        yield "the same label twice or more", repeated


def _is_visible(annotation: Mapping[str, Any], place: str) -> bool:
    """Whether the broadcast shows an action; a label that says nothing counts as visible."""
    value = annotation.get("visibility")
    words = "" if value is None else str(value).lower()
    known = _VISIBLE.get(" ".join(re.split(r"[\s_-]+", words.strip())))
    if known is None:
        raise InputError(
            f"{place}: visibility must be 'visible' or 'not shown', got {quoted(value)}"
        )
    return known


def find_action(label: object, index: Mapping[str, int], place: str) -> int:
    """The index of an action that a file at `place` names.

    Raises:
        InputError: If there is no such action, naming the closest.
    """
    if not isinstance(label, str) or label not in index:
        close = difflib.get_close_matches(str(label), index, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{place}: unknown action {quoted(label)}; the actions are those of the store, "
            f"the closest is {close!r} (a typo, or a file of another data set?)"
        )
    return index[label]


def _to_events(half: HalfId, rows: list[_Row]) -> Events:
    ordered = sorted(rows, key=lambda row: row[0])  # stable: ties keep the order of the file
    return Events(
        half=half,
        time_s=np.array([row[0] for row in ordered], dtype=np.float64),
        action=np.array([row[1] for row in ordered], dtype=np.int64),
        visible=np.array([row[2] for row in ordered], dtype=np.bool_),
    )


def _read_time(annotation: Any, place: str, times: Times) -> tuple[int, int, float]:
    """Half of one annotation, its gameTime, and its time by the evaluator's rule; seconds."""
    game_time = annotation.get("gameTime") if isinstance(annotation, dict) else None
    found = game_time_s(game_time)
    if found is None:
        raise InputError(f"{place}: gameTime must read like '1 - 12:34', got {quoted(game_time)}")
    half, whole_s = found
    position = annotation.get("position")
    if times == "game_time" or position is None or position == "":
        return half, whole_s, float(whole_s)
    try:
        position_ms = int(position)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{place}: position must be milliseconds, got {quoted(position)}"
        ) from None
    if not 0 <= position_ms < LATEST_MS:
        rule = "must not be negative" if position_ms < 0 else "is past the end of any half"
        raise InputError(f"{place}: position {rule}, got {quoted(position)} ms")
    return half, whole_s, position_ms / 1000

"""A label file in the folder of each game, as SoccerNet has them.

    <league>/<season>/<game>/Labels-v2.json      17 actions
    <league>/<season>/<game>/Labels-ball.json    12 actions of the ball, one video per game
    <league>/<season>/<game>/Labels.json         version 1: cards, substitutions, goals

A label's time is its `position` in milliseconds; without one, its `gameTime`, in whole seconds.
Where the two are more than a second apart, the position counts. A label without `visibility`
counts as visible; the evaluator knows "not shown" in this spelling alone. Times are kept as
annotated: the half-second grid belongs to the metric.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hmtas.errors import InputError, quoted
from hmtas.files import read_json, walk_files
from hmtas.formats.actions import ACTIONS, BALL_ACTIONS, V1_ACTIONS
from hmtas.formats.labels import REPEATED, GameLabels, Label, Oddity, Recording, repeated, to_events
from hmtas.formats.splits import Splits
from hmtas.formats.times import (
    Times,
    are_apart,
    check_apart,
    example_of,
    read_game_time,
    read_position_s,
)
from hmtas.records import Events, HalfId

LABEL_FILE = "Labels-v2.json"
LABEL_FILES = {
    "soccernet-v2": LABEL_FILE,
    "soccernet-ball": "Labels-ball.json",
    "soccernet-v1": "Labels.json",
}
"""The file of each format; a tree that has several is read as the first."""
_ACTIONS = {
    "soccernet-v2": ACTIONS,
    "soccernet-ball": BALL_ACTIONS,
    "soccernet-v1": V1_ACTIONS,
}
EMBEDDINGS = "[1-9]*_*.npy"
_VISIBLE = {
    **dict.fromkeys(("", "visible", "shown", "true"), True),
    **dict.fromkeys(("not shown", "not visible", "unshown", "invisible", "false"), False),
}
# The evaluator of version 1 looks for these in a label, in this order, and skips what has none.
_V1_WORDS = {"card": "Card", "subs": "Substitution", "soccer": "Goal"}


@dataclass(frozen=True)
class LabelTree:
    """A tree of games with a label file each (`hmtas.formats.labels.LabelSource`)."""

    root: Path
    format: str
    games: Sequence[str]
    times: Times = "position"
    recordings: Mapping[HalfId, Recording] = field(default_factory=dict)
    splits: Splits | None = None

    @property
    def place(self) -> str:
        """The tree."""
        return str(self.root)

    @property
    def actions(self) -> tuple[str, ...]:
        """Those of the format."""
        return _ACTIONS[self.format]

    @property
    def actions_from(self) -> str:
        """The format."""
        return f"the format {self.format}"

    def label_file(self, game: str) -> Path:
        """Where the labels of a game are, or should be."""
        return self.root / game / LABEL_FILES[self.format]

    def is_labelled(self, game: str) -> bool:
        """Has a game a label file?"""
        return self.label_file(game).is_file()

    def read(self, game: str) -> GameLabels:
        """The annotations of a game."""
        return read_labels(self.label_file(game), game, self.format, self.times)


def find_games(
    root: Path,
    files: str = EMBEDDINGS,
    *,
    label_file: str = LABEL_FILE,
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
        if path.name == label_file or fnmatchcase(path.name, files):
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
    """Read one game's `Labels-v2.json`.

    Args:
        root: Tree of games.
        game: Folder below it.
        actions: Names, in the order of the indices.
        times: `game_time` always takes whole seconds, as the evaluator did when the scores of
            2021 were published.
        on_oddity: Called with what contradicts itself, and is taken all the same.

    Returns:
        Events of half 1, of half 2, and of others that have any, each sorted by time.

    Raises:
        InputError: If the file is unreadable, a label or visibility is unknown, a time is
            malformed, or most labels have a position that is not their gameTime.
    """
    found = read_labels(root / game / LABEL_FILE, game, "soccernet-v2", times)
    for oddity in found.oddities:
        on_oddity(oddity)
    return to_events(game, found.labels, actions)


def read_labels(path: Path, game: str, kind: str, times: Times = "position") -> GameLabels:
    """The annotations of a label file of a kind, one of the three formats.

    Raises:
        InputError: See `read_events`; the names of labels are not looked at.
    """
    document = read_json(path)
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list):
        raise InputError(f"{path}: no list named 'annotations'; is this a SoccerNet label file?")
    labels, apart, skipped = [], [], 0
    for number, annotation in enumerate(annotations):
        place = f"{path}, annotation {number}"
        half, whole_s, time_s = _read_time(annotation, place, times)
        name = annotation.get("label")
        if not isinstance(name, str) or not name:
            raise InputError(f"{place}: label must be the name of an action, got {quoted(name)}")
        if kind == "soccernet-v1":
            action = next((action for word, action in _V1_WORDS.items() if word in name), None)
            if action is None:
                skipped += 1
                continue
            name = action
        team = annotation.get("team")
        labels.append(Label(half, time_s, name, place, is_visible(annotation, place),
                            team if isinstance(team, str) else ""))  # fmt: skip
        if are_apart(whole_s, time_s):
            apart.append(annotation)
    check_apart(str(path), apart, len(annotations), "label")
    odd = [Oddity(game, what, count) for what, count in _oddities(document, game, labels, apart)]
    if skipped:
        odd.append(Oddity(game, "neither card, substitution nor goal, and left out", skipped))
    return GameLabels(tuple(labels), tuple(odd))


def is_another(named: object, game: str) -> bool:
    """Is what a file says in UrlLocal another game? It may begin further up, or further down."""
    if not isinstance(named, str):
        return False
    path = f"/{named.replace(chr(92), '/').strip('/')}"
    return path != "/" and not path.endswith(f"/{game}") and not f"/{game}".endswith(path)


def is_visible(annotation: Mapping[str, Any], place: str) -> bool:
    """Whether the broadcast shows an action; a label that says nothing counts as visible.

    Raises:
        InputError: If it says something else.
    """
    value = annotation.get("visibility")
    if value is None:
        return True
    known = None
    if isinstance(value, str | bool):
        known = _VISIBLE.get(" ".join(re.split(r"[\s_-]+", str(value).lower().strip())))
    if known is None:
        raise InputError(
            f"{place}: visibility must be 'visible' or 'not shown', got {quoted(value)}"
        )
    return known


def _oddities(
    document: Mapping[str, Any], game: str, labels: Sequence[Label], apart: Sequence[Any]
) -> Iterator[tuple[str, int]]:
    """What contradicts itself in the labels of a game, and in how many of them."""
    if apart:
        yield f"position and gameTime differ by seconds, {example_of(apart)}", len(apart)
    if is_another(document.get("UrlLocal"), game):
        yield f"UrlLocal is another game, {quoted(document['UrlLocal'])}", len(labels)
    if number := repeated(labels):
        yield REPEATED, number


def _read_time(annotation: Any, place: str, times: Times) -> tuple[int, int, float]:
    """Half of one annotation, its gameTime, and its time by the evaluator's rule; seconds."""
    game_time = annotation.get("gameTime") if isinstance(annotation, dict) else None
    half, whole_s = read_game_time(game_time, place)
    position = annotation.get("position")
    if times == "game_time" or position is None or position == "":
        return half, whole_s, float(whole_s)
    return half, whole_s, read_position_s(position, place)

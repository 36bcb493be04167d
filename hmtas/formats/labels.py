"""Annotations of a game: as its label file has them, and as `Events` of the store's actions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from hmtas.formats.actions import LEFT_OUT, Naming, find_action
from hmtas.formats.splits import Splits
from hmtas.records import Events, HalfId

HALVES = (1, 2)
"""The parts of a game that has no other."""
AS_LABELLED = Naming()
REPEATED = "the same label twice or more"
MOST_REPEATED = 0.25  # of a game's labels; in SoccerNet's it is 0.02 at most


class Label(NamedTuple):
    """An annotation, as a file has it."""

    half: int
    time_s: float
    name: str
    place: str  # for messages: the file, and where in it
    visible: bool = True
    team: str = ""  # "" where the file does not say
    confidence: object = None  # of a prediction, as the file has it


class Oddity(NamedTuple):
    """Labels of a game that contradict themselves, and are taken all the same."""

    game: str
    what: str
    num_labels: int


class GameLabels(NamedTuple):
    """Every annotation of a game, and what is odd about them."""

    labels: tuple[Label, ...]
    oddities: tuple[Oddity, ...] = ()


class Recording(NamedTuple):
    """What a label file says of one half, besides its labels."""

    video: str  # as the file names it
    features: tuple[str, ...] = ()  # paths of embeddings
    fps: float | None = None  # frames of the video
    duration_s: float | None = None
    rates_hz: tuple[float | None, ...] = ()  # rows a second of `features`, where it says


def repeated(labels: Sequence[Label]) -> int:
    """How many labels say what another one has said, where that is odd; 0 where it is not."""
    said = {label._replace(place="", team="", confidence=None) for label in labels}
    number = len(labels) - len(said)
    return number if number > MOST_REPEATED * len(labels) else 0


class LabelSource(Protocol):
    """The labels of a data set, whatever their format."""

    @property
    def format(self) -> str:
        """Name of the format, as `--format` takes it."""

    @property
    def place(self) -> str:
        """Where they are, for messages."""

    @property
    def games(self) -> Sequence[str]:
        """Every game, labelled or not, sorted."""

    @property
    def splits(self) -> Splits | None:
        """Games of each split, where the format says."""

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that the format or the files list; none if they list none."""

    @property
    def actions_from(self) -> str:
        """What lists the actions, in words."""

    @property
    def recordings(self) -> Mapping[HalfId, Recording]:
        """What the files say of the halves; nothing in a tree of SoccerNet."""

    def is_labelled(self, game: str) -> bool:
        """Has a game annotations, be it none?"""

    def label_file(self, game: str) -> Path:
        """Where the labels of a game are, or should be."""

    def read(self, game: str) -> GameLabels:
        """The annotations of a game.

        Raises:
            InputError: If they are malformed.
        """


def to_events(
    game: str,
    labels: Iterable[Label],
    actions: Sequence[str],
    naming: Naming = AS_LABELLED,
    halves: Sequence[int] = HALVES,
) -> dict[int, Events]:
    """Annotations of every half, each sorted by time; those at one time as in the file.

    Args:
        game: Name of the game.
        labels: Its annotations.
        actions: Names, in the order of the indices.
        naming: How labels become actions.
        halves: Halves to have even without a label.

    Raises:
        InputError: If a label is none of the actions.
    """
    index = {action: i for i, action in enumerate(actions)}
    rows: dict[int, list[tuple[float, int, bool]]] = {half: [] for half in halves}
    for label in labels:
        name = naming.action_of(label.name, label.team, label.place, index)
        if name != LEFT_OUT:
            action = find_action(name, index, label.place)
            rows.setdefault(label.half, []).append((label.time_s, action, label.visible))
    return {half: _to_events(HalfId(game, half), rows[half]) for half in sorted(rows)}


def _to_events(half: HalfId, rows: list[tuple[float, int, bool]]) -> Events:
    ordered = sorted(rows, key=lambda row: row[0])  # stable: ties keep the order of the file
    return Events(
        half=half,
        time_s=np.array([row[0] for row in ordered], dtype=np.float64),
        action=np.array([row[1] for row in ordered], dtype=np.int64),
        visible=np.array([row[2] for row in ordered], dtype=np.bool_),
    )

"""The form of a season on disk: names, places and label files of its games, as a sport has them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmtas.season.chains import SimulatedHalf

FRAMES_PER_S = 25
FRAME_MS = 1000 // FRAMES_PER_S
Parts = tuple[SimulatedHalf, ...]  # 1, 2, ... of one game


class Game(NamedTuple):
    """One game of a season, as it was played."""

    name: str
    parts: Parts


class Label(NamedTuple):
    """What an annotator wrote down of one event."""

    part: int  # from 1
    time_s: float
    action: str
    home: bool
    visible: bool


@dataclass(frozen=True, kw_only=True)
class Form(ABC):
    """How the seasons of a sport are written."""

    actions: tuple[str, ...]

    @abstractmethod
    def name_of(self, number: int, parts: Parts) -> str:
        """The name of game `number`, no other game's."""

    @abstractmethod
    def embedding_file(self, game: str, part: int, stream: str) -> str:
        """Path of a stream of a part, below the folder of the season."""

    def write_labels(self, root: Path, game: Game) -> None:
        """Write the file that a game's labels have for themselves, if there is none yet."""
        del root, game  # the lists of a season hold the labels too, unless a form says otherwise

    @abstractmethod
    def write_lists(
        self,
        root: Path,
        splits: Mapping[str, Sequence[Game]],
        streams: Sequence[str],
        rate_hz: float,
    ) -> None:
        """Write what lists the games of the splits; the games of `challenge` without labels."""

    def labels_of(self, parts: Parts) -> Iterator[Label]:
        """The labels of a game, in order of the annotated time."""
        for number, played in enumerate(parts, 1):
            for i in np.argsort(played.label_s, kind="stable"):
                yield Label(
                    part=number,
                    time_s=float(played.label_s[i]),
                    action=self.actions[played.action[i]],
                    home=bool(played.home[i]),
                    visible=bool(played.visible[i]),
                )


def on_frames_ms(time_s: float) -> int:
    """The frame nearest to a time, in milliseconds."""
    return FRAME_MS * round(FRAMES_PER_S * time_s)

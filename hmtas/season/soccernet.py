"""A season in SoccerNet's layout: a folder for each game, labels beside the embeddings."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.files import write_json
from hmtas.formats.soccernet import LABEL_FILE, LABEL_FILES
from hmtas.formats.splits import SPLIT_FILE
from hmtas.formats.times import game_time_at
from hmtas.season.forms import Form, Game, Label, Parts, on_frames_ms

BALL_LABEL_FILE = LABEL_FILES["soccernet-ball"]


@dataclass(frozen=True, kw_only=True)
class SoccerNet(Form):
    """Games in folders of leagues, a file for each part and stream, and `splits.json`."""

    goal: str = "Goal"  # the action that the score in a game's name counts
    label_file: str = LABEL_FILE
    teams: tuple[str, str] = ("home", "away")
    on_frames: bool = False  # labels lie on frames of the video

    def name_of(self, number: int, parts: Parts) -> str:
        """The folder of a game, with the score that was played."""
        goal = self.actions.index(self.goal)
        home = np.concatenate([played.home[played.action == goal] for played in parts])
        return game_name(number, int(home.sum()), int((~home).sum()))

    def embedding_file(self, game: str, part: int, stream: str) -> str:
        """As `1_vtn.npy` in the folder of the game."""
        return f"{game}/{part}_{stream}.npy"

    def write_labels(self, root: Path, game: Game) -> None:
        """Write the labels of a game into its folder."""
        path = root / game.name / self.label_file
        if not path.exists():
            annotations = [self._annotation(label) for label in self.labels_of(game.parts)]
            write_json(path, {"UrlLocal": game.name, "annotations": annotations})

    def _annotation(self, label: Label) -> dict[str, Any]:
        position_ms = on_frames_ms(label.time_s) if self.on_frames else round(1000 * label.time_s)
        return {
            "gameTime": game_time_at(label.part, position_ms),
            "label": label.action,
            "position": str(position_ms),
            "team": self.teams[0 if label.home else 1],
            "visibility": "visible" if label.visible else "not shown",
        }

    def write_lists(
        self,
        root: Path,
        splits: Mapping[str, Sequence[Game]],
        streams: Sequence[str],
        rate_hz: float,
    ) -> None:
        """Write the splits."""
        del streams, rate_hz  # a reader finds the streams, and is told the rate
        names = {split: [game.name for game in games] for split, games in splits.items()}
        write_json(root / SPLIT_FILE, names)


LEAGUES = {
    "eastmark_first-league": ("Ard", "Bex", "Cal", "Dorn", "Elm", "Fen"),
    "norland_premier": ("Gar", "Hol", "Isk", "Jor", "Kel", "Lum"),
    "sudania_serie-one": ("Mar", "Nol", "Oster", "Pal", "Quin", "Rav"),
    "westria_liga": ("Sol", "Tarn", "Ulm", "Vel", "Wex", "Yar"),
}
_ENDINGS = ("bridge", "mouth", "ton Rovers")
_NUM_TEAMS = 18
_ROUNDS = 2 * (_NUM_TEAMS - 1)
_FIRST_YEAR = 2001


def game_name(number: int, home_goals: int, away_goals: int) -> str:
    """SoccerNet's folder of game `number`, with invented teams and the score.

    Every league plays a double round robin per season, so no two games have one name.
    """
    leagues = list(LEAGUES)
    league = leagues[number % len(leagues)]
    season, fixture = divmod(number // len(leagues), _ROUNDS * _NUM_TEAMS // 2)
    matchday, pairing = divmod(fixture, _NUM_TEAMS // 2)
    home, away = _fixture(matchday, pairing)
    teams = [stem + ending for ending in _ENDINGS for stem in LEAGUES[league]]
    year = _FIRST_YEAR + season
    date = datetime.date(year, 8, 11) + datetime.timedelta(weeks=matchday)
    score = f"{teams[home]} {home_goals} - {away_goals} {teams[away]}"
    return f"{league}/{year}-{year + 1}/{date} - {15 + pairing % 6}-00 {score}"


def _fixture(matchday: int, pairing: int) -> tuple[int, int]:
    """Home and away team of a double round robin: the last team stays, the others rotate."""
    rotating = _NUM_TEAMS - 1
    turn = matchday % rotating
    a = (turn + pairing) % rotating
    b = rotating if pairing == 0 else (turn - pairing) % rotating
    swap = (matchday >= rotating) != (turn % 2 == 1)
    return (b, a) if swap else (a, b)

"""A synthetic season on disk, in SoccerNet's layout.

`hmtas.season.match` invents what happens, `hmtas.season.evidence` what the streams see of it. Game
k of a seed is the same whatever the number of games, and only one half is in memory at a time.
"""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from hmtas.errors import InputError, join_problems
from hmtas.files import atomic_path, is_free, read_json, write_json
from hmtas.formats.actions import ACTIONS
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.formats.labels import HALVES
from hmtas.formats.soccernet import LABEL_FILE
from hmtas.formats.splits import SPLIT_FILE
from hmtas.place import check_folder, check_space
from hmtas.season.evidence import draw_marks, embed, name_key
from hmtas.season.match import GOAL, SimulatedHalf, simulate_match
from hmtas.season.traces import CONTEXT, NEAR, Layout
from hmtas.validation import Frozen

SEASON_FILE = "season.json"
SMALL_STREAMS = {"tpn": 16, "gta": 16, "vtn": 12, "ircsn": 16, "i3d_slow": 16, "vggish": 8}
_SHORTER = 0.15  # share of the files that are some rows short
_MAX_SHORTER = 2


class SeasonConfig(Frozen):
    """What a season holds. Two seasons of one configuration are equal bit for bit."""

    train: int = Field(default=300, ge=0)
    valid: int = Field(default=100, ge=0)
    test: int = Field(default=100, ge=0)
    challenge: int = Field(default=0, ge=0, description="games without labels")
    seed: int = Field(default=0, ge=0)
    minutes: float = Field(default=45.0, ge=1, le=60, description="regular length of a half")
    streams: dict[str, int] = Field(default_factory=lambda: dict(SMALL_STREAMS))
    dtype: Literal["float16", "float32"] = "float16"
    ragged: bool = Field(default=True, description="files of a half differ by up to 2 rows")
    # Left out of the file when off: older seasons have no such key, and still resume.
    context: bool = Field(
        default=False,
        exclude_if=lambda on: not on,
        description="evidence half a minute around an action, exact times; for long contexts",
    )

    @field_validator("streams")
    @classmethod
    def _streams(cls, streams: dict[str, int]) -> dict[str, int]:
        bad = {
            name: width
            for name, width in streams.items()
            if width < 1 or not name.replace("_", "").isalnum() or name == BAIDU
        }
        if bad or not streams:
            raise ValueError(
                "streams must be names of letters, digits and _ with a width of at least 1, "
                f"got {bad or 'none'}"
            )
        return streams

    @model_validator(mode="after")
    def _some_games(self) -> "SeasonConfig":
        if self.num_games == 0:
            raise ValueError("a season needs at least one game")
        return self

    @property
    def layout(self) -> Layout:
        """Where the evidence of its actions lies."""
        return CONTEXT if self.context else NEAR

    @property
    def num_games(self) -> int:
        """Games of all splits."""
        return self.train + self.valid + self.test + self.challenge

    @property
    def splits(self) -> dict[str, range]:
        """Numbers of the games of each split."""
        splits = {}
        start = 0
        for name in ("train", "valid", "test", "challenge"):
            stop = start + getattr(self, name)
            splits[name] = range(start, stop)
            start = stop
        return splits


def parse_streams(text: str) -> dict[str, int]:
    """Read `name=width,name=width`.

    Raises:
        InputError: If a part does not read so, or a name comes twice; all mistakes at once.
    """
    streams: dict[str, int] = {}
    problems = []
    for part in text.split(","):
        name, _, width = (word.strip() for word in part.partition("="))
        if not name or not width.isdecimal():
            problems.append(f"{part!r} must read like vtn=12")
        elif name in streams:
            problems.append(f"{name!r} is named twice")
        else:
            streams[name] = int(width)
    if problems:
        raise InputError(f"streams {text!r}: {join_problems(problems)}")
    return streams


def write_season(
    root: Path, config: SeasonConfig, on_game: Callable[[], None] = lambda: None
) -> None:
    """Write a season; what is already there is kept, so an interrupted run resumes.

    `on_game` is called after each game, also if it was there already.

    Raises:
        InputError: If the folder holds anything but a season of the same configuration, or the
            disk is full.
    """
    _claim(root, config)
    names: dict[str, list[str]] = {}
    for split, numbers in config.splits.items():
        names[split] = []
        for number in numbers:
            names[split].append(_write_game(root, config, number, split != "challenge"))
            on_game()
    # Last: a season without it is not finished.
    write_json(root / SPLIT_FILE, names)


def _claim(root: Path, config: SeasonConfig) -> None:
    """Record the configuration, or check that it is the one recorded."""
    path = root / SEASON_FILE
    document = config.model_dump()
    if path.exists():
        there = read_json(path)
        if there != document:
            there = there if isinstance(there, dict) else {}
            changed = [name for name in document | there if there.get(name) != document.get(name)]
            raise InputError(
                f"{root}: holds a season of another configuration (it differs in "
                f"{', '.join(changed)}); give the options of {SEASON_FILE}, or another folder"
            )
    elif not is_free(root):
        raise InputError(
            f"{root}: a season needs an empty folder, or one with its own {SEASON_FILE}; "
            "these seem to be other files"
        )
    check_folder(root)
    row = sum(file.width * np.dtype(file.dtype).itemsize for file in _files(config))
    needed = int(config.num_games * len(HALVES) * 60 * config.minutes * row)
    there = sum(file.stat().st_size for file in root.rglob("*.npy"))
    check_space(root, needed - there, "the games", "ask for fewer or for less")
    write_json(path, document)


def _write_game(root: Path, config: SeasonConfig, number: int, labelled: bool) -> str:
    """Write what is missing of one game, and name the game."""
    halves = simulate_match(
        _generator(config.seed, number),
        config.minutes,
        label_jitter_s=config.layout.label_jitter_s,
    )
    game = game_name(number, halves)
    for half, played in zip(HALVES, halves, strict=True):
        marks = draw_marks(_generator(config.seed, number, half), played)
        for file in _files(config):
            path = root / game / f"{half}_{file.name}.npy"
            if path.exists():
                continue
            values_TF = np.empty((_num_rows(config, number, half, file, played), file.width),
                                 dtype=file.dtype)  # fmt: skip
            for stream, columns in file.columns():
                rng = _generator(config.seed, number, half, name_key(stream))
                values_TF[:, columns] = embed(
                    rng,
                    marks,
                    stream=stream,
                    width=config.streams[stream],
                    num_rows=len(values_TF),
                    seed=config.seed,
                    layout=config.layout,
                )
            with atomic_path(path) as scratch, scratch.open("wb") as output:
                np.save(output, values_TF)
    label_path = root / game / LABEL_FILE
    if labelled and not label_path.exists():
        write_json(label_path, {"UrlLocal": game, "annotations": list(_annotations(halves))})
    return game


def _generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of a game, a half or a stream, whatever the number of others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, *key)))


class _File(NamedTuple):
    """An embedding file of a half: one stream, or the five visual ones side by side."""

    name: str
    streams: dict[str, int]
    dtype: str

    @property
    def width(self) -> int:
        return sum(self.streams.values())

    def columns(self) -> Iterator[tuple[str, slice]]:
        start = 0
        for stream, width in self.streams.items():
            yield stream, slice(start, start + width)
            start += width


def _files(config: SeasonConfig) -> list[_File]:
    joined = BAIDU_BLOCKS.items() <= config.streams.items()
    files = [_File(BAIDU, BAIDU_BLOCKS, "float32")] if joined else []
    for name, width in config.streams.items():
        if not (joined and name in BAIDU_BLOCKS):
            files.append(_File(name, {name: width}, config.dtype))
    return files


def _num_rows(
    config: SeasonConfig, number: int, half: int, file: _File, played: SimulatedHalf
) -> int:
    """A row per second, up to two fewer now and then: as in the real files."""
    rng = _generator(config.seed, number, half, name_key(file.name), 1)
    short = config.ragged and rng.random() < _SHORTER
    return played.duration_s - (int(rng.integers(1, _MAX_SHORTER + 1)) if short else 0)


def _annotations(halves: tuple[SimulatedHalf, SimulatedHalf]) -> Iterator[dict[str, Any]]:
    """The annotations of a match, in order of the annotated time."""
    for half, played in zip(HALVES, halves, strict=True):
        for i in np.argsort(played.label_s, kind="stable"):
            position_ms = round(1000 * float(played.label_s[i]))
            minutes, seconds = divmod(position_ms // 1000, 60)
            yield {
                "gameTime": f"{half} - {minutes:02d}:{seconds:02d}",
                "label": ACTIONS[played.action[i]],
                "position": str(position_ms),
                "team": "home" if played.home[i] else "away",
                "visibility": "visible" if played.visible[i] else "not shown",
            }


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


def game_name(number: int, halves: tuple[SimulatedHalf, SimulatedHalf]) -> str:
    """SoccerNet's folder of game `number`, with invented teams and the score that was played.

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
    goals = np.concatenate([played.home[played.action == GOAL] for played in halves])
    score = f"{teams[home]} {goals.sum()} - {(~goals).sum()} {teams[away]}"
    return f"{league}/{year}-{year + 1}/{date} - {15 + pairing % 6}-00 {score}"


def _fixture(matchday: int, pairing: int) -> tuple[int, int]:
    """Home and away team of a double round robin: the last team stays, the others rotate."""
    rotating = _NUM_TEAMS - 1
    turn = matchday % rotating
    a = (turn + pairing) % rotating
    b = rotating if pairing == 0 else (turn - pairing) % rotating
    swap = (matchday >= rotating) != (turn % 2 == 1)
    return (b, a) if swap else (a, b)

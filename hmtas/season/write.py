"""A synthetic season on disk.

A sport says what happens and how it is written (`hmtas.season.sports`), `hmtas.season.evidence`
what the streams see of it. Game k of a seed is the same whatever the number of games, and the
embeddings of only one half are in memory at a time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from hmtas.errors import InputError, join_problems
from hmtas.files import atomic_path, is_free, read_json, write_json
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.place import check_folder, check_space
from hmtas.season.chains import SimulatedHalf
from hmtas.season.evidence import draw_marks, embed, name_key
from hmtas.season.forms import Game
from hmtas.season.sports import SPORTS, SportName
from hmtas.season.traces import CONTEXT, Layout
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
    # Left out of the file where they are what seasons without these keys have, which still resume.
    sport: SportName = Field(default="football", exclude_if=lambda sport: sport == "football")
    rate_hz: float = Field(
        default=1.0, ge=0.5, le=25, exclude_if=lambda rate_hz: rate_hz == 1.0,
        description="rows per second",
    )  # fmt: skip
    minutes: float = Field(default=45.0, ge=1, le=60, description="regular length of a part")
    streams: dict[str, int] = Field(default_factory=lambda: dict(SMALL_STREAMS))
    dtype: Literal["float16", "float32"] = "float16"
    ragged: bool = Field(default=True, description="files of a half differ by up to 2 rows")
    context: bool = Field(
        default=False,
        exclude_if=lambda on: not on,
        description="evidence half a minute around an action, exact times; for long contexts",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Fill in what a sport usually has."""
        name = given.get("sport", "football")
        sport = SPORTS[name if name in SPORTS else "football"]
        usual = {"minutes": sport.minutes, "rate_hz": sport.rate_hz}
        return given | {key: value for key, value in usual.items() if given.get(key) is None}

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

    @model_validator(mode="after")
    def _context_of_football(self) -> "SeasonConfig":
        if self.context and self.sport != "football":
            raise ValueError(
                f"context: only football has seasons for long contexts, got sport {self.sport!r}; "
                "leave one of the two out"
            )
        return self

    @property
    def layout(self) -> Layout:
        """Where the evidence of its actions lies."""
        return CONTEXT if self.context else SPORTS[self.sport].layout

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
    form = SPORTS[config.sport].form
    splits: dict[str, list[Game]] = {}
    for split, numbers in config.splits.items():
        splits[split] = []
        for number in numbers:
            game = _write_game(root, config, number)
            if split != "challenge":
                form.write_labels(root, game)
            splits[split].append(game)
            on_game()
    # Last: a season without them is not finished.
    form.write_lists(root, splits, [file.name for file in _files(config)], config.rate_hz)


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
    game_s = 60 * config.minutes * SPORTS[config.sport].parts_per_game
    needed = int(config.num_games * game_s * config.rate_hz * row)
    there = sum(file.stat().st_size for file in root.rglob("*.npy"))
    check_space(root, needed - there, "the games", "ask for fewer or for less")
    write_json(path, document)


def _write_game(root: Path, config: SeasonConfig, number: int) -> Game:
    """Play a game, and write what is missing of its embeddings."""
    sport, layout = SPORTS[config.sport], config.layout
    parts = sport.play(
        _generator(config.seed, number), number, config.minutes, layout.label_jitter_s
    )
    game = Game(sport.form.name_of(number, parts), parts)
    for half, played in enumerate(parts, 1):
        marks = draw_marks(_generator(config.seed, number, half), played, layout)
        for file in _files(config):
            path = root / sport.form.embedding_file(game.name, half, file.name)
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
                    layout=layout,
                    rate_hz=config.rate_hz,
                )
            with atomic_path(path) as scratch, scratch.open("wb") as output:
                np.save(output, values_TF)
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
    """A row for each step of the rate, up to two fewer now and then: as in the real files."""
    rng = _generator(config.seed, number, half, name_key(file.name), 1)
    short = config.ragged and rng.random() < _SHORTER
    num_rows = round(played.duration_s * config.rate_hz)
    return num_rows - (int(rng.integers(1, _MAX_SHORTER + 1)) if short else 0)

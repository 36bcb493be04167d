"""Which games are trained on, validated on and tested on: `splits.json`."""

from collections.abc import Mapping
from pathlib import Path

from hmtas.errors import InputError, join_problems
from hmtas.files import read_json

SPLIT_FILE = "splits.json"
Splits = dict[str, tuple[str, ...]]


def read_splits(path: Path) -> Splits:
    """Read `{"train": [game, ...], "valid": [...], "test": [...], "challenge": [...]}`.

    Raises:
        InputError: If the file is malformed, or a game stands in two splits or twice in one.
    """
    document = read_json(path)
    if not isinstance(document, dict) or not all(
        isinstance(games, list) and all(isinstance(game, str) for game in games)
        for games in document.values()
    ):
        raise InputError(f"{path}: splits must be an object of lists of games")
    splits = {name: tuple(games) for name, games in document.items()}
    check_disjoint(splits, str(path))
    return splits


def check_disjoint(splits: Mapping[str, tuple[str, ...]], place: str) -> None:
    """Refuse a game that stands in two splits, or twice in one: its score would be a lie."""
    seen: dict[str, str] = {}
    problems = []
    for name, games in splits.items():
        for game in games:
            if game in seen:
                problems.append(f"{game!r} is in split {seen[game]!r} and in split {name!r}")
            seen[game] = name
    if problems:
        raise InputError(
            f"{place}: a game belongs to one split, but {join_problems(problems)}; "
            "a model would be scored on games it was trained on"
        )

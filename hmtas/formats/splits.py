"""Which games are trained on, validated on and tested on: `splits.json`."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import RootModel

from hmtas.errors import InputError, join_problems
from hmtas.validation import read_record

SPLIT_FILE = "splits.json"
Splits = dict[str, tuple[str, ...]]


class _SplitFile(RootModel[Splits]):
    """The content of splits.json."""


def read_splits(path: Path) -> Splits:
    """Read `{"train": [game, ...], "valid": [...], "test": [...], "challenge": [...]}`.

    Raises:
        InputError: If the file is malformed, or a game stands in two splits or twice in one.
    """
    splits = read_record(path, _SplitFile, cause="splits are an object of lists of games").root
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

"""Which games are trained on, validated on and tested on: `splits.json`, or a table."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unicodedata import is_normalized, normalize

from pydantic import RootModel

from hmtas.errors import InputError, join_problems, quoted
from hmtas.files import read_json
from hmtas.formats.table import table_rows
from hmtas.validation import validated

SPLIT_FILE = "splits.json"
SPLITS = ("train", "valid", "test", "challenge")
Splits = dict[str, tuple[str, ...]]
_OTHER_NAMES = {
    "training": "train",
    "val": "valid",
    "validation": "valid",
    "testing": "test",
}


class _ByName(RootModel[Splits]):
    """The games of each split."""


class _ByGame(RootModel[dict[str, str]]):
    """The split of each game."""


def read_splits(path: Path) -> Splits:
    """Read `{"train": [game, ...], "valid": [...], "test": [...], "challenge": [...]}`.

    `{game: split}` is read as well, and a table (CSV) with the columns `game` and `split`. `val`,
    `validation` and the like are other names of `valid`.

    Raises:
        InputError: If the file is malformed, or a game stands in two splits or twice in one.
    """
    named = _named_splits(path)
    splits: Splits = {}
    for name, games in named.items():
        known = split_called(name, str(path))
        if known in splits:
            raise InputError(f"{path}: split {known!r} is there under two names; {name!r} is one")
        splits[known] = games
    check_disjoint(splits, str(path))
    return splits


def _named_splits(path: Path) -> Splits:
    if path.suffix.lower() in (".csv", ".tsv"):
        return _table_splits(path)
    document: Any = read_json(path)
    cause = "splits are an object of lists of games"
    if isinstance(document, dict) and document and isinstance(next(iter(document.values())), str):
        by_game = validated(_ByGame, document, str(path), cause=cause).root
        return _grouped(by_game.items())
    return validated(_ByName, document, str(path), cause=cause).root


def _table_splits(path: Path) -> Splits:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    rows = table_rows(content, str(path), ("game", "split"))
    return _grouped((row["game"], row["split"]) for _, row in rows)


def _grouped(pairs: Iterable[tuple[str, str]]) -> Splits:
    splits: dict[str, list[str]] = {}
    for game, split in pairs:
        splits.setdefault(split, []).append(game)
    return {name: tuple(games) for name, games in splits.items()}


def split_named(text: str) -> str | None:
    """The split that a name such as `annotations_train` or `Val` means; None if it means none."""
    words = {word for word in re.split(r"[^a-z]+", text.lower()) if word}
    found = {_OTHER_NAMES.get(word, word) for word in words}
    meant = found.intersection(SPLITS)
    return meant.pop() if len(meant) == 1 else None


def split_called(name: str, place: str) -> str:
    """The usual name of a split.

    Raises:
        InputError: If it can be no name: files are called by it.
    """
    if not name.strip() or not name.isprintable() or not {"/", "\\"}.isdisjoint(name):
        raise InputError(f"{place}: a split must have a name such as 'train', got {quoted(name)}")
    usual = _OTHER_NAMES.get(name.lower(), name.lower())
    return usual if usual in SPLITS else name


def other_form(names: Iterable[str], known: Iterable[str]) -> str:
    """What to say of the first name that a known one equals but for its Unicode form, else ''.

    Macs write an accented letter as two characters (NFD), nearly all others as one (NFC).
    """
    twins = {normalize("NFC", name): name for name in known}
    for name in names:
        twin = twins.get(normalize("NFC", name), name)
        if twin != name:
            forms = [form for form in ("NFC", "NFD") if is_normalized(form, twin)]
            return (
                f"{twin!r} is there: the same letters in another Unicode form "
                f"({forms[0] if forms else 'mixed'}; did a Mac write one of them?). Make the names "
                "equal, as `convmv -r -f utf8 -t utf8 --nfc --notest FOLDER` does"
            )
    return ""


def check_disjoint(splits: Mapping[str, tuple[str, ...]], place: str) -> None:
    """Refuse a game that stands in two splits, or twice in one: its score would be a lie."""
    seen: dict[str, str] = {}
    problems = []
    for name, games in splits.items():
        for game in games:
            letters = normalize("NFC", game)  # one game, however its accents are written
            if letters in seen:
                first, second = quoted(seen[letters]), quoted(name)
                problems.append(f"{quoted(game)} is in split {first} and in split {second}")
            seen[letters] = name
    if problems:
        raise InputError(
            f"{place}: a game belongs to one split, but {join_problems(problems)}; "
            "a model would be scored on games it was trained on"
        )

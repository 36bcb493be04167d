"""Which games are trained on, validated on and tested on: `splits.json`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from unicodedata import is_normalized, normalize

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
                problems.append(f"{game!r} is in split {seen[letters]!r} and in split {name!r}")
            seen[letters] = name
    if problems:
        raise InputError(
            f"{place}: a game belongs to one split, but {join_problems(problems)}; "
            "a model would be scored on games it was trained on"
        )

"""What actions are called: the lists that are known, and from the names in files to indices."""

import difflib
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hmtas.errors import InputError, did_you_mean, quoted
from hmtas.files import looks_like, parse_json

ACTIONS = (
    "Penalty",
    "Kick-off",
    "Goal",
    "Substitution",
    "Offside",
    "Shots on target",
    "Shots off target",
    "Clearance",
    "Ball out of play",
    "Throw-in",
    "Foul",
    "Indirect free-kick",
    "Direct free-kick",
    "Corner",
    "Yellow card",
    "Red card",
    "Yellow->red card",
)
"""The 17 actions of SoccerNet-v2, in the order of thesis Table 5.1."""
V1_ACTIONS = ("Card", "Substitution", "Goal")
"""The three of SoccerNet-v1, in the order of its evaluator."""
BALL_ACTIONS = (
    "PASS",
    "DRIVE",
    "HEADER",
    "HIGH PASS",
    "OUT",
    "CROSS",
    "THROW IN",
    "SHOT",
    "BALL PLAYER BLOCK",
    "PLAYER SUCCESSFUL TACKLE",
    "FREE KICK",
    "GOAL",
)
"""The twelve of SoccerNet's ball action spotting, in the order of its evaluator."""
LEFT_OUT = ""  # the name of a label that is left out


@dataclass(frozen=True)
class Naming:
    """How labels become actions, where their own names are not meant."""

    renames: Mapping[str, str] = field(default_factory=dict)  # LEFT_OUT leaves a label out
    by_team: bool = False  # the team is a part of the action: "left PASS"

    def action_of(self, label: str, team: str, place: str, known: Collection[str] = ()) -> str:
        """The action of a label, `LEFT_OUT` if it is left out.

        One of the `known` actions may have its team in it already.

        Raises:
            InputError: If the team is a part of it, and the label has none.
        """
        name = self.renames.get(label, label)
        if not self.by_team or name == LEFT_OUT or (not team and name in known):
            return name
        if not team:
            raise InputError(
                f"{place}: {quoted(label)} has no team, and --by-team makes it a part of the action"
            )
        full = f"{team} {name}"
        return self.renames.get(full, full)

    def check_used(self, labels: Iterable[str], place: object) -> None:
        """Refuse to rename what no label is called: misspelt, most likely.

        Raises:
            InputError: Naming the closest label.
        """
        known = set(labels)
        for old in self.renames:
            if old not in known:
                meant = did_you_mean(old, known)
                raise InputError(f"--rename {old!r}: no label of {place} is called so{meant}")


def parse_renames(words: Iterable[str]) -> dict[str, str]:
    """Read `OLD=NEW` words of the command line; `OLD=` leaves a label out.

    The first `=` divides, so an old name that has one cannot be renamed.

    Raises:
        InputError: If a word does not read so, or a name is renamed twice.
    """
    renames: dict[str, str] = {}
    for word in words:
        old, equals, new = word.partition("=")
        if not equals or not old:
            raise InputError(f"--rename {word!r} must read like OLD=NEW, or OLD= to leave it out")
        if old in renames:
            raise InputError(f"--rename {old!r} is given twice; which of the two counts?")
        renames[old] = new
    return renames


def find_action(label: object, index: Mapping[str, int], place: str) -> int:
    """The index of an action that a file at `place` names.

    Raises:
        InputError: If there is no such action, naming the closest.
    """
    if isinstance(label, str) and label in index:
        return index[label]
    name = label if isinstance(label, str) else ""
    twin = next((action for action in index if _plain(action) == _plain(name)), None)
    if twin is not None:
        raise InputError(f"{place}: {_differ(name, twin)}")
    close = difflib.get_close_matches(name, index, n=1, cutoff=0.0)
    meant = f", the closest is {quoted(close[0])}" if close else ""
    cause = "a typo, or of another data set? --actions says which actions there are"
    if name and any(action.endswith(f" {name}") for action in index):
        cause = "do the actions have their team in their name? --by-team reads it from the labels"
    raise InputError(f"{place}: unknown action {quoted(label)}{meant} ({cause})")


def check_names(names: Sequence[str], place: object) -> tuple[str, ...]:
    """A list of actions, if it can be one.

    Raises:
        InputError: If it is empty, one comes twice, is no text, or differs from another in case,
            spaces, '-' or '->' alone.
    """
    if not names:
        raise InputError(f"{place}: no action in it; a list of actions has a name a line")
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(f"{place}: an action must be a name, got {quoted(name)}")
        twin = seen.get(_plain(name))
        if twin == name:
            raise InputError(f"{place}: action {quoted(name)} is there twice")
        if twin is not None:
            raise InputError(f"{place}: {_differ(name, twin)}")
        seen[_plain(name)] = name
    return tuple(names)


def read_actions(path: Path) -> tuple[str, ...]:
    """Read a list of actions: a name a line, or a list of JSON.

    Raises:
        InputError: If the file is missing, or no such list.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of actions; misspelt?") from None
    if content.lstrip()[:1] in (b"[", b"{"):
        document: Any = parse_json(content, str(path))
        if not isinstance(document, list):
            raise InputError(f"{path}: a JSON file of actions is a list of names")
        return check_names(document, path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        what = looks_like(content) or "no text of UTF-8"
        raise InputError(f"{path}: not a list of actions but {what}") from None
    return check_names([line.strip() for line in text.splitlines() if line.strip()], path)


def with_teams(actions: Sequence[str], teams: Sequence[str]) -> tuple[str, ...]:
    """Each action of each team, the teams of an action beside each other."""
    return tuple(f"{team} {action}" for action in actions for team in teams)


def _plain(name: str) -> str:
    """A name without what is easily written in another way."""
    return re.sub(r"[\s_>-]+", "", name).casefold()


def _differ(name: str, other: str) -> str:
    return (
        f"{quoted(name)} and {quoted(other)} differ in case, spaces, '-' or '->' alone, and names "
        f"are compared exactly; --rename {shlex.quote(f'{name}={other}')} makes them one"
    )

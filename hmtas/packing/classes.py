"""The actions of a store: a list, or the names that the labels of the train split have."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.formats.actions import LEFT_OUT, Naming, check_names, find_action, with_teams
from hmtas.formats.labels import GameLabels, Label, LabelSource
from hmtas.records import Events
from hmtas.terminal.text import counted, percent

FROM_LABELS = "labels"
_MOST_MERGED = 0.01  # of the labels; of SoccerNet's 0.002 share a cell
_ROUNDING_MS = 1e-6
_GRID_HZ = 2  # of the official metric


class Actions(NamedTuple):
    """The actions of a store, and where they come from."""

    names: tuple[str, ...]
    origin: str
    num_train: dict[str, int]  # labels of each in the train split
    num_left_out: int  # labels that a rename leaves out
    times: str  # how exact the times of the labels are, in words

    def doubt(self, events: Iterable[Events]) -> str:
        """A warning if the grid of the official metric takes many labels for one."""
        total = merged = 0
        for item in events:
            cells = np.stack([(_GRID_HZ * item.time_s).astype(np.int64), item.action])
            total += len(item.time_s)
            merged += len(item.time_s) - np.unique(cells, axis=1).shape[1]
        if merged <= _MOST_MERGED * total:
            return ""
        return (
            f"{counted(merged, 'label')} of {total} ({percent(merged / total, 1)} %) fall into one "
            "half second with another of the same action, and count once in the official metric; "
            "`hmtas score --tolerance-frames 1 --fps N` has no such grid"
        )


def unknown_labels(
    actions: Sequence[str], labels: Mapping[str, GameLabels], naming: Naming
) -> list[str]:
    """A line for each name of labels that is no action, with the number of labels."""
    index = {action: i for i, action in enumerate(actions)}
    number: Counter[str] = Counter()
    problems: dict[str, str] = {}
    for game in labels.values():
        for label in game.labels:
            name = naming.action_of(label.name, label.team, label.place, index)
            if name == LEFT_OUT or name in index:
                continue
            number[name] += 1
            if name not in problems:
                try:
                    find_action(name, index, label.place)
                except InputError as error:
                    problems[name] = str(error)
    return [
        line + (f" (and {counted(number[name] - 1, 'more label')})" if number[name] > 1 else "")
        for name, line in problems.items()
    ]


def choose_actions(
    asked: Sequence[str] | None,
    source: LabelSource,
    labels: Mapping[str, GameLabels],
    naming: Naming,
    *,
    fitted_on: Iterable[str],
) -> Actions:
    """The actions of a store.

    Args:
        asked: A list, "labels", or None: what the format or the label files list, else "labels".
        source: The label files.
        labels: The labels of games.
        naming: How labels become actions.
        fitted_on: The games whose labels say what the actions are: those of the train split.

    Raises:
        InputError: If there is no action, or two names differ in spelling alone.
    """
    every = [label for game in labels.values() for label in game.labels]
    named = {label.name for label in every}
    naming.check_used(named | {f"{label.team} {label.name}" for label in every}, source.place)
    train = [label for game in fitted_on for label in labels[game].labels]
    listed = source.actions if asked is None else () if asked == FROM_LABELS else asked
    number = Counter(
        naming.action_of(label.name, label.team, label.place, listed) for label in train
    )
    del number[LEFT_OUT]
    if naming.by_team and not (any(label.team for label in train) or all(map(_has_team, number))):
        raise InputError(
            f"{source.place}: --by-team, but no label of the train split says its team; leave it "
            "out, or are these labels of another file?"
        )
    if asked == FROM_LABELS or (asked is None and not source.actions):
        if not number:
            raise InputError(
                f"{source.place}: no label of the train split says what the actions are; list them "
                "in a file, a name a line (--actions FILE)"
            )
        names, origin = check_names(sorted(number), source.place), "the labels of the train split"
    else:
        names = check_names(list(listed), source.place if asked is None else "--actions")
        origin = source.actions_from if asked is None else "--actions"
        if naming.by_team and not set(number) <= set(names):
            names = with_teams(names, sorted({label.team for label in train if label.team}))
    left_out = sum(naming.renames.get(label.name) == LEFT_OUT for label in every)
    return Actions(names, origin, {name: number[name] for name in names}, left_out, _times(every))


def _has_team(action: str) -> bool:
    """May the first word of an action be a team?"""
    return " " in action


def _times(labels: Sequence[Label]) -> str:
    """How exact the times of labels are: what all of them are multiples of."""
    ms = 1000 * np.array([label.time_s for label in labels])
    whole_ms = np.rint(ms).astype(np.int64)
    if len(ms) and np.abs(ms - whole_ms).max() > _ROUNDING_MS:
        return "times as they are, no multiples of a millisecond"
    step_ms = int(np.gcd.reduce(whole_ms)) if len(ms) else 0
    return f"times in steps of {step_ms / 1000:g} s" if step_ms else "no labels"

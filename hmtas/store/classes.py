"""The actions of a store: a list, or the names that the labels of the train split have."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.formats.actions import LEFT_OUT, Naming, check_names, with_teams
from hmtas.formats.labels import GameLabels, LabelSource
from hmtas.records import Events
from hmtas.terminal.text import counted, percent

FROM_LABELS = "labels"
_MOST_MERGED = 0.01  # of the labels; of SoccerNet's 0.002 share a cell
_GRID_HZ = 2  # of the official metric


class Actions(NamedTuple):
    """The actions of a store, and where they come from."""

    names: tuple[str, ...]
    origin: str
    num_train: dict[str, int]  # labels of each in the train split
    num_left_out: int  # labels that a rename leaves out

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
    naming.check_used((label.name for label in every), source.place)
    train = [label for game in fitted_on for label in labels[game].labels]
    number = Counter(naming.action_of(label.name, label.team, label.place) for label in train)
    del number[LEFT_OUT]
    if asked == FROM_LABELS or (asked is None and not source.actions):
        if not number:
            raise InputError(
                f"{source.place}: no label of the train split says what the actions are; list them "
                "in a file, a name a line (--actions FILE)"
            )
        names, origin = check_names(sorted(number), source.place), "the labels of the train split"
    else:
        listed = source.actions if asked is None else asked
        names = check_names(list(listed), source.place if asked is None else "--actions")
        origin = source.actions_from if asked is None else "--actions"
        if naming.by_team and not set(number) <= set(names):
            names = with_teams(names, sorted({label.team for label in train if label.team}))
    left_out = sum(naming.renames.get(label.name) == LEFT_OUT for label in every)
    return Actions(names, origin, {name: number[name] for name in names}, left_out)

"""Actions of two teams, and their mean precision as team spotting publishes it.

Source: `evaluation/score.py` of github.com/SoccerNet/sn-teamspotting. Each action comes twice, as
that of one team and that of the other. The precision of the action is the mean of the two, weighted
by their numbers of events, and Team-mAP the plain mean over the actions.

Difference: there an action without any event makes the whole mean nan; here it counts 0, as in the
official mean.
"""

from collections.abc import Sequence

import numpy as np

from hmtas.errors import InputError

NUM_TEAMS = 2


def team_pairs(actions: Sequence[str], place: str) -> np.ndarray:
    """(N, 2) indices of the two actions, such as "left pass" and "right pass", of each of N.

    Raises:
        InputError: If one does not read "<team> <action>", or is not there for two teams.
    """
    found: dict[str, list[int]] = {}
    for a, name in enumerate(actions):
        team, space, action = name.partition(" ")
        if not (team and space and action.strip()):
            raise InputError(
                f'{place}: --by-team needs actions that read "<team> <action>", such as '
                f'"left pass", got {name!r}; were the labels read without teams?'
            )
        found.setdefault(action, []).append(a)
    for action, indices in found.items():
        teams = [actions[a].partition(" ")[0] for a in indices]
        if len(set(teams)) != NUM_TEAMS:
            raise InputError(
                f"{place}: --by-team needs every action for two teams, and {action!r} is there for "
                f"{', '.join(teams)}; are these actions of teams?"
            )
    return np.array(list(found.values()))


def team_map(precision_A: np.ndarray, num_events_A: np.ndarray, pairs: np.ndarray) -> float:
    """Team-mAP of the precision of each action; nan, of one without events, weighs nothing."""
    events = num_events_A[pairs]
    weighted = (np.nan_to_num(precision_A, nan=0.0)[pairs] * events).sum(axis=1)
    return float(np.mean(weighted / np.maximum(events.sum(axis=1), 1)))

"""NMS windows fitted on stored probabilities: no training, no model (thesis Section 5.3).

The window of an action changes only that action's average precision, and Average-mAP is the mean
over actions. For fixed probabilities the windows are therefore as many independent searches along
one axis, with an exact optimum among the candidates.

What is fitted on a game says nothing about that game. So the games are cut into folds, each fold
gets the windows that the other folds chose, and only the score under those is reported; the
windows fitted on all games of the split are for other splits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, cast, get_args

import numpy as np

from hmtas.errors import InputError
from hmtas.evaluate import FittedFold, FittedWindows
from hmtas.metrics import TIGHT_S, histograms, score
from hmtas.nms import non_max_suppression, reach
from hmtas.records import Events, HalfId, Probabilities, Spots

Method = Literal["exact", "fixed"]
Kind = Literal["hard", "thesis"]

CANDIDATES_S = (*range(1, 41), 50, 60)  # full widths in seconds
NUM_FOLDS = 5
MIN_EVENTS = 30
"""An action with fewer events in the fitting games takes the shared window: the standard error of
an average precision over n events is near 0.5 / sqrt(n), 9 points at 30, more than windows move."""


class Table(NamedTuple):
    """Tight average precision of every action under every candidate window.

    Attributes:
        candidates_s: (W,) window widths in seconds, ascending.
        precision: (W, A) tight average precision, trapezoid over 1 to 5 s; 0 where the action has
            no event, as in the official mean.
        num_events: (A,) events of each action in the games.
    """

    candidates_s: np.ndarray
    precision: np.ndarray
    num_events: np.ndarray


def parse_method(text: str) -> Method:
    """Check a method's name.

    Raises:
        InputError: If there is no such method.
    """
    if text not in get_args(Method):
        raise InputError(f"--method must be one of {', '.join(get_args(Method))}, got {text!r}")
    return cast(Method, text)


def nothing() -> None:
    """What is called when nobody listens."""


def fit_nms_windows(table: Table, method: Method = "exact") -> np.ndarray:
    """Choose the window of each action.

    The shared window is the one candidate with the best mean over actions (the narrowest of
    equals). `fixed` gives it to every action. `exact` gives each action the window with its own
    best precision, the one closest to the shared window among equals, and the shared window where
    the action has fewer than `MIN_EVENTS` events. Either way no single window for all actions
    scores higher on the same games than what `exact` returns.

    Returns:
        (A,) widths in seconds.
    """
    candidates = table.candidates_s
    shared = candidates[np.argmax(np.round(table.precision.mean(axis=1), 12))]
    windows = np.full(table.precision.shape[1], shared, dtype=np.float64)
    if method == "fixed":
        return windows
    for action in np.flatnonzero(table.num_events >= MIN_EVENTS):
        precision = table.precision[:, action]
        best = candidates[precision >= precision.max() - 1e-12]
        windows[action] = best[np.argmin(np.abs(best - shared))]
    return windows


def tabulate(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    game_sets: Sequence[Sequence[str]],
    *,
    threshold: float = 0.0,
    kind: Kind = "hard",
    candidates_s: Iterable[float] = CANDIDATES_S,
    on_candidate: Callable[[], None] = nothing,
) -> list[Table]:
    """Suppress and match once per candidate, and score it on each set of games.

    Args:
        halves: Stored probabilities of every half.
        events: Annotations of the same halves.
        game_sets: Games of each table.
        threshold: Spots below it are dropped.
        kind: Rule of suppression, see `hmtas.nms`.
        candidates_s: Window widths to try, in seconds, > 0.
        on_candidate: Called at each candidate.

    Returns:
        One table per set of games.
    """
    candidates = np.array(sorted(candidates_s), dtype=np.float64)
    num_actions = next(iter(halves.values())).values.shape[1]
    precision = np.zeros((len(game_sets), len(candidates), num_actions))
    num_events = np.zeros((len(game_sets), num_actions), dtype=np.int64)
    rate_hz = next(iter(halves.values())).rate_hz
    rules = [
        tuple(int(rows[0]) for rows in reach(np.array([w * rate_hz]), kind)) for w in candidates
    ]
    for w, window_s in enumerate(candidates):
        on_candidate()
        if rules[w] in rules[:w]:  # drops the same rows: at 1 Hz, 2 s and 3 s
            precision[:, w] = precision[:, rules.index(rules[w])]
            continue
        windows_s = np.full(num_actions, window_s)
        spots: dict[HalfId, Spots] = {
            half: non_max_suppression(probabilities, windows_s, threshold, kind)
            for half, probabilities in halves.items()
        }
        counts = histograms(spots, events, TIGHT_S, num_actions)
        for s, games in enumerate(game_sets):
            result = score(counts, games)
            precision[s, w] = np.nan_to_num(result.per_action, nan=0.0)
            num_events[s] = result.num_events
    return [Table(candidates, precision[s], num_events[s]) for s in range(len(game_sets))]


def split_folds(games: Iterable[str], num_folds: int = NUM_FOLDS, seed: int = 0) -> list[list[str]]:
    """Deal games into folds of nearly equal size, in an order drawn from `seed`.

    Raises:
        InputError: If there are fewer than two games.
    """
    ordered = sorted(set(games))
    if len(ordered) < 2:
        raise InputError(
            f"cross-fitting windows needs at least 2 games with labels, got {len(ordered)}: "
            "a window fitted on the game it is scored on would flatter it"
        )
    shuffled = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]
    num_folds = min(num_folds, len(ordered))
    return [sorted(shuffled[k::num_folds]) for k in range(num_folds)]


def cross_fit(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    split: str,
    method: Method = "exact",
    threshold: float = 0.0,
    kind: Kind = "hard",
    candidates_s: Iterable[float] = CANDIDATES_S,
    seed: int = 0,
    on_candidate: Callable[[], None] = nothing,
) -> FittedWindows:
    """Windows of all games, and for each fold of games the windows that the others choose.

    Raises:
        InputError: If there are fewer than two games.
    """
    folds = split_folds((half.game for half in halves), seed=seed)
    games = sorted(game for fold in folds for game in fold)
    others = [[game for game in games if game not in set(fold)] for fold in folds]
    tables = tabulate(
        halves,
        events,
        [games, *others],
        threshold=threshold,
        kind=kind,
        candidates_s=candidates_s,
        on_candidate=on_candidate,
    )
    whole, *of_folds = (
        dict(zip(actions, fit_nms_windows(table, method).tolist(), strict=True)) for table in tables
    )
    return FittedWindows(
        method=method,
        split=split,
        threshold=threshold,
        kind=kind,
        windows_s=whole,
        folds=tuple(
            FittedFold(games=tuple(fold), windows_s=windows)
            for fold, windows in zip(folds, of_folds, strict=True)
        ),
    )

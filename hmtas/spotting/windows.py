"""NMS windows and rules fitted on stored probabilities: no training, no model (thesis Section 5.3).

The setting of an action, a rule and its window, changes only that action's average precision, and
Average-mAP is the mean over actions. For fixed probabilities the search is therefore as many
independent ones along one axis, with an exact optimum among the candidates.

The methods:
    exact   looks at every setting of every action; nothing scores higher than what it returns.
    optuna  samples settings of all actions at once in a Ray Tune study; the caller chooses.
    global  gives every action the one setting with the best mean.
    fixed   gives every action the window it has without a fit: the thesis's, or of an action that
            the thesis does not know what the gaps between events say (hmtas.spotting.gaps).

Rare actions:
    A season has nine red cards in a hundred games; the best window of nine events is luck. So
    what `exact` and `optuna` maximise is, with n events of the action,
        n / (n + BORROWED) * own precision + BORROWED / (n + BORROWED) * mean over all actions:
    the best linear guess of the curve on other games where actions differ with some variance and
    an action's own curve has one that falls as 1 / n (Efron & Morris 1975). `BORROWED` is the
    ratio of the two: the number of events at which an action's own curve says as much as the
    other actions'. An action that never happened takes the global setting. Under `exact` no
    action scores lower on the fitting games than under `global`, as the mean curve is highest
    there: whatever gains in the sum gains in its own part.

Games:
    What is fitted on a game says nothing about that game. So the games are cut into folds, each
    fold gets the settings that the other folds chose, and only the score under those is reported;
    the settings fitted on all games of the split are for other splits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, cast, get_args

import numpy as np

from hmtas.config import NmsKind, SpottingConfig
from hmtas.errors import InputError
from hmtas.metric.averages import TIGHT_S
from hmtas.metric.matching import GRID_HZ
from hmtas.records import Events, HalfId, Probabilities, Spots
from hmtas.spotting.spots import FittedFold, FittedWindows, spot_fitted
from hmtas.spotting.table import Setting, Table, tabulate
from hmtas.statistics.folds import game_folds

Method = Literal["exact", "optuna", "global", "fixed"]
Choose = Callable[[Sequence[Table]], list[list[Setting]]]

CANDIDATES_S = (*range(1, 41), 50, 60)  # full widths in seconds
FINER_BELOW_S, MOST_FINER = 3.0, 8  # beside them, where there are 2 rows a second or more
KINDS: tuple[NmsKind, ...] = ("hard", "linear", "squared", "gaussian")
NUM_FOLDS = 5
BORROWED = 50.0
"""Events. From action to action the gain of a window over another differs by some 4 points, and
the gain seen on n events has a standard deviation near 30 / sqrt(n) points: (30 / 4) ** 2 = 56. In
simulation 50 is best on unseen games, on average and at worst, where 10 or 25 games are fitted, and
costs less than 0.1 points against less borrowing where 100 are (benchmarks/nms.py)."""


def parse_kinds(text: str) -> tuple[NmsKind, ...]:
    """Read rules of suppression such as `hard,linear`.

    Raises:
        InputError: If one is unknown or comes twice.
    """
    kinds = text.split(",")
    unknown = [kind for kind in kinds if kind not in get_args(NmsKind)]
    if unknown or len(set(kinds)) < len(kinds):
        raise InputError(
            f"--kinds must be some of {','.join(get_args(NmsKind))}, each once, got {text!r}"
        )
    return cast(tuple[NmsKind, ...], tuple(kinds))


def candidates_at(
    rate_hz: float,
    kinds: Sequence[NmsKind] = KINDS,
    candidates_s: Iterable[float] = CANDIDATES_S,
) -> tuple[float, ...]:
    """The windows to try at some rows per second: some narrow ones are whole only in rows.

    Below 3 s at most 8 are added, from two rows up, each some part wider than the one before. For
    the hard rule alone they are even: in rows 2 n + 1 says what 2 n does.
    """
    if rate_hz < 2:
        return tuple(map(float, candidates_s))
    step = 2 if tuple(kinds) == ("hard",) else 1
    rows = np.geomspace(2, FINER_BELOW_S * rate_hz, MOST_FINER + 1)[:-1] / step
    finer_us = np.ceil((1e6 * rows.round() * step / rate_hz).round(3))  # no less than whole rows
    return tuple(sorted({*map(float, candidates_s), *(finer_us / 1e6).tolist()}))


def every_setting(
    kinds: Sequence[NmsKind] = KINDS,
    candidates_s: Iterable[float] = CANDIDATES_S,
    *,
    rate_hz: float = 1.0,
) -> tuple[Setting, ...]:
    """Every rule with every window for a rate (`candidates_at`), the narrowest first."""
    widths = sorted(candidates_at(rate_hz, kinds, candidates_s))
    return tuple(Setting(kind, width) for kind in kinds for width in widths)


def shared_curve(table: Table) -> np.ndarray:
    """(W,) mean precision over the actions: the official mean, if no action lacks events."""
    curve: np.ndarray = np.round(table.precision.mean(axis=1), 12)
    return curve


def borrowed_precision(table: Table, borrowed: float = BORROWED) -> np.ndarray:
    """(W, A) what to maximise for each action: its own curve and the shared one, see above."""
    present = table.num_events > 0
    shared = table.precision[:, present].mean(axis=1) if present.any() else shared_curve(table)
    own = table.num_events / (table.num_events + borrowed) if borrowed > 0 else present * 1.0
    result: np.ndarray = own * table.precision + (1 - own) * shared[:, None]
    return result


def fit_exact(table: Table, borrowed: float = BORROWED) -> list[Setting]:
    """The best setting of each action; among equals the one closest to the global one.

    With `borrowed` 0 each action gets its own best (see `BORROWED`).
    """
    shared = table.settings[int(np.argmax(shared_curve(table)))]

    def strangeness(w: int) -> tuple[bool, float]:
        kind, window_s = table.settings[w]
        return kind != shared.kind, abs(window_s - shared.window_s)

    chosen = []
    for worth in borrowed_precision(table, borrowed).T:
        best = np.flatnonzero(worth >= worth.max() - 1e-12)
        chosen.append(table.settings[min(best.tolist(), key=strangeness)])
    return chosen


def fit_global(table: Table) -> list[Setting]:
    """The one setting with the best mean over actions, for all; the first among equals."""
    best = table.settings[int(np.argmax(shared_curve(table)))]
    return [best] * len(table.num_events)


def thesis_settings(
    actions: Sequence[str], spotting: SpottingConfig | None = None
) -> list[Setting]:
    """The windows of a configuration under its rules; the thesis's unless given, 9 s for others."""
    spotting = spotting or SpottingConfig()
    return [Setting(spotting.kind_of(a), spotting.window_of(a)) for a in actions]


def precision_of(table: Table, settings: Sequence[Setting]) -> float:
    """Average-mAP of one setting per action on the games of a table."""
    rows = [table.settings.index(setting) for setting in settings]
    return float(table.precision[rows, np.arange(len(rows))].mean())


def cross_fit(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    split: str,
    method: Method = "exact",
    choose: Choose | None = None,
    threshold: float = 0.0,
    settings: Sequence[Setting] | None = None,
    fixed: SpottingConfig | None = None,
    tolerances_s: Sequence[float] = TIGHT_S,
    grid_hz: int = GRID_HZ,
    seed: int = 0,
    on_setting: Callable[[], None] = lambda: None,
) -> FittedWindows:
    """Settings of all games, and for each fold of games the settings that the others choose.

    Args:
        halves: Stored probabilities of every half.
        events: Annotations of the same halves.
        actions: Names of the columns.
        split: Name of the split that they cover.
        method: See above.
        choose: How `optuna` chooses, one list of settings per table.
        threshold: Spots below it are dropped.
        settings: What to try, `every_setting` at the rate of the halves unless given.
        fixed: Of the method `fixed`: what has the windows; the thesis's unless given.
        tolerances_s: Tolerances of the Average-mAP that is maximised.
        grid_hz: Cells a second that it looks at.
        seed: Seed of the folds.
        on_setting: Called after each setting.

    Raises:
        InputError: If there are fewer than two games.
    """
    folds = game_folds((half.game for half in halves), NUM_FOLDS, seed)
    if method == "fixed":
        chosen = [thesis_settings(actions, fixed)] * (1 + len(folds))
    else:
        games = sorted(game for fold in folds for game in fold)
        others = [[game for game in games if game not in set(fold)] for fold in folds]
        tables = tabulate(
            halves,
            events,
            [games, *others],
            every_setting(rate_hz=_rate_of(halves)) if settings is None else settings,
            threshold=threshold,
            tolerances_s=tolerances_s,
            grid_hz=grid_hz,
            on_setting=on_setting,
        )
        if method == "optuna":
            assert choose is not None
            chosen = choose(tables)
        else:
            fit = fit_exact if method == "exact" else fit_global
            chosen = [fit(table) for table in tables]
    of_all, *of_folds = (dict(zip(actions, settings_A, strict=True)) for settings_A in chosen)
    return FittedWindows(
        method=method,
        split=split,
        threshold=threshold,
        windows_s={action: setting.window_s for action, setting in of_all.items()},
        kinds={action: setting.kind for action, setting in of_all.items()},
        folds=tuple(
            FittedFold(
                games=fold,
                windows_s={action: setting.window_s for action, setting in of_fold.items()},
                kinds={action: setting.kind for action, setting in of_fold.items()},
            )
            for fold, of_fold in zip(folds, of_folds, strict=True)
        ),
    )


def spot_unseen(
    halves: Mapping[HalfId, Probabilities],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    threshold: float = 0.0,
    tolerances_s: Sequence[float] = TIGHT_S,
) -> dict[HalfId, Spots]:
    """Suppress every half with windows that other games chose, as a model in training is scored.

    Searches only the hard rule, a second for 30 games: with the others the search after each epoch
    would take longer than many an epoch, for windows that are fitted again in the end. The
    arguments are those of `cross_fit`.

    Raises:
        InputError: If there are fewer than two games.
    """
    fitted = cross_fit(
        halves,
        events,
        actions,
        split="",
        threshold=threshold,
        settings=every_setting(("hard",), rate_hz=_rate_of(halves)),
        tolerances_s=tolerances_s,
    )
    return spot_fitted(halves, actions, fitted, "")


def _rate_of(halves: Mapping[HalfId, Probabilities]) -> float:
    return max(half.rate_hz for half in halves.values())

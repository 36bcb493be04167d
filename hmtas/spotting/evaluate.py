"""From stored probabilities to a score: spots by windows, and the document `hmtas score` prints."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat

from hmtas.config import NmsKind, SpottingConfig
from hmtas.errors import InputError
from hmtas.metric.averages import LOOSE_S, TIGHT_S, score
from hmtas.metric.counts import histograms
from hmtas.records import Events, HalfId, Probabilities, Score, Spots
from hmtas.spotting.nms import non_max_suppression
from hmtas.statistics.intervals import bootstrap_interval
from hmtas.validation import Frozen, read_record


class FittedFold(Frozen):
    """Windows and rules fitted on the other folds, for the games of this one."""

    games: tuple[str, ...]
    windows_s: dict[str, PositiveFloat]
    kinds: dict[str, NmsKind]


class FittedWindows(Frozen):
    """NMS windows fitted on stored probabilities: RUN/windows.json.

    Attributes:
        method: How they were searched (hmtas.spotting.windows).
        split: The split they were fitted on.
        threshold: Spots below it are dropped.
        windows_s: Widths in seconds, fitted on the whole split: for every other split.
        kinds: The rule of suppression of each action (hmtas.spotting.nms), fitted with its window.
        folds: For the games of `split` itself, so that none is scored with windows it chose.
    """

    method: str
    split: str
    threshold: float = Field(default=0.0, ge=0, le=1)
    windows_s: dict[str, PositiveFloat]
    kinds: dict[str, NmsKind]
    folds: tuple[FittedFold, ...] = ()

    def spotting(self, fold: FittedFold | None = None) -> SpottingConfig:
        """These windows and rules, or those of a fold, as a configuration."""
        fitted = self if fold is None else fold
        return SpottingConfig(
            nms=dict(fitted.kinds), threshold=self.threshold, windows_s=dict(fitted.windows_s)
        )


def read_windows(path: Path) -> FittedWindows:
    """Read fitted windows.

    Raises:
        InputError: If the file is missing or malformed.
    """
    return read_record(
        path,
        FittedWindows,
        cause="is this not of this version's `hmtas tune windows`? Run it again",
    )


def spot(
    stored_halves: Mapping[HalfId, Probabilities],
    actions: Sequence[str],
    spotting: SpottingConfig,
) -> dict[HalfId, Spots]:
    """Suppress every half with the windows of a configuration, on all cores."""
    windows_s = np.array([spotting.window_of(action) for action in actions])
    kinds = [spotting.kind_of(action) for action in actions]

    def suppress(probabilities: Probabilities) -> Spots:
        return non_max_suppression(probabilities, windows_s, spotting.threshold, kinds)

    with ThreadPoolExecutor() as pool:  # the compiled part lets go of the interpreter
        return dict(zip(stored_halves, pool.map(suppress, stored_halves.values()), strict=True))


def spot_fitted(
    stored_halves: Mapping[HalfId, Probabilities],
    actions: Sequence[str],
    fitted: FittedWindows,
    split: str,
) -> dict[HalfId, Spots]:
    """Suppress every half with windows that were not fitted on its game.

    Args:
        stored_halves: Probabilities of the halves of `split`.
        actions: Names of their columns.
        fitted: The windows.
        split: On the split they were fitted on, each game takes those of its fold.

    Raises:
        InputError: If a game of that split is in no fold.
    """
    if split != fitted.split:
        return spot(stored_halves, actions, fitted.spotting())
    fold_of = {game: fold for fold in fitted.folds for game in fold.games}
    lost = sorted({half.game for half in stored_halves} - fold_of.keys())
    if lost:
        raise InputError(
            f"the NMS windows were fitted on split {split!r}, but {_count(lost)} in none of its "
            "folds and would be scored with windows it may have chosen; "
            "run `hmtas tune windows` again"
        )
    return {
        half: spots
        for fold in fitted.folds
        for half, spots in spot(
            {half: stored_halves[half] for half in stored_halves if fold_of[half.game] is fold},
            actions,
            fitted.spotting(fold),
        ).items()
    }


def check_games(
    place: str, spotted: Iterable[str], labelled: Iterable[str], scored: Iterable[str]
) -> None:
    """Refuse to score a game that lacks spots or labels, as the official evaluator does.

    Args:
        place: Where the spots come from, for the message.
        spotted: Games with spots.
        labelled: Games with labels.
        scored: Games to score.

    Raises:
        InputError: If there is none to score, or one lacks either; with their number.
    """
    scored = list(scored)
    if not scored:
        raise InputError(
            f"{place}: there is no game to score; is the split or the folder of spots empty?"
        )
    without_spots = sorted(set(scored) - set(spotted))
    without_labels = sorted(set(scored) - set(labelled))
    if without_spots:
        raise InputError(
            f"{place}: {_count(without_spots)} without spots, of {len(scored)} to score; "
            "was another split predicted?"
        )
    if without_labels:
        raise InputError(
            f"{place}: {_count(without_labels)} without labels, of {len(scored)} to score; "
            "do the labels belong to other games, or is this the challenge split?"
        )


def _count(games: Sequence[str]) -> str:
    """Such as "3 games, the first 'league/season/game', are" (one game "is")."""
    if len(games) == 1:
        return f"1 game, {games[0]!r}, is"
    return f"{len(games)} games, the first {games[0]!r}, are"


def score_document(
    spots: Mapping[HalfId, Spots],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score every half of `spots` and `events`: the document of `hmtas score --json`.

    Args:
        spots: By half.
        events: By half.
        actions: Names, in the order of the indices.
        bootstrap: Resamples of the games behind the intervals; 0 gives none.
        seed: Of the resamples.

    Returns:
        `tight` and `loose` (see `describe`), `num_games`, and `num_events` by action.
    """
    document: dict[str, Any] = {}
    for name, tolerances_s in (("tight", TIGHT_S), ("loose", LOOSE_S)):
        counts = histograms(spots, events, tolerances_s, len(actions))
        result = score(counts)
        interval = bootstrap_interval(counts, bootstrap, seed) if bootstrap else None
        document[name] = describe(result, actions, interval)
    document["num_games"] = result.num_games
    document["num_events"] = dict(zip(actions, result.num_events.tolist(), strict=True))
    return document


def describe(
    result: Score, actions: Sequence[str], interval: tuple[float, float] | None
) -> dict[str, Any]:
    """One score as JSON: numbers in [0, 1], null for an action without events.

    Returns:
        `average_map`, `visible` and `unshown` (the official numbers), `per_action`,
        `per_tolerance` (keyed by seconds) and `interval` (95 %, two numbers).
    """
    per_action = [None if np.isnan(value) else float(value) for value in result.per_action]
    return {
        "average_map": result.average_map,
        "visible": result.visible,
        "unshown": result.unshown,
        "per_action": dict(zip(actions, per_action, strict=True)),
        "per_tolerance": {
            f"{width:g}": float(value)
            for width, value in zip(result.tolerances_s, result.per_tolerance, strict=True)
        },
        "interval": None if interval is None else list(interval),
    }

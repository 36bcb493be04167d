"""From probabilities to spots: suppression with configured windows, or with fitted ones."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat

from hmtas.config import NmsKind, SpottingConfig
from hmtas.errors import InputError
from hmtas.records import HalfId, Probabilities, Spots
from hmtas.spotting.nms import non_max_suppression
from hmtas.terminal.text import counted
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
            f"the NMS windows were fitted on split {split!r}, but {counted(len(lost), 'game')} "
            f"(the first {lost[0]!r}) in none of its folds would be scored with windows that it "
            "may have chosen; run `hmtas tune windows` again"
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

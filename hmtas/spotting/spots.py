"""From probabilities to spots: suppression with configured windows, or with fitted ones."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat

from hmtas.config import DEFAULT_WINDOW_S, NmsKind, SpottingConfig
from hmtas.errors import InputError, did_you_mean
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
    """NMS windows fitted on stored probabilities: RUN/windows.json."""

    method: str  # how they were searched (hmtas.spotting.windows)
    split: str  # which they were fitted on
    threshold: float = Field(default=0.0, ge=0, le=1)  # spots below it are dropped
    # Widths and rules of suppression by action, fitted on the whole split: for other splits.
    windows_s: dict[str, PositiveFloat]
    kinds: dict[str, NmsKind]
    folds: tuple[FittedFold, ...] = ()  # for `split`: no game is scored with windows it chose

    def spotting(self, fold: FittedFold | None = None) -> SpottingConfig:
        """These windows and rules, or those of a fold, as a configuration."""
        fitted = self if fold is None else fold
        return SpottingConfig(
            nms=dict(fitted.kinds),
            threshold=self.threshold,
            default_window_s=DEFAULT_WINDOW_S,
            windows_s=dict(fitted.windows_s),
        )


def read_windows(path: Path) -> FittedWindows:
    """Read fitted windows.

    Raises:
        InputError: If the file is missing or malformed.
    """
    cause = "written by another version's `hmtas tune windows`? Run it again"
    return read_record(path, FittedWindows, cause=cause)


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
    """Suppress every half of a split with windows that were not fitted on its game.

    On the split that they were fitted on, each game gets the windows of its fold.

    Raises:
        InputError: If a game of that split is in no fold, or a window is of an unknown action.
    """
    for name in (*fitted.windows_s, *fitted.kinds):
        if name not in actions:
            raise InputError(
                f"the NMS windows have one for {name!r}{did_you_mean(name, actions)}; the actions "
                f"are {', '.join(actions)}; fitted on another store?"
            )
    if split != fitted.split:
        return spot(stored_halves, actions, fitted.spotting())
    in_folds = {game for fold in fitted.folds for game in fold.games}
    lost = sorted({half.game for half in stored_halves} - in_folds)
    if lost:
        raise InputError(
            f"the NMS windows were fitted on split {split!r}, but {counted(len(lost), 'game')} "
            f"(the first {lost[0]!r}) in none of its folds would be scored with windows that it "
            "may have chosen; run `hmtas tune windows` again"
        )
    spots: dict[HalfId, Spots] = {}
    for fold in fitted.folds:
        halves = {half: p for half, p in stored_halves.items() if half.game in fold.games}
        spots |= spot(halves, actions, fitted.spotting(fold))
    return spots

"""Champion or challenger: two ensembles by their counts on the same games. Numpy only.

What a contest needs of an ensemble is its counts by game, a few megabytes, so a champion can be
challenged when its run folder, its members and even its store are long gone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from hmtas.errors import InputError
from hmtas.refusals import raise_if_refused
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import paired_difference
from hmtas.terminal.text import counted, gain

COUNTS = "counts.npz"
ARRAYS = ("tolerances_s", "detections", "hits", "num_events")  # of `GameCounts`
Alias = Literal["champion", "challenger"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """What an ensemble did on games that it was not fitted on."""

    actions: tuple[str, ...]
    counts: GameCounts  # at the tight tolerances

    def save(self, path: Path) -> None:
        """Write arrays, no pickle; the same bytes for the same counts."""
        np.savez(
            path,
            actions=np.array(self.actions, dtype=np.str_),
            games=np.array(self.counts.games, dtype=np.str_),
            **{name: getattr(self.counts, name) for name in ARRAYS},
        )

    @classmethod
    def load(cls, path: Path) -> "Contender":
        """Read what `save` wrote.

        Raises:
            InputError: If the file is missing or damaged.
        """
        try:
            # Opened here: numpy leaves a damaged file open.
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return cls(
                    actions=tuple(file["actions"].tolist()),
                    counts=GameCounts(
                        games=tuple(file["games"].tolist()),
                        **{name: file[name] for name in ARRAYS},
                    ),
                )
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise_if_refused(error, path)
            raise InputError(f"{path}: no counts of an ensemble ({error}); cut short?") from None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Which alias an ensemble gets, and why."""

    alias: Alias
    reason: str
    difference: float | None = None  # tight, minus the champion's, in [-1, 1]; None if not compared
    interval: tuple[float, float] | None = None  # 95 %, over games
    num_games: int | None = None  # that both were counted on


def decide(new: Contender, champion: Contender) -> Decision:
    """Let the new one win only if the paired interval of the difference lies above 0."""
    obstacle = _obstacle(new, champion)
    if obstacle is not None:
        return Decision(
            alias="challenger", reason=f"it cannot be compared with the champion: {obstacle}"
        )
    difference, low, high = paired_difference(new.counts, champion.counts)
    num_games = len(new.counts.games)
    on = f"on {counted(num_games, 'game')}"
    shown = f"{gain(difference, (low, high))} points of tight Average-mAP {on}"
    told = "beats" if low > 0 else "is worse than" if high < 0 else "cannot be told from"
    return Decision(
        alias="champion" if low > 0 else "challenger",
        reason=f"it {told} the champion: {shown}",
        difference=difference,
        interval=(low, high),
        num_games=num_games,
    )


def _obstacle(new: Contender, champion: Contender) -> str | None:
    """Why the two cannot be compared, if they cannot."""
    if new.actions != champion.actions:
        return (
            f"it names {len(new.actions)} actions and the champion {len(champion.actions)} "
            "(or others)"
        )
    ours, theirs = set(new.counts.games), set(champion.counts.games)
    if ours != theirs:
        return (
            f"the champion was scored on other games ({len(ours & theirs)} in common, "
            f"{len(theirs)} of the champion, {len(ours)} here); fit both on the same games"
        )
    if not np.array_equal(new.counts.num_events, champion.counts.num_events):
        return "the annotations of these games have changed since the champion was scored"
    return None

"""The records that flow between modules. Numpy only, no I/O, no behaviour beyond checks.

Shape letters, the same in every file of the project:
    T  rows of one half (seconds at 1 Hz)    L  rows of one window
    B  windows in a batch                    E  embedding streams
    F  features of one embedding             D  width of the transformers
    C  model outputs (background first)      A  actions (C - 1)
    N  spots                                 M  events, or models in an ensemble
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class HalfId(NamedTuple):
    """One half of one game: the unit of storage, inference and scoring."""

    game: str  # SoccerNet folder, "league/season/date - home score - score away"
    half: int  # 1 or 2

    def __str__(self) -> str:
        return f"{self.game}, half {self.half}"


def _check_columns(half: HalfId, time_s: np.ndarray, *others: np.ndarray) -> None:
    """Refuse columns of different lengths, and a time that cannot be."""
    shapes = {time_s.shape, *(column.shape for column in others)}
    if len(shapes) != 1 or time_s.ndim != 1:
        raise ValueError(f"{half}: events and spots are arrays of one length, got {shapes}")
    if not np.isfinite(time_s).all() or (time_s < 0).any():
        raise ValueError(f"{half}: a time is negative or not finite")


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Annotations of one half, in order of time.

    Attributes:
        half: The half they belong to.
        time_s: float64, shape (M,), seconds from the start of the half, ascending.
        action: int64, shape (M,), index into the actions.
        visible: bool, shape (M,); False where the broadcast did not show the action.

    Raises:
        ValueError: If the shapes differ, times descend, or a time is negative or not finite.
    """

    half: HalfId
    time_s: np.ndarray
    action: np.ndarray
    visible: np.ndarray

    def __post_init__(self) -> None:
        _check_columns(self.half, self.time_s, self.action, self.visible)
        if (np.diff(self.time_s) < 0).any():
            raise ValueError(f"{self.half}: events must be in order of time")

    @classmethod
    def empty(cls, half: HalfId) -> "Events":
        """A half without annotations."""
        nothing = np.empty(0, np.int64)
        return cls(
            half=half, time_s=np.empty(0), action=nothing, visible=np.empty(0, dtype=np.bool_)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Probabilities:
    """Per-row action probabilities of one model over one half (thesis Section 4.3).

    Attributes:
        half: The half that the rows cover.
        values: float32, shape (T, A), in [0, 1]. Row t is the moment t / rate_hz seconds;
            columns follow the store's actions. Background is already dropped.
        rate_hz: Rows per second.

    Raises:
        ValueError: If the shape or dtype is wrong, or a value is NaN or outside [0, 1].
    """

    half: HalfId
    values: np.ndarray
    rate_hz: float = 1.0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float32:
            got = f"{self.values.dtype} {self.values.shape}"
            raise ValueError(f"{self.half}: values must be float32 (T, A), got {got}")
        inside = (self.values >= 0) & (self.values <= 1)
        if not inside.all():
            bad = int(np.argmin(inside.all(axis=1)))
            raise ValueError(f"{self.half}: row {bad} has a probability outside [0, 1]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Spots:
    """Predicted actions of one half, in any order.

    Attributes:
        half: The half they belong to.
        time_s: float64, shape (N,), seconds from the start of the half.
        action: int64, shape (N,), index into the actions.
        confidence: float64, shape (N,), in [0, 1].

    Raises:
        ValueError: If the shapes differ, a time is negative, or a confidence is outside [0, 1].
    """

    half: HalfId
    time_s: np.ndarray
    action: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        _check_columns(self.half, self.time_s, self.action, self.confidence)
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError(f"{self.half}: a confidence is outside [0, 1]")

    @classmethod
    def empty(cls, half: HalfId) -> "Spots":
        """A half in which nothing was spotted."""
        return cls(
            half=half,
            time_s=np.empty(0),
            action=np.empty(0, np.int64),
            confidence=np.empty(0),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """Average-mAP over one set of tolerances, as the official evaluator reports it.

    All numbers lie in [0, 1], `unshown` excepted: the evaluator multiplies it by 17 / 13.

    Attributes:
        tolerances_s: (D,) full widths in seconds.
        average_map: Trapezoid over the tolerances of the mean over actions; an action without
            events counts 0.
        visible: The same over events that the broadcast shows.
        unshown: The same over events that it does not show, times 17 / 13.
        per_tolerance: (D,) mean over actions at each tolerance.
        per_action: (A,) trapezoid of each action; nan where the action has no event.
        per_action_visible: (A,) the same over visible events.
        per_action_unshown: (A,) the same over unshown events, not multiplied.
        num_events: (A,) annotations per action.
        num_games: Games scored.
    """

    tolerances_s: np.ndarray
    average_map: float
    visible: float
    unshown: float
    per_tolerance: np.ndarray
    per_action: np.ndarray
    per_action_visible: np.ndarray
    per_action_unshown: np.ndarray
    num_events: np.ndarray
    num_games: int

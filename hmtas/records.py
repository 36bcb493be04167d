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

    game: str  # its folder, as in SoccerNet, or its video in a label file
    half: int  # a numbered part: 1 and 2, 3 and 4 in extra time; 1 alone where there are none

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

    Raises:
        ValueError: If the shapes differ, times descend, or a time is negative or not finite.
    """

    half: HalfId
    time_s: np.ndarray  # (M,) float64, from the start of the half, ascending
    action: np.ndarray  # (M,) int64, index into the actions
    visible: np.ndarray  # (M,) bool; False where the broadcast did not show the action

    def __post_init__(self) -> None:
        _check_columns(self.half, self.time_s, self.action, self.visible)
        if (np.diff(self.time_s) < 0).any():
            raise ValueError(f"{self.half}: events must be in order of time")

    @classmethod
    def empty(cls, half: HalfId) -> "Events":
        """A half without annotations."""
        action, visible = np.empty(0, np.int64), np.empty(0, np.bool_)
        return cls(half=half, time_s=np.empty(0), action=action, visible=visible)


@dataclass(frozen=True, kw_only=True, eq=False)
class Probabilities:
    """Action probabilities of one model over one half, without background (thesis Section 4.3).

    Raises:
        ValueError: If the shape or dtype is wrong, or a value is NaN or outside [0, 1].
    """

    half: HalfId
    values: np.ndarray  # (T, A) float32 in [0, 1]; row t is the moment t / rate_hz seconds
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

    Raises:
        ValueError: If the shapes differ, a time is negative, or a confidence is outside [0, 1].
    """

    half: HalfId
    time_s: np.ndarray  # (N,) float64, from the start of the half
    action: np.ndarray  # (N,) int64, index into the actions
    confidence: np.ndarray  # (N,) float64 in [0, 1]

    def __post_init__(self) -> None:
        _check_columns(self.half, self.time_s, self.action, self.confidence)
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError(f"{self.half}: a confidence is outside [0, 1]")

    @classmethod
    def empty(cls, half: HalfId) -> "Spots":
        """A half in which nothing was spotted."""
        nothing = np.empty(0)
        return cls(half=half, time_s=nothing, action=np.empty(0, np.int64), confidence=nothing)


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """Average-mAP over one set of tolerances, as the official evaluator reports it.

    All numbers lie in [0, 1] except `unshown`, which the evaluator multiplies by 17 / 13.
    """

    tolerances_s: np.ndarray  # (D,) full widths
    average_map: float  # trapezoid over the tolerances of `per_tolerance`
    visible: float  # the same over events that the broadcast shows
    unshown: float  # the same over the other events, times 17 / 13
    per_tolerance: np.ndarray  # (D,) mean over actions; one without events counts 0
    per_action: np.ndarray  # (A,) trapezoid over the tolerances; nan without events
    per_action_visible: np.ndarray  # (A,)
    per_action_unshown: np.ndarray  # (A,) not multiplied
    num_events: np.ndarray  # (A,)
    num_games: int

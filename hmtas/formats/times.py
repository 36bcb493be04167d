"""When something happened, as label files and predictions say it: gameTime, position, frame."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from hmtas.errors import InputError, quoted
from hmtas.terminal.text import counted

Times = Literal["position", "game_time"]
MOST_APART_S = 1.0  # between position and gameTime, which has whole seconds
LATEST_MS = 2**53  # of a position; above it milliseconds are no longer exact
MOST_PARTS = 99  # of a game: halves, extra time, sets
_GAME_TIME = re.compile(r"\s*([1-9]\d?)\s*-\s*(\d{1,3}):([0-5]?\d)\s*")


def game_time_s(text: object) -> tuple[int, int] | None:
    """Half and seconds of a gameTime such as "1 - 12:34"; None if it is no such text."""
    match = _GAME_TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    half, minutes, seconds = (int(group) for group in match.groups())
    return half, 60 * minutes + seconds


def game_time_at(half: int, position_ms: int) -> str:
    """The gameTime of a moment of a half, such as "1 - 12:34"."""
    minutes, seconds = divmod(position_ms // 1000, 60)
    return f"{half} - {minutes:02d}:{seconds:02d}"


def read_game_time(text: object, place: str) -> tuple[int, int]:
    """Half and seconds of a gameTime.

    Raises:
        InputError: If it is none.
    """
    found = game_time_s(text)
    if found is None:
        raise InputError(f"{place}: gameTime must read like '1 - 12:34', got {quoted(text)}")
    return found


def read_position_s(position: object, place: str, name: str = "position") -> float:
    """Seconds of a position in milliseconds, a number or the text of one.

    Raises:
        InputError: If it is no whole number, negative, or past the end of any half.
    """
    try:
        if isinstance(position, bool):
            raise ValueError
        position_ms = int(position)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{place}: {name} must be milliseconds, got {quoted(position)}") from None
    if not 0 <= position_ms < LATEST_MS:
        rule = "must not be negative" if position_ms < 0 else "is past the end of any half"
        raise InputError(f"{place}: {name} {rule}, got {quoted(position)} ms")
    return float(position_ms) / 1000


def read_number(value: object, place: str, name: str, meaning: str) -> float:
    """A finite number, or the text of one.

    Raises:
        InputError: If it is none.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise InputError(f"{place}: {name} must be {meaning}, got {quoted(value)}")


def frame_time_s(frame: object, fps: float, place: str) -> float:
    """Seconds of the number of a frame.

    Raises:
        InputError: If it is no number, negative, or past the end of any video.
    """
    number = read_number(frame, place, "frame", "the number of a frame")
    time_s = number / fps
    if not 0 <= time_s < LATEST_MS / 1000:
        raise InputError(
            f"{place}: frame must not be negative or past the end of any video, got {number:g} at "
            f"{fps:g} frames a second"
        )
    return time_s


def nearest_frames(time_s: np.ndarray | float, fps: float) -> np.ndarray:
    """The frame of each moment, the nearest one, int64; of two equally near the later.

    Half a second at 25 fps is frame 13: 0.52 s, which lies in the same half-second cell of the
    official metric, as frame 12 does not.
    """
    return np.floor(np.asarray(time_s, dtype=np.float64) * fps + 0.5).astype(np.int64)


def are_apart(whole_s: int, time_s: float) -> bool:
    """Do gameTime and position contradict each other? One of 00:00 names no more than the half."""
    return whole_s > 0 and abs(time_s - whole_s) > MOST_APART_S


def check_apart(place: str, apart: Sequence[Mapping[str, Any]], number: int, noun: str) -> None:
    """Refuse positions most of which are not where their gameTime is.

    Raises:
        InputError: If more than half of `number` labels or predictions are `apart`.
    """
    if 2 * len(apart) > number:
        raise InputError(
            f"{place}: position and gameTime must be the same moment, but are not in {len(apart)} "
            f"of {counted(number, noun)}, {example_of(apart)}; a position is milliseconds from the "
            "start of its half: are these seconds, or all 0?"
        )


def example_of(apart: Sequence[Mapping[str, Any]]) -> str:
    """The first label or prediction whose times contradict each other, in words."""
    first = apart[0]
    half = f" of half {quoted(first['half'])}" if "half" in first else ""
    return (
        f"the first at gameTime {quoted(first['gameTime'])} and position "
        f"{quoted(first['position'])}{half}"
    )

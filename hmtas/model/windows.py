"""Which rows a window covers and which targets it gets (thesis Sections 4.3 and 5.3).

Pure index arithmetic: training and inference call the same two functions.
"""

import numpy as np

from hmtas.records import Events


def window_rows(num_rows: int, seq_len: int) -> np.ndarray:
    """Rows of the window of every row of a half.

    The window of row t starts at t - floor(L / 2) and is L long: for even L the extra row lies
    before the centre. At the ends of the half the first or last row repeats, so every row has a
    window (the thesis's own code leaves the last rows of a half without one).

    Returns:
        (T, L) int64 row numbers in [0, T).
    """
    offset = np.arange(seq_len) - seq_len // 2
    rows: np.ndarray = np.clip(np.arange(num_rows)[:, None] + offset, 0, num_rows - 1)
    return rows


def window_targets(
    events: Events, num_rows: int, seq_len: int, num_actions: int, rate_hz: float = 1.0
) -> np.ndarray:
    """Targets of the window of every row of a half.

    A window is positive for an action if one of its L rows holds such an event, and background
    if none of its rows holds any. An event lies in the row of its whole second;
    one that is annotated past the last row counts for the last row.

    Returns:
        (T, C) float32 of 0 and 1; column 0 is the background, then the actions.
    """
    is_event = np.zeros((num_rows, num_actions), dtype=np.bool_)
    row = np.minimum((events.time_s * rate_hz).astype(np.int64), num_rows - 1)
    is_event[row, events.action] = True
    # Not through `window_rows`: a repeated edge row must not repeat the event beyond its window,
    # and a running count over rows needs no (T, L, A) array.
    first = np.clip(np.arange(num_rows) - seq_len // 2, 0, num_rows)
    last = np.clip(np.arange(num_rows) - seq_len // 2 + seq_len, 0, num_rows)
    count = np.concatenate([np.zeros((1, num_actions), np.int64), is_event.cumsum(axis=0)])
    target = np.empty((num_rows, num_actions + 1), dtype=np.float32)
    target[:, 1:] = count[last] > count[first]
    target[:, 0] = ~(target[:, 1:] > 0).any(axis=1)
    return target


def near_events(
    events: Events, num_rows: int, radius: int, num_actions: int, rate_hz: float = 1.0
) -> np.ndarray:
    """(T, A) float32: 1 in the rows at most `radius` rows from an event of the action."""
    targets = window_targets(events, num_rows, 2 * radius + 1, num_actions, rate_hz)
    return np.ascontiguousarray(targets[:, 1:])

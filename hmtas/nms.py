"""One-dimensional non-maximum suppression: from probabilities to spots (thesis Section 4.3).

Both rules are greedy and look at each action by itself: of the rows that are left, keep the most
probable one (the earliest of equals), drop the rows in its window, repeat.

hard    drops the rows at most half a window away, to both sides: two spots of one action are
        always more than half a window apart.
thesis  is what the thesis's code does: around row i, with w rows to the window, it drops the rows
        [int(i - w / 2), i + int(w / 2)). That is one row more before than after, and two more
        where w is odd.
"""

from typing import Literal

import numpy as np
from numba import njit

from hmtas.records import Probabilities, Spots

_ROW_BITS = 32


def non_max_suppression(
    probabilities: Probabilities,
    windows_s: np.ndarray,
    threshold: float = 0.2,
    kind: Literal["hard", "thesis"] = "hard",
) -> Spots:
    """Keep the peaks of every action.

    Args:
        probabilities: One half, (T, A).
        windows_s: (A,) full widths in seconds, > 0.
        threshold: Rows below it are dropped; 0 keeps every peak.
        kind: The rule, see above.

    Returns:
        Spots ordered by action, then time.

    Raises:
        ValueError: If the windows are not A numbers > 0, or `kind` is unknown.
    """
    windows = np.asarray(windows_s, dtype=np.float64)
    if windows.shape != probabilities.values.shape[1:] or not (windows > 0).all():
        raise ValueError(
            f"{probabilities.half}: windows must be {probabilities.values.shape[1]} numbers > 0 s, "
            f"got {windows.tolist()}"
        )
    before, after = reach(windows * probabilities.rate_hz, kind)
    keys, starts = rank_rows(probabilities.values, threshold)
    action, row = np.nonzero(suppress(keys, starts, before, after, len(probabilities.values)))
    return Spots(
        half=probabilities.half,
        time_s=row / probabilities.rate_hz,
        action=action.astype(np.int64),
        confidence=probabilities.values[row, action].astype(np.float64),
    )


def reach(windows_rows: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """How many rows before and after a kept row are dropped, each (A,) int64.

    Args:
        windows_rows: (A,) full widths in rows.
        kind: `hard` or `thesis`.
    """
    half = windows_rows / 2
    if kind == "hard":
        side = np.floor(half).astype(np.int64)
        return side, side
    if kind == "thesis":
        # A window below two rows is empty in the thesis's rule; the kept row goes all the same.
        after = np.maximum(np.floor(half) - 1, 0)
        return np.ceil(half).astype(np.int64), after.astype(np.int64)
    raise ValueError(f"kind must be 'hard' or 'thesis', got {kind!r}")


def rank_rows(values: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each action from the most to the least probable, the earliest of equals first.

    Numbers >= 0 are ordered like the bits of their float32, so that one integer holds the
    probability (inverted) and the row, and a plain sort of integers ranks both.

    Returns:
        keys: (S,) uint64, one action after the other; the low 32 bits are the row.
        starts: (A + 1,) where each action's keys begin.
    """
    columns = np.array(values.T, dtype=np.float32, order="C") + np.float32(0)  # no negative zero
    inverted = np.uint64(0xFFFFFFFF) - columns.view(np.uint32).astype(np.uint64)
    keys = (inverted << np.uint64(_ROW_BITS)) | np.arange(len(values), dtype=np.uint64)
    if threshold <= 0:
        keys.sort(axis=1)
        return keys.reshape(-1), np.arange(len(keys) + 1) * len(values)
    kept = columns >= threshold
    ranked = [np.sort(keys[action, kept[action]]) for action in range(len(keys))]
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return np.concatenate(ranked) if ranked else keys.reshape(-1), starts


@njit(cache=True)
def suppress(
    keys: np.ndarray, starts: np.ndarray, before: np.ndarray, after: np.ndarray, num_rows: int
) -> np.ndarray:
    """Walk down the ranking and keep what no better row has dropped.

    Args:
        keys: From `rank_rows`.
        starts: From `rank_rows`.
        before: (A,) rows to drop before a kept one.
        after: (A,) rows to drop after it.
        num_rows: T.

    Returns:
        (A, T) bool, the kept rows.
    """
    kept = np.zeros((len(before), num_rows), dtype=np.bool_)
    for a in range(len(before)):
        dropped = np.zeros(num_rows, dtype=np.bool_)
        for key in keys[starts[a] : starts[a + 1]]:
            row = np.int64(key & np.uint64(0xFFFFFFFF))
            if not dropped[row]:
                kept[a, row] = True
                dropped[max(0, row - before[a]) : row + after[a] + 1] = True
    return kept

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
    columns = np.array(probabilities.values.T, order="C")
    action, row = np.nonzero(suppress(columns, threshold, before, after))
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


@njit(cache=True)
def suppress(
    values_AT: np.ndarray, threshold: float, before: np.ndarray, after: np.ndarray
) -> np.ndarray:
    """The rows that the greedy rule keeps, found without sorting.

    A row is kept once every better row that would drop it is itself dropped. So from any
    undecided row climb to the best undecided one that would drop it, and on from there; at the
    top, keep, drop, and step back down to what is still undecided. Every step climbs, so there is
    no cycle, and the time grows with T, not with T log T.

    Args:
        values_AT: (A, T) probabilities, actions first.
        threshold: Rows below it are dropped.
        before: (A,) rows that a kept row drops before it.
        after: (A,) rows that it drops after it.

    Returns:
        (A, T) bool.
    """
    num_actions, num_rows = values_AT.shape
    kept = np.zeros((num_actions, num_rows), dtype=np.bool_)
    path = np.empty(num_rows, dtype=np.int64)
    for a in range(num_actions):
        value, reach_back, reach_on = values_AT[a], before[a], after[a]
        open_rows = value >= threshold
        for start in range(num_rows):
            if not open_rows[start]:
                continue
            path[0] = start
            depth = 0
            while depth >= 0:
                row = path[depth]
                if not open_rows[row]:
                    depth -= 1
                    continue
                best = row
                for i in range(max(0, row - reach_on), min(num_rows, row + reach_back + 1)):
                    if open_rows[i] and _is_better(value, i, best):
                        best = i
                if best != row:
                    depth += 1
                    path[depth] = best
                    continue
                # All that is dropped here is worse: rows before `start` are decided, and the climb
                # has compared every open row that it passed.
                kept[a, row] = True
                open_rows[max(0, row - reach_back) : row + reach_on + 1] = False
                depth -= 1
    return kept


@njit(cache=True)
def _is_better(value: np.ndarray, i: int, j: int) -> bool:
    """Is row i more probable than row j, or as probable and earlier?"""
    return bool(value[i] > value[j] or (value[i] == value[j] and i < j))

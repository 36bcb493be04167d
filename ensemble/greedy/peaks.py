"""Hard, symmetric suppression (hmtas.spotting.nms) by blocks, without an allocation.

With a window of h rows to each side, rows are cut into blocks of h + 1, so that a block keeps at
most one row and a window reaches into the two next blocks only. The best row of a block is kept as
soon as no better open row of a neighbour lies in its window; else climb to that neighbour and come
back. Keeping a row closes its block, the end of the one before and the beginning of the one after,
so that what is open of a block is always a range. (A. Neubeck and L. Van Gool, Efficient
Non-Maximum Suppression, 2006, cut into blocks likewise.)

A row is a key, its value above and its place from the end of the half below: the better of two rows
has the greater key, the more probable one and of equals the earlier one. -1 does not count.
"""

import numpy as np
from numba import njit

PLACE_BITS = 20  # a half has at most a million rows
LAST_PLACE = (1 << PLACE_BITS) - 1
FIRST, STOP, TOP, KEPT, PATH, NUM_ROWS = 0, 1, 2, 3, 4, 5


@njit(cache=True, nogil=True)
def make_key(value: int, place: int) -> int:
    """The key of a row."""
    return (value << PLACE_BITS) + (LAST_PLACE - place)


@njit(cache=True, nogil=True)
def place_of(key: int) -> int:
    """The index of a row within its half."""
    return LAST_PLACE - (key & LAST_PLACE)


@njit(cache=True, nogil=True)
def value_of(key: int) -> int:
    """The value of a row."""
    return key >> PLACE_BITS


@njit(cache=True, nogil=True)
def keep_peaks(key_X: np.ndarray, row_X: np.ndarray, reach: int, block_SB: np.ndarray) -> None:
    """Suppress one action in one half.

    Args:
        key_X: int64 keys of its rows.
        row_X: The rows, ascending.
        reach: Rows to each side that a kept row suppresses.
        block_SB: (NUM_ROWS, B) int64. FIRST and STOP say where each block lies in X, and are used
            up; KEPT becomes the key that the block keeps, -1 for none; the rest is room.
    """
    num_blocks = block_SB.shape[1]
    for b in range(num_blocks):
        block_SB[TOP, b] = _best(key_X, block_SB[FIRST, b], block_SB[STOP, b])
        block_SB[KEPT, b] = -1
    for b in range(num_blocks):
        block_SB[PATH, 0] = b
        depth = 0
        while depth >= 0:  # every step up is to a better row, so that there is no cycle
            here = block_SB[PATH, depth]
            if block_SB[TOP, here] < 0:
                depth -= 1
                continue
            step = _first_to_go(here, key_X, row_X, reach, block_SB)
            if step != 0:
                depth += 1
                block_SB[PATH, depth] = here + step
            else:
                _keep(here, key_X, row_X, reach, block_SB)
                depth -= 1


@njit(cache=True, nogil=True)
def _best(key_X: np.ndarray, first: int, stop: int) -> int:
    best = -1
    for x in range(first, stop):
        best = max(best, key_X[x])
    return best


@njit(cache=True, nogil=True)
def _first_to_go(
    here: int, key_X: np.ndarray, row_X: np.ndarray, reach: int, block_SB: np.ndarray
) -> int:
    """Which neighbour has a better row in the window of this block's best: -1, 1, or 0 for none."""
    top = block_SB[TOP, here]
    row = row_X[place_of(top)]
    for side in (-1, 1):
        there = here + side
        if not 0 <= there < block_SB.shape[1] or block_SB[TOP, there] <= top:
            continue
        if abs(row_X[place_of(block_SB[TOP, there])] - row) <= reach:
            return side
        first, stop = block_SB[FIRST, there], block_SB[STOP, there]
        x = stop - 1 if side < 0 else first
        while first <= x < stop and abs(row_X[x] - row) <= reach:
            if key_X[x] > top:
                return side
            x += side
    return 0


@njit(cache=True, nogil=True)
def _keep(
    here: int, key_X: np.ndarray, row_X: np.ndarray, reach: int, block_SB: np.ndarray
) -> None:
    """Keep a block's best row and close what is in its window."""
    top = block_SB[TOP, here]
    row = row_X[place_of(top)]
    block_SB[KEPT, here] = top
    block_SB[TOP, here] = -1
    for there in (here - 1, here + 1):
        if not 0 <= there < block_SB.shape[1] or block_SB[TOP, there] < 0:
            continue
        first, stop = block_SB[FIRST, there], block_SB[STOP, there]
        while there < here and first < stop and row - row_X[stop - 1] <= reach:
            stop -= 1
        while there > here and first < stop and row_X[first] - row <= reach:
            first += 1
        block_SB[FIRST, there], block_SB[STOP, there] = first, stop
        if not first <= place_of(block_SB[TOP, there]) < stop:
            block_SB[TOP, there] = _best(key_X, first, stop)

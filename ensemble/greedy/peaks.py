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
    if here > 0 and block_SB[TOP, here - 1] > top:
        if row - row_X[place_of(block_SB[TOP, here - 1])] <= reach:
            return -1
        x = block_SB[STOP, here - 1] - 1
        while x >= block_SB[FIRST, here - 1] and row - row_X[x] <= reach:
            if key_X[x] > top:
                return -1
            x -= 1
    if here + 1 < block_SB.shape[1] and block_SB[TOP, here + 1] > top:
        if row_X[place_of(block_SB[TOP, here + 1])] - row <= reach:
            return 1
        x = block_SB[FIRST, here + 1]
        while x < block_SB[STOP, here + 1] and row_X[x] - row <= reach:
            if key_X[x] > top:
                return 1
            x += 1
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
    if here > 0 and block_SB[TOP, here - 1] >= 0:
        first, stop = block_SB[FIRST, here - 1], block_SB[STOP, here - 1]
        while stop > first and row - row_X[stop - 1] <= reach:
            stop -= 1
        block_SB[STOP, here - 1] = stop
        if place_of(block_SB[TOP, here - 1]) >= stop:
            block_SB[TOP, here - 1] = _best(key_X, first, stop)
    if here + 1 < block_SB.shape[1] and block_SB[TOP, here + 1] >= 0:
        first, stop = block_SB[FIRST, here + 1], block_SB[STOP, here + 1]
        while first < stop and row_X[first] - row <= reach:
            first += 1
        block_SB[FIRST, here + 1] = first
        if place_of(block_SB[TOP, here + 1]) < first:
            block_SB[TOP, here + 1] = _best(key_X, first, stop)
